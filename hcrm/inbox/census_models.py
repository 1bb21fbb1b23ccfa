"""Tables of the daily comparison with a HIS's own list: a run per source and day, and what it found."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base, Id, LabelledEnum
from hcrm.inbox.models import Seq


class RunState(LabelledEnum):
    """How a comparison went."""

    COMPLETE = "complete", "已对账"
    SUSPECT = "suspect", "名单可疑"
    ABSENT = "absent", "名单未到"
    UNREADABLE = "unreadable", "名单不可读"


class Movement(LabelledEnum):
    """What of a stay falls on the day."""

    ADMISSION = "admission", "入院"
    DISCHARGE = "discharge", "出院"
    DEATH = "death", "死亡"


class Finding(LabelledEnum):
    """How list and archive disagree about a stay."""

    MISSING = "missing", "缺少"
    EXTRA = "extra", "多出"
    DIFFERING = "differing", "不符"


class LineState(LabelledEnum):
    """What people made of a finding."""

    OPEN = "open", "待处理"
    REQUESTED = "requested", "已请求"
    APPLIED = "applied", "已补录"
    EXPLAINED = "explained", "已说明"


OF_OTHER_PATIENT = "patient_no"
"""What differs of a stay that the list gives to another patient than we do."""
LEFT_OUT = "left_out"
"""Instead of a movement: lines or stays of a list that are in no line of the matrix."""


class CensusRun(Base):
    """One comparison of one day; the one with the highest number counts."""

    __tablename__ = "census_run"
    __table_args__ = (
        UniqueConstraint("source", "day", "number"),
        Index("ix_census_run_day", "day", "source"),
    )
    id: Mapped[Id]
    source: Mapped[str]
    day: Mapped[date]  # of the hospital
    number: Mapped[int]  # of that day, from 1
    state: Mapped[RunState]
    list_at: Mapped[datetime | None]  # when the list was made, as far as we know
    rows: Mapped[int]  # stays of the day on the list
    unreadable: Mapped[int]  # rows nobody can make a stay of
    usual: Mapped[int | None]  # rows of such a day, where the list is not believed
    error: Mapped[str | None]  # code of why it cannot be read
    counts: Mapped[list[Any]]
    """A line of the matrix each: movement, campus, department, its name, five numbers; then what was left out."""
    findings: Mapped[int]  # stays
    allowed: Mapped[int]  # so many raise no alarm
    ran_at: Mapped[datetime]
    ran_by: Mapped[str]
    again_at: Mapped[datetime | None]  # a person wants it repeated
    believed_by: Mapped[str | None]  # and believes the list
    believed_by_name: Mapped[str | None]


_TO_DO = text("state != 'explained'")


class CensusLine(Base):
    """One finding: a stay and what of it disagrees."""

    __tablename__ = "census_line"
    __table_args__ = (
        Index("ix_census_line_run", "run_id", "finding", "movement", "department_code", "id"),
        Index("ix_census_line_to_do", "run_id", "state", sqlite_where=_TO_DO, postgresql_where=_TO_DO),
    )
    id: Mapped[Id]
    run_id: Mapped[str] = mapped_column(ForeignKey("census_run.id"))
    movement: Mapped[Movement]
    finding: Mapped[Finding]
    field: Mapped[str]  # of differing: admitted_at, discharged_at, department, discharge_way, patient_no
    authority: Mapped[str]
    visit_no: Mapped[str]
    patient_no: Mapped[str]
    encounter_id: Mapped[str | None]  # as it was when compared
    patient_id: Mapped[str | None]
    campus: Mapped[str]
    department_code: Mapped[str]
    theirs: Mapped[str]
    ours: Mapped[str]
    row_sealed: Mapped[bytes | None]  # the list's row; None where it has none
    state: Mapped[LineState]
    message_seq: Mapped[int | None] = mapped_column(Seq)  # the message its row became
    was_applied: Mapped[bool] = mapped_column(
        default=False, server_default=false()
    )  # and stands all the same
    acted_at: Mapped[datetime | None]
    acted_by: Mapped[str | None]
    acted_by_name: Mapped[str | None]
    note: Mapped[str | None]
