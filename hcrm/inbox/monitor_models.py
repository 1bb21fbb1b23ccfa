"""Tables of the watch over the interface: traffic by slots of five minutes, and incidents."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base, Id, LabelledEnum


class MessageTraffic(Base):
    """What one source sent in one slot; counted by a job, so that pruning loses nothing of it."""

    __tablename__ = "message_traffic"
    source: Mapped[str] = mapped_column(primary_key=True)  # empty: not taken up yet
    slot_at: Mapped[datetime] = mapped_column(primary_key=True, index=True)
    received: Mapped[int]
    parked: Mapped[int]
    lag_seconds: Mapped[float]  # the longest from receipt to decision, or until now


class IncidentKind(LabelledEnum):
    """What is wrong with a source."""

    SILENCE = "silence", "长时间没有消息"
    ERRORS = "errors", "搁置比例过高"
    UNSUPPORTED = "unsupported", "暂不支持的事件"
    GUARDED = "guarded", "等待人工放行"
    UNSENT = "unsent", "发不出"
    UNREADABLE = "unreadable", "视图或文件夹读不了"
    FILES = "files", "文件被拒"
    CENSUS = "census", "对账有差异"
    CENSUS_LIST = "census_list", "对账名单有问题"


_OPEN = text("closed_at IS NULL")


class Incident(Base):
    """Something of an interface a person should look at; one of a kind, source and subject is open at a time."""

    __tablename__ = "incident"
    __table_args__ = (
        Index(
            "uq_incident_open", "kind", "source", "subject", unique=True, sqlite_where=_OPEN,
            postgresql_where=_OPEN,
        ),
    )  # fmt: skip
    id: Mapped[Id]
    kind: Mapped[IncidentKind]
    source: Mapped[str]  # of UNSENT the destination
    subject: Mapped[str]  # an event, as ADT^A60, or a channel; else empty
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    detail: Mapped[dict[str, Any]]  # figures it was opened by
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None]
    acknowledged_by_name: Mapped[str | None]
    note: Mapped[str | None]
