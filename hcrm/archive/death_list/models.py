"""Tables of the death list: what lists told of whom, and what became of each list on its day."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, literal, text
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base, Id, LabelledEnum


class EntryState(LabelledEnum):
    """What a line of a death list came to."""

    MATCHED = "matched", "已登记"
    ALREADY = "already", "此前已登记"
    NEAR = "near", "待核对"
    UNKNOWN = "unknown", "无此档案"
    CONFIRMED = "confirmed", "核对为本人"
    REJECTED = "rejected", "核对不是"


SAYS_DEAD = (EntryState.MATCHED, EntryState.ALREADY, EntryState.CONFIRMED)
"""Lines that stand for the death of the patient they name."""


class NearReason(LabelledEnum):
    """Why a line is put before a person instead of being applied."""

    NAME = "name", "身份证号同，姓名不同"
    RECORD = "record", "病案号同，其他不全同"
    SEVERAL = "several", "不止一份档案符合"
    CONFLICT = "conflict", "号码或生日与档案不同"
    NAMESAKE = "namesake", "同名同生日，没有号码"
    LATER_VISIT = "later_visit", "死亡之后还有就诊"
    REVOKED = "revoked", "死亡登记曾撤销"
    DISPUTED = "disputed", "是否在世存疑"


class RunState(LabelledEnum):
    """What became of a list on a day."""

    DONE = "done", "已应用"
    WORKING = "working", "处理中"
    WAITING = "waiting", "等待确认"
    ABSENT = "absent", "名单未到"
    FAILED = "failed", "失败"
    WITHDRAWN = "withdrawn", "已撤销"


class ListSource(LabelledEnum):
    """How a list comes."""

    FOLDER = "folder", "文件夹"
    VIEW = "view", "数据库视图"
    UPLOAD = "upload", "人工导入"
    WORD = "word", "确认没有新名单"


SPOKEN = (ListSource.UPLOAD, ListSource.WORD)
"""What people answer for themselves."""
COUNTS = ("read", "known", "matched", "already", "near", "unknown", "wrong")
"""What is counted of a list."""


_NEAR = text("state = 'near'")
_UNKNOWN = text("state = 'unknown'")


class DeathListEntry(Base):
    """One person of a death list, whichever list told of them first. The ID number is sealed.

    Those who have no archive are kept for a time: an archive that comes later is looked at again.
    """

    __tablename__ = "death_list_entry"
    __table_args__ = (
        UniqueConstraint("fingerprint"),
        Index(
            "ix_death_list_entry_near", "created_at", "id", sqlite_where=_NEAR, postgresql_where=_NEAR
        ),
        Index("ix_death_list_entry_unknown", "id", sqlite_where=_UNKNOWN, postgresql_where=_UNKNOWN),
        Index("ix_death_list_entry_patient", "patient_id"),
        Index("ix_death_list_entry_import", "import_id"),
    )  # fmt: skip
    id: Mapped[Id]
    fingerprint: Mapped[str]  # blind: name and numbers
    name: Mapped[str]
    id_number_sealed: Mapped[bytes | None]
    id_index: Mapped[str | None]
    record_no: Mapped[str | None]
    birth_date: Mapped[date | None]
    died_on: Mapped[date | None]
    state: Mapped[EntryState]
    reason: Mapped[NearReason | None]
    patient_id: Mapped[str | None] = mapped_column(ForeignKey("patient.id"))
    import_id: Mapped[str]  # the import that brought it
    created_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str | None]
    note: Mapped[str | None]


def stands_as(state: EntryState) -> Any:
    """Lines of that state. The word itself: a parameter would keep SQLite from their index."""
    return DeathListEntry.state == literal(state, DeathListEntry.state.type, literal_execute=True)


class DeathListRun(Base):
    """A list on a day: whether it was applied before the day's first sending, and what it came to."""

    __tablename__ = "death_list_run"
    __table_args__ = (UniqueConstraint("day", "source"),)
    id: Mapped[Id]
    day: Mapped[date]
    source: Mapped[ListSource]
    state: Mapped[RunState]
    list_at: Mapped[datetime | None]  # when the list was written
    read: Mapped[int] = mapped_column(default=0)  # lines
    known: Mapped[int] = mapped_column(default=0)  # of them, told by an earlier list
    matched: Mapped[int] = mapped_column(default=0)
    already: Mapped[int] = mapped_column(default=0)
    near: Mapped[int] = mapped_column(default=0)
    unknown: Mapped[int] = mapped_column(default=0)
    wrong: Mapped[int] = mapped_column(default=0)  # lines that cannot be read, given back in the marked file
    import_id: Mapped[str | None]
    error: Mapped[str | None]  # a sentence
    note: Mapped[str | None]  # why a person says that there is no list
    since: Mapped[datetime]  # from when on it stands as it does
    ran_at: Mapped[datetime]
    ran_by: Mapped[str]


class DeathListFile(Base):
    """A file of the folder as it was at a time, and what became of it. Written again, it is another one."""

    __tablename__ = "death_list_file"
    __table_args__ = (
        UniqueConstraint("version_index"),
        Index("ix_death_list_file_noted", "noted_at", "id"),
        Index("ix_death_list_file_import", "import_id"),
    )
    id: Mapped[Id]
    version_index: Mapped[str]  # blind: name, size, time of change
    name_sealed: Mapped[bytes]  # names of files may name patients
    written_at: Mapped[datetime]  # its time of change
    noted_at: Mapped[datetime]  # when we first saw it
    state: Mapped[RunState]
    error: Mapped[str | None]  # a sentence
    import_id: Mapped[str | None]
    read: Mapped[int] = mapped_column(default=0)
    known: Mapped[int] = mapped_column(default=0)
    matched: Mapped[int] = mapped_column(default=0)
    already: Mapped[int] = mapped_column(default=0)
    near: Mapped[int] = mapped_column(default=0)
    unknown: Mapped[int] = mapped_column(default=0)
    wrong: Mapped[int] = mapped_column(default=0)
