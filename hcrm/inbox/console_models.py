"""Tables of the interface console: what people did with messages, replays under way, what pruning has passed."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base, Id, LabelledEnum
from hcrm.inbox.models import Seq


class MessageActKind(LabelledEnum):
    """What a person did with a message."""

    REPLAYED = "replayed", "重新处理"
    CORRECTED = "corrected", "更正，原消息不再处理"
    COPIED = "copied", "作为更正副本存入"


class MessageAct(Base):
    """One act of a person on one message, with how it stood before: a replay forgets that. Only added to."""

    __tablename__ = "message_act"
    id: Mapped[Id]
    seq: Mapped[int] = mapped_column(Seq, index=True)
    kind: Mapped[MessageActKind]
    happened_at: Mapped[datetime]
    actor_id: Mapped[str]
    actor_name: Mapped[str]
    state_before: Mapped[str | None]
    reason_before: Mapped[str | None]
    note: Mapped[str | None]  # why, as the person wrote it


class MessageCorrection(Base):
    """A message and the corrected copy that goes its way instead; a copy may be corrected again."""

    __tablename__ = "message_correction"
    original_seq: Mapped[int] = mapped_column(Seq, primary_key=True, autoincrement=False)
    copy_seq: Mapped[int] = mapped_column(Seq, unique=True)
    reason: Mapped[str]
    corrected_at: Mapped[datetime]
    corrected_by: Mapped[str]


class ReplayState(LabelledEnum):
    """How far a replay of many messages is."""

    RUNNING = "running", "进行中"
    DONE = "done", "已完成"
    STOPPED = "stopped", "已停止"


_RUNNING = text("state = 'running'")


class ReplayRun(Base):
    """A replay of all that a filter gave at one moment: nothing above `upto_seq`, done up to `seq`."""

    __tablename__ = "replay_run"
    __table_args__ = (Index("ix_replay_run_running", "id", sqlite_where=_RUNNING, postgresql_where=_RUNNING),)
    id: Mapped[Id]
    started_at: Mapped[datetime]
    started_by: Mapped[str]
    started_by_name: Mapped[str]
    filters: Mapped[dict[str, Any]]  # no identifier, no searched text: those cannot be replayed in bulk
    upto_seq: Mapped[int] = mapped_column(Seq)
    seq: Mapped[int] = mapped_column(Seq)
    total: Mapped[int]  # as counted before it began
    done: Mapped[int]
    state: Mapped[ReplayState]
    finished_at: Mapped[datetime | None]


class PruneFloor(Base):
    """One row: up to this number each message was looked at by pruning (`hcrm.inbox.pruning`)."""

    __tablename__ = "prune_floor"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(Seq)


class PruneLater(Base):
    """Messages below the floor that had to be kept when it passed: asked again each time."""

    __tablename__ = "prune_later"
    seq: Mapped[int] = mapped_column(Seq, primary_key=True, autoincrement=False)
