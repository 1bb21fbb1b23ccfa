"""What was searched for, kept for the session it was typed in (ADR 0012): an address carries a key, never the words."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from hcrm.accounts.models import KeptSearch
from hcrm.core import limits
from hcrm.core.work import Work


def keep_words(work: Work, *, session_id: str, words: str, known: str | None = None) -> str:
    """Keep the words of a search, sealed; their key. `known` is a key that is given again where it means the same.

    A session keeps its latest `limits.KEPT_SEARCHES`.
    """
    if known and kept_words(work, session_id=session_id, key=known) == words:
        return known
    row = KeptSearch(id=work.new_id(), session_id=session_id, words_sealed=work.keys.seal_text(words))
    work.add(row)
    oldest = work.scalar(
        sa.select(KeptSearch.id)
        .where(KeptSearch.session_id == session_id)
        .order_by(KeptSearch.id.desc())
        .offset(limits.KEPT_SEARCHES)
        .limit(1)
    )
    if oldest is not None:
        work.execute(
            sa.delete(KeptSearch).where(KeptSearch.session_id == session_id, KeptSearch.id <= oldest)
        )
    return row.id


def kept_words(work: Work, *, session_id: str, key: str) -> str | None:
    """The words of that key; None where this session has none of that key, or no longer."""
    sealed = work.scalar(
        sa.select(KeptSearch.words_sealed).where(KeptSearch.id == key, KeptSearch.session_id == session_id)
    )
    return None if sealed is None else work.keys.open_text(sealed)


def forget_searches(work: Work, session_ids: sa.Select[Any] | Sequence[str]) -> None:
    """These sessions are over: nothing of what was typed in them stays."""
    work.execute(sa.delete(KeptSearch).where(KeptSearch.session_id.in_(session_ids)))
