"""The contact log as a file: the entries its page shows, with the same filters and the same scope."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.models import Patient
from hcrm.contact_log.inputs import LogAddress
from hcrm.contact_log.models import ContactEntry
from hcrm.contact_log.queries import LogFilter, count_log, log_conditions
from hcrm.core import limits
from hcrm.core.clock import local_date, local_time
from hcrm.core.exporting import Asked, Exportable, ExportColumn, ExportLine
from hcrm.core.inputs import read_input
from hcrm.core.work import Work
from hcrm.directory.models import Department

_COLUMNS = (
    ExportColumn("name", "姓名"),
    ExportColumn("happened_at", "时间"),
    ExportColumn("logged_at", "登记时间"),
    ExportColumn("channel", "渠道"),
    ExportColumn("direction", "方向"),
    ExportColumn("whose", "对方"),
    ExportColumn("result", "结果"),
    ExportColumn("note", "内容"),
    ExportColumn("department", "科室"),
    ExportColumn("actor", "经手人"),
)
_CELLS: dict[str, Callable[[Any], str]] = {
    "name": lambda row: row.patient_name,
    "happened_at": lambda row: _moment(row.ContactEntry.happened_at),
    "logged_at": lambda row: _moment(row.ContactEntry.logged_at),
    "channel": lambda row: row.ContactEntry.channel.label,
    "direction": lambda row: "去" if row.ContactEntry.is_outgoing else "来",
    "whose": lambda row: row.ContactEntry.whose or "",
    "result": lambda row: row.ContactEntry.result.label,
    "note": lambda row: row.ContactEntry.note or "",
    "department": lambda row: row.department_name or "",
    "actor": lambda row: row.ContactEntry.actor_name,
}


def _moment(value: datetime | None) -> str:
    return "" if value is None else local_time(value).strftime("%Y-%m-%d %H:%M")


def contact_export() -> Exportable:
    """Contacts of a period, in the order they were logged."""
    return Exportable(
        kind="contacts", permission="contact.read", columns=_COLUMNS, title=_title,
        count=lambda work, asked: count_log(work, filters=_filter(work, asked)), lines=_lines, fix=_fix,
    )  # fmt: skip


def _fix(work: Work, asked: Asked) -> Asked:
    """The days themselves: “the last month” is another one when the file is written later."""
    since, until = read_input(LogAddress, dict(asked)).period(local_date(work.clock.now()))
    return {**asked, "since": since.isoformat(), "until": until.isoformat()}


def _filter(work: Work, asked: Asked) -> LogFilter:
    return read_input(LogAddress, dict(asked)).filter(local_date(work.clock.now()))


def _title(work: Work, asked: Asked) -> str:
    address = read_input(LogAddress, dict(asked))
    since, until = address.period(local_date(work.clock.now()))
    words = [f"联系记录 {since.isoformat()} 至 {until.isoformat()}"]
    words += [one.label for one in (address.channel, address.result) if one is not None]
    if address.department:
        words.append(work.get(Department, address.department).name)
    if address.actor:
        words.append("一名经手人")
    return "、".join(words)


def _lines(work: Work, asked: Asked, columns: Sequence[str], _is_clear: bool) -> Iterator[ExportLine]:
    statement = (
        sa.select(ContactEntry, Patient.name.label("patient_name"), Department.name.label("department_name"))
        .join(Patient, Patient.id == ContactEntry.patient_id)
        .outerjoin(Department, Department.id == ContactEntry.department_id)
        .where(*log_conditions(work, _filter(work, asked)))
        .order_by(ContactEntry.id)
        .limit(limits.EXPORT_BATCH)
    )
    last = ""
    while rows := work.execute(statement.where(ContactEntry.id > last)).all():
        last = rows[-1].ContactEntry.id
        for row in rows:
            yield ExportLine(row.ContactEntry.patient_id, [_CELLS[code](row) for code in columns])
        work.session.expunge_all()
