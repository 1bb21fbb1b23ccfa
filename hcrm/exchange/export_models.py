"""Files taken out."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base, Id, LabelledEnum


class ExportState(LabelledEnum):
    """How far a file is."""

    WAITING = "waiting", "待批准"
    QUEUED = "queued", "正在生成"
    READY = "ready", "可下载"
    REJECTED = "rejected", "未批准"
    FAILED = "failed", "未生成"
    EXPIRED = "expired", "已清除"


class ExportPurpose(LabelledEnum):
    """What somebody wants the data for."""

    FOLLOW_UP = "follow_up", "随访与联系患者"
    QUALITY = "quality", "质量管理"
    REPORT = "report", "统计上报"
    RESEARCH = "research", "科研"
    OTHER = "other", "其他"


_TO_DO = text("state IN ('waiting', 'queued')")


class ExportRequest(Base):
    """A file somebody asked for (导出): what, why, who approved it, and the file itself, sealed, for a while."""

    __tablename__ = "export_request"
    __table_args__ = (
        Index("ix_export_request_by", "requested_by", "requested_at", "id"),
        Index("ix_export_request_to_do", "state", "id", sqlite_where=_TO_DO, postgresql_where=_TO_DO),
    )
    id: Mapped[Id]
    kind: Mapped[str]
    title: Mapped[str]
    asked: Mapped[
        dict[str, Any]
    ]  # fixed: what the list held of itself then, so that nobody changes it afterwards
    described: Mapped[list[Any]]  # the same in sentences, for whoever approves
    columns: Mapped[list[Any]]
    file_form: Mapped[str]  # xlsx, csv
    is_clear: Mapped[bool]  # without masks
    clear_reason: Mapped[str | None]
    purpose: Mapped[ExportPurpose]
    purpose_text: Mapped[str]
    rows: Mapped[int]  # when it was asked for; of the file once it is there
    state: Mapped[ExportState]
    requested_at: Mapped[datetime]
    requested_by: Mapped[str]
    requested_by_name: Mapped[str]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str | None]
    decided_by_name: Mapped[str | None]
    decision_note: Mapped[str | None]
    content_sealed: Mapped[bytes | None]
    built_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    downloads: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(default=0)
