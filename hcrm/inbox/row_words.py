"""What rows of views and lists, their columns and the ways of messages are called for a clerk."""

import re
from collections.abc import Mapping
from typing import Final, get_args

from hcrm.core.channels import RowField, Rows
from hcrm.core.sources import Sources

ROW_FIELDS: Final[Mapping[str, str]] = {
    "patient_no": "病案号", "visit_no": "就诊流水号", "id_number": "身份证号", "name": "姓名", "sex": "性别",
    "birth_date": "出生日期", "phone": "电话", "address": "住址", "region_code": "行政区划", "died_at": "死亡时间",
    "encounter_class": "就诊类别", "ward": "病区", "department": "科室", "department_name": "科室名称",
    "attending": "主治医师工号", "attending_name": "主治医师姓名", "admitted_at": "入院时间",
    "discharged_at": "出院时间", "discharge_way": "离院方式", "diagnosis": "诊断编码", "diagnosis_name": "诊断名称",
    "event": "发生了什么", "changed_at": "变更时间",
}  # fmt: skip
"""Our fields a column may feed."""
_FIELD: Final = re.compile(rf"(?<!\S)({'|'.join(get_args(RowField))})(?=（|\s|$)")
"""Not a column of such a name, which stands in brackets behind its field."""
_WAYS: Final = {"folder": "文件夹", "view": "视图", "census": "对账补录"}
_LEFT_OUT: Final = {
    "other_day": "{} 人次不在这一天入院、出院或死亡",
    "other_class": "{} 人次不属所对账的就诊类别",
    "cancelled": "{} 行是取消",
    "same_stay": "{} 行与另一行是同一人次",
}


def fields_named(text: str) -> set[str]:
    """Our fields a reason or a flag of a row names."""
    return set(_FIELD.findall(text))


def row_text(text: str) -> str:
    """A reason's or flag's places in words: `discharged_at（CYSJ）` is 出院时间（CYSJ）."""
    return _FIELD.sub(lambda found: ROW_FIELDS[found[1]], text)


def column_words(rows: Rows) -> dict[str, str]:
    """What each column of these rows is called on our pages."""
    return {column: ROW_FIELDS[field] for field, column in rows.columns.items()}


def peer_words(peer: str, sources: Sources) -> str:
    """On which way a message came, where that is no address."""
    way, _, source = peer.partition(" ")
    if source and way in _WAYS:
        known = sources.by_code.get(source)
        return f"{_WAYS[way]}（{known.title if known else source}）"
    return {"console": "控制台更正", "demo": "演示"}.get(peer, peer)


def left_out_words(left_out: Mapping[str, int]) -> str:
    """What of a list is not compared, and why."""
    return "，".join(
        _LEFT_OUT[why].format(f"{number:,}") for why, number in left_out.items() if why in _LEFT_OUT
    )
