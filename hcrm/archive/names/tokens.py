"""Pieces of names: what is stored for a name, and keeping it in step with the patients.

Our own, of one and two characters: the trigram indexes of some SQLite builds answer nothing for two (ADR 0012).
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from hcrm.archive.models import Patient
from hcrm.archive.names.models import PART, SPELLING, NameToken
from hcrm.archive.names.pinyin import spellings
from hcrm.core.text import without_unseen
from hcrm.core.work import Work

Token = tuple[str, str]
"""Kind and token."""
_NOT_COMPARED = re.compile(r"[\s\x00·•‧・∙⋅･]")
_LETTERS = re.compile(r"[a-z0-9]*", re.ASCII)
BATCH = 5_000
"""Patients of one turn when all tokens are made anew."""


def fold_name(text: str) -> str:
    """A name, or what is looked for in it, as both are compared: one width, no case, no blanks, dots, unseen signs."""
    return _NOT_COMPARED.sub("", unicodedata.normalize("NFKC", without_unseen(text)).casefold())


def parts_of(folded: str) -> list[str]:
    """The tokens that every name holding this text has: pairs of neighbours, or the one character there is.

    Pairs of plain letters and digits are not stored: such words are looked for by their beginning.
    """
    pieces = [folded[at : at + 2] for at in range(len(folded) - 1)] or [folded]
    return [piece for piece in dict.fromkeys(pieces) if not _LETTERS.fullmatch(piece)]


@lru_cache(maxsize=4096)
def tokens_of(name: str) -> frozenset[Token]:
    """All that a name is found by."""
    folded = fold_name(name)
    parts = {*parts_of(folded), *(char for char in folded if not _LETTERS.fullmatch(char))}
    return frozenset({(PART, part) for part in parts} | {(SPELLING, each) for each in spellings(name)})


def token_rows(patient_id: str, name: str) -> Iterator[dict[str, Any]]:
    """The rows of one patient."""
    for kind, token in tokens_of(name):
        yield {"kind": kind, "token": token, "patient_id": patient_id}


def keep_names(work: Work, names: Mapping[str, str], *, known: Iterable[str] = ()) -> None:
    """Names that were given or changed, by patient; `known` are those who had one before."""
    forget_names(work, sorted(known))
    work.insert(NameToken, [row for key, name in names.items() for row in token_rows(key, name)])


def forget_names(work: Work, patient_ids: Sequence[str]) -> None:
    """Take away the tokens of these patients."""
    if patient_ids:
        work.execute(sa.delete(NameToken).where(NameToken.patient_id.in_(patient_ids)))


def rebuild_names(work: Work, *, after: str = "") -> str | None:
    """Make the tokens of the next patients anew; the last key of this turn, None when there were none.

    The patients are locked meanwhile: a message that gives one another name comes before or after, never between.
    """
    rows = work.execute(
        sa.select(Patient.id, Patient.name).where(Patient.id > after).order_by(Patient.id).limit(BATCH)
        .with_for_update()
    ).all()  # fmt: skip
    if not rows:
        return None
    work.execute(
        sa.delete(NameToken).where(NameToken.patient_id > after, NameToken.patient_id <= rows[-1].id)
    )
    work.insert(NameToken, [each for row in rows for each in token_rows(row.id, row.name)])
    return str(rows[-1].id)
