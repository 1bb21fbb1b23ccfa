"""The patient's story, one line per fact, written in the work that made the fact true."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.models import TimelineEntry
from hcrm.archive.scope import scope_by_stay
from hcrm.core import limits
from hcrm.core.clock import day_bounds
from hcrm.core.work import Work
from hcrm.web.paging import Page, keyset_page

KINDS = {
    "visit": "就诊",
    "result": "检验检查",
    "order": "用药",
    "document": "文书",
    "booking": "预约",
    "instruction": "随访指令",
    "contact": "联系",
    "complaint": "投诉",
    "form": "随访记录",
    "alert": "预警",
    "reach": "联系意愿",
    "death": "在世情况",
    "merge": "建档与合并",
    "test": "测试患者",
    "base": "基本信息",
}
"""What a line can be about, and its word on the page. A later part adds its kind here, and below what it needs."""
KIND_NEEDS = dict.fromkeys(("instruction", "contact", "form", "alert"), "instruction.read") | {
    "complaint": "complaint.read"
}
"""The permission without which lines of a kind are not shown."""


@dataclass(frozen=True, slots=True)
class EntryPage:
    """The page a line opens: its endpoint, and what the subject's key is called there."""

    endpoint: str
    argument: str
    needs: str | None = None


ENTRY_PAGES: dict[str, EntryPage] = {
    "instruction": EntryPage("centre.show_instruction", "instruction_id"),
    "alert": EntryPage("followup.show_alert", "alert_id", "alert.handle"),
}
"""By `subject_type`, the page of its own that a line opens."""
ENTRY_TABS: dict[str, str] = {
    "encounter": "visits", "contact_entry": "contacts", "response": "followups", "diagnostic_report": "results",
    "medication_request": "medications", "document_reference": "documents", "appointment": "appointments",
    "patient_merge": "history",
}  # fmt: skip
"""By `subject_type`, the tab of the patient's page on which it stands."""


def add_entry(
    work: Work,
    *,
    patient_id: str,
    happened_at: datetime,
    kind: str,
    title: str,
    subject_type: str,
    subject_id: str,
    encounter_id: str | None = None,
) -> None:
    """Tell one thing; the row is written when the work closes. About a stay, it is for whom that stay is."""
    work.defer(
        TimelineEntry,
        {"id": work.new_id(), "patient_id": patient_id, "happened_at": happened_at, "kind": kind, "title": title,
         "subject_type": subject_type, "subject_id": subject_id, "encounter_id": encounter_id},
    )  # fmt: skip


def list_timeline(
    work: Work,
    *,
    patient_id: str,
    kinds: Collection[str] = (),
    since: date | None = None,
    until: date | None = None,
    key: str | None = None,
    size: int = limits.PAGE_SIZE,
) -> Page[TimelineEntry]:
    """A page of the patient's story, newest first, as far as it is about stays the actor may see, or about none.

    `since` and `until` are days of the hospital's calendar, both included.

    It asks nothing about the patient: the caller came through `archive.queries.get_patient`, which applies the
    scope and writes the audit line.
    """
    statement: sa.Select[Any] = sa.select(TimelineEntry).where(TimelineEntry.patient_id == patient_id)
    if kinds:
        statement = statement.where(TimelineEntry.kind.in_(sorted(kinds)))
    if since is not None:
        statement = statement.where(TimelineEntry.happened_at >= day_bounds(since)[0])
    if until is not None:
        statement = statement.where(TimelineEntry.happened_at < day_bounds(until)[1])
    statement = scope_by_stay(statement, TimelineEntry.encounter_id, work.actor)
    order = [TimelineEntry.happened_at.desc(), TimelineEntry.id.desc()]
    return keyset_page(work, statement, order=order, key=key, size=size)
