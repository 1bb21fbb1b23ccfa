"""How results, orders, documents and bookings read on the timeline. Pure: rows in, a line out."""

from collections.abc import Sequence
from typing import Any

from hcrm.archive.clinical.terms import (
    AppointmentStatus,
    DocumentStatus,
    OrderStatus,
    ReportStatus,
)
from hcrm.core.clock import local_date

Row = dict[str, Any]

DOCUMENT_KINDS = {
    "DS": "出院小结", "HP": "病史与体检", "OP": "手术记录", "PN": "病程记录", "CN": "会诊记录", "DI": "影像报告",
    "PR": "操作记录", "SP": "病理报告", "TS": "转科小结", "ED": "急诊记录", "CD": "心电报告", "AR": "尸检报告",
    "C0002": "门急诊病历", "C0032": "住院病案首页", "C0053": "出院小结",
}  # fmt: skip
"""TXA-2 (HL7 table 0270) and the numbers of shared CDA documents (WS/T 500), as people call them."""


def report_line(row: Row) -> str:
    """检验 · 血常规（3 项异常）."""
    found = (
        "已作废"
        if row["status"] == ReportStatus.CANCELLED
        else "危急值"
        if row["is_critical"]
        else f"{row['abnormal']} 项异常"
        if row["abnormal"]
        else ""
    )
    state = row["status"].label if row["status"] not in (ReportStatus.FINAL, ReportStatus.CANCELLED) else ""
    words = "，".join(word for word in (state, found) if word)
    return f"{row['category'].label} · {row['text'] or '未命名'}" + (f"（{words}）" if words else "")


def medication_line(rows: Sequence[Row]) -> str:
    """医嘱 · 阿司匹林肠溶片等 3 种（用到 2026-12-20）."""
    first = rows[0]
    name = first["text"] or first["code"] or "未命名"
    if first["is_herbal"] and first["doses"]:
        name += f" {first['doses']} 剂"
    kind = "中药处方" if first["is_herbal"] else "医嘱"
    title = name if name.startswith(kind) else f"{kind} · {name}"
    if len(rows) > 1:
        title += f"等 {len(rows)} 种"
    if first["status"] in (OrderStatus.CANCELLED, OrderStatus.STOPPED):
        return f"{title}（{first['status'].label}）"
    return title + (f"（用到 {first['ends_on'].isoformat()}）" if first["ends_on"] else "")


def document_line(row: Row) -> str:
    """文书 · 出院小结."""
    title = row["title"] or DOCUMENT_KINDS.get(row["kind"], "") or row["kind"] or "未命名"
    return title + ("" if row["status"] == DocumentStatus.FINAL else f"（{row['status'].label}）")


def appointment_line(row: Row) -> str:
    """心血管内科门诊 11-25（已取消）."""
    what = row["service"] or row["department"] or row["location"] or "预约"
    day = f" {local_date(row['starts_at']).isoformat()}" if row["starts_at"] else ""
    state = "" if row["status"] == AppointmentStatus.BOOKED else f"（{row['status'].label}）"
    return f"{what}{day}{state}"
