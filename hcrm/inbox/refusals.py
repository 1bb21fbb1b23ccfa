"""Reading what was refused at the door: who claimed to be whom, from where, why; its head for those with the right."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.work import Work
from hcrm.inbox.models import RefusedMessage
from hcrm.web.paging import Page, keyset_page


@dataclass(frozen=True, slots=True)
class RefusalFilters:
    """What the list may be narrowed by."""

    reason: str = ""
    peer: str = ""
    source: str = ""


def list_refused(
    work: Work, filters: RefusalFilters, *, key: str | None = None, size: int = limits.PAGE_SIZE
) -> Page[Any]:
    """What was refused, the newest first: no content."""
    row = RefusedMessage
    statement = sa.select(
        row.seq, row.received_at, row.peer, row.peer_port, row.door, row.reason, row.detail, row.source, row.sender,
        row.facility, row.control_id, row.subject, row.size, row.name,
    )  # fmt: skip
    for column, value in (
        (row.reason, filters.reason),
        (row.peer, filters.peer),
        (row.source, filters.source),
    ):
        if value:
            statement = statement.where(column == value)
    return keyset_page(work, statement, order=(row.seq.desc(),), key=key, size=size)


def open_names(work: Work, rows: Sequence[Any]) -> dict[int, str]:
    """Names of the files among listed refusals, by number; one may name a patient, so it is noted as a read."""
    named = {row.seq: work.keys.open(row.name).decode("utf-8", "replace") for row in rows if row.name}
    if named:
        record_audit(
            work, action="refused.read", subject_type="refused_message", detail={"names": sorted(named)}
        )
    return named


def list_refusal_words(work: Work) -> tuple[Sequence[str], Sequence[str]]:
    """Reasons and peers among the newest refusals, for the filters."""
    newest = (
        sa.select(RefusedMessage.reason, RefusedMessage.peer)
        .order_by(RefusedMessage.seq.desc())
        .limit(limits.REFUSED_WORDS)
        .subquery()
    )
    rows = work.execute(sa.select(newest.c.reason, newest.c.peer).distinct()).all()
    return sorted({row.reason for row in rows}), sorted({row.peer for row in rows})


@dataclass(frozen=True, slots=True)
class RefusalDetail:
    """One refusal; head and name of the file are None where the reader may not see content."""

    row: RefusedMessage
    head: bytes | None
    name: str | None


def get_refused(work: Work, seq: int, *, with_content: bool) -> RefusalDetail:
    """One refusal; its head may name a patient, so opening it is noted as a read."""
    row = work.get(RefusedMessage, seq)
    record_audit(
        work, action="refused.read" if with_content else "refused.open", subject_type="refused_message",
        subject_id=str(seq),
    )  # fmt: skip
    if not with_content:
        return RefusalDetail(row, None, None)
    return RefusalDetail(row, work.keys.open(row.head), open_name(work, row.name))


def open_name(work: Work, sealed: bytes | None) -> str | None:
    """The name of a file put aside."""
    return work.keys.open(sealed).decode("utf-8", "replace") if sealed else None
