"""Files taken in, their rows, and what was chosen before for files like them."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base, Id, LabelledEnum
from hcrm.core.importing import Verdict


class ImportState(LabelledEnum):
    """How far a file is. Each is left by a person or by the machine, never by both."""

    UPLOADED = "uploaded", "待对应列"
    READING = "reading", "正在读取"
    CHECKING = "checking", "正在试运行"
    CHECKED = "checked", "待确认"
    RUNNING = "running", "正在导入"
    STOPPED = "stopped", "已停止"
    DONE = "done", "已导入"
    REVERTING = "reverting", "正在撤销"
    REVERTED = "reverted", "已撤销"
    CANCELLED = "cancelled", "已放弃"
    FAILED = "failed", "无法读取"


AT_WORK = (ImportState.READING, ImportState.CHECKING, ImportState.RUNNING, ImportState.REVERTING)
"""States in which the machine works."""
_AT_WORK = text("state IN ('reading', 'checking', 'running', 'reverting')")


class RowState(LabelledEnum):
    """What became of a row."""

    WAITING = "waiting", "未写入"
    WRITTEN = "written", "已写入"
    MOVED = "moved", "档案已变，跳过"
    REVERTED = "reverted", "已撤销"
    ENDED = "ended", "已作废"
    KEPT = "kept", "未撤销"


class ImportRun(Base):
    """One file taken in (导入). What it holds of patients is sealed and removed after a set time."""

    __tablename__ = "import_run"
    __table_args__ = (
        Index("ix_import_run_created", "created_at", "id"),
        Index("ix_import_run_file", "file_index"),
        Index("ix_import_run_at_work", "id", sqlite_where=_AT_WORK, postgresql_where=_AT_WORK),
    )
    id: Mapped[Id]
    kind: Mapped[str]
    state: Mapped[ImportState]
    name_sealed: Mapped[bytes | None]  # names of files may name patients
    content_sealed: Mapped[bytes | None]  # until its rows are read
    file_index: Mapped[str]  # blind: the same file again is said to be one
    file_form: Mapped[str]  # xlsx, xls, csv
    charset: Mapped[str]  # of a CSV
    delimiter: Mapped[str]
    is_1904: Mapped[bool]
    heading_line: Mapped[int]
    heading: Mapped[list[Any]]
    sample_sealed: Mapped[bytes | None]  # the first rows, to choose columns by
    places: Mapped[dict[str, Any]]  # column code: place in the row
    options: Mapped[dict[str, Any]]
    total: Mapped[int] = mapped_column(default=0)  # rows
    progress: Mapped[int] = mapped_column(default=0)  # rows of the present state that are done
    position: Mapped[int] = mapped_column(default=0)  # line the machine has come to
    counts: Mapped[dict[str, Any]]  # by verdict, and by row state once something was written
    error: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(default=0)
    lease: Mapped[str | None]
    leased_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    created_by_name: Mapped[str]
    checked_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    reverted_at: Mapped[datetime | None]
    purged_at: Mapped[datetime | None]


_OWN = text("own_index IS NOT NULL")


class ImportRow(Base):
    """One row of a file: as it came, what it would do, what it did, and what takes that back."""

    __tablename__ = "import_row"
    __table_args__ = (
        UniqueConstraint("run_id", "number"),
        Index("ix_import_row_key", "run_id", "key_index", "number"),
        Index("ix_import_row_own", "run_id", "own_index", "number", sqlite_where=_OWN, postgresql_where=_OWN),
        Index("ix_import_row_verdict", "run_id", "verdict", "number"),
        Index("ix_import_row_state", "run_id", "state", "number"),
        Index("ix_import_row_patient", "patient_id"),
    )
    id: Mapped[Id]
    run_id: Mapped[str] = mapped_column(ForeignKey("import_run.id"))
    number: Mapped[int]  # line of the file
    cells_sealed: Mapped[bytes | None]
    is_merged: Mapped[bool]  # a merged cell lies on it
    verdict: Mapped[Verdict | None]
    problems: Mapped[list[Any] | None]  # [column, sentence]
    key_index: Mapped[str | None]
    content_index: Mapped[str | None]
    own_index: Mapped[str | None]  # blind: what no row about something else may share (`Importer.own`)
    finding_index: Mapped[str | None]  # blind: what was announced
    patient_id: Mapped[str | None] = mapped_column(ForeignKey("patient.id"))
    state: Mapped[RowState] = mapped_column(default=RowState.WAITING)
    reason: Mapped[str | None]  # why it was skipped or could not be reverted
    journal_sealed: Mapped[bytes | None]


class ImportMapping(Base):
    """Which columns somebody chose for files with these headings."""

    __tablename__ = "import_mapping"
    __table_args__ = (UniqueConstraint("kind", "heading_index"),)
    id: Mapped[Id]
    kind: Mapped[str]
    heading_index: Mapped[str]
    places: Mapped[dict[str, Any]]
    options: Mapped[dict[str, Any]]
    updated_at: Mapped[datetime]
    updated_by: Mapped[str]
