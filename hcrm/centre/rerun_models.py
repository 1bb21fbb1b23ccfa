"""Tables of sorting all stays anew when rules have changed: the run, what it changes, what was before."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base, Id, LabelledEnum


class RunState(LabelledEnum):
    """Where a re-run stands."""

    PREVIEWING = "previewing", "预览中"
    READY = "ready", "待确认"
    APPLYING = "applying", "执行中"
    DONE = "done", "已完成"
    UNDOING = "undoing", "撤销中"
    UNDONE = "undone", "已撤销"
    STOPPED = "stopped", "已停止"


class ClassificationRun(Base):
    """One re-run (重新分类): all stays compared with the rules in force, then changed in batches."""

    __tablename__ = "classification_run"
    __table_args__ = (Index("ix_classification_run_state", "state", "id"),)
    id: Mapped[Id]
    state: Mapped[RunState]
    stopped_in: Mapped[RunState | None]  # what goes on when it is resumed
    rules: Mapped[dict[str, Any]]  # axis: version
    cursor: Mapped[str]  # the last stay that was looked at in this state
    looked: Mapped[int]
    changed: Mapped[int]  # stays
    applied: Mapped[int]
    undone: Mapped[int]
    kept: Mapped[int]  # not taken back: their record has changed since
    appearing: Mapped[int]  # instructions, as the preview says
    missed: Mapped[int]
    moving: Mapped[int]
    withdrawn: Mapped[int]
    started_by: Mapped[str]
    started_by_name: Mapped[str]
    started_at: Mapped[datetime]
    applied_by_name: Mapped[str | None]
    applied_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class ClassificationChange(Base):
    """What a re-run changes of one stay on one axis."""

    __tablename__ = "classification_change"
    __table_args__ = (
        Index("ix_classification_change_axis", "run_id", "axis", "before_code", "after_code", "id"),
        Index("ix_classification_change_stay", "run_id", "encounter_id"),
    )
    id: Mapped[Id]
    run_id: Mapped[str] = mapped_column(ForeignKey("classification_run.id"))
    encounter_id: Mapped[str] = mapped_column(ForeignKey("encounter.id"), index=True)
    axis: Mapped[str]
    before_code: Mapped[str]  # of the main class; empty: was not sorted
    before_label: Mapped[str]
    after_code: Mapped[str]
    after_label: Mapped[str]


class ClassificationBefore(Base):
    """The classes a stay had before a re-run changed them, kept until it is undone or followed by another."""

    __tablename__ = "classification_before"
    __table_args__ = (Index("ix_classification_before_stay", "run_id", "encounter_id"),)
    id: Mapped[Id]
    run_id: Mapped[str] = mapped_column(ForeignKey("classification_run.id"))
    encounter_id: Mapped[str] = mapped_column(ForeignKey("encounter.id"), index=True)
    rows: Mapped[list[Any]]
    applied_at: Mapped[datetime]
