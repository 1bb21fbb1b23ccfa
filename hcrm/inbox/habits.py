"""What a source's file says differently from what we take for granted, in words for the page of sources."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel

from hcrm.core.clock import local_time
from hcrm.core.sources import Source

SETTINGS: Final[Mapping[str, str]] = {
    "facility": "机构（MSH-4）", "charset": "字符集", "charset_forced": "不看 MSH-18", "charset_order": "字符集顺序",
    "zone": "时区", "ack_mode": "应答方式", "processing_ids": "接受的处理标识", "default_authority": "默认发号机构",
    "record_number_types": "病历号类型", "id_number_types": "身份证类型", "identifier_types": "标识类型对照",
    "authority_uris": "发号机构的 FHIR 系统", "date_forms": "日期写法", "empty_dates": "表示没有的日期",
    "events": "本地事件对照", "event_from": "事件代码位置", "fields": "字段位置", "visit_number_from": "就诊流水号位置",
    "department_from": "科室代码位置", "department_name_from": "科室名称位置", "location_from": "病区床位位置",
    "campus_from": "院区位置", "campuses": "院区对照",
    "attending_from": "主治医师位置", "departments": "科室对照", "classes": "就诊类别对照",
    "discharge_ways": "离院方式对照", "sexes": "性别对照", "marital_statuses": "婚姻状况对照",
    "diagnosis_systems": "诊断编码体系", "abnormal_flags": "异常标志对照",
    "herbal_doses_from": "中药付数位置", "charge_totals": "费用按类合计", "cost_class_from": "费用类别位置",
    "cost_classes": "费用类别对照", "region_from": "行政区划位置", "certificate_subjects": "绑定证书",
    "addresses": "允许的网段", "tokens": "绑定令牌", "folder": "投递文件夹", "list_file": "名单文件",
    "view": "数据库视图", "soap": "SOAP", "census": "每日核对名单", "merges_per_hour": "每小时合并上限",
    "deletions_per_minute": "每分钟删除上限", "follow_up_from": "切换时间",
}  # fmt: skip
"""Settings of a source that the page names."""
_IDENTITY: Final = frozenset({"code", "title", "sender"})
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Habit:
    """One setting and what it says."""

    name: str
    title: str
    words: str


def list_habits(source: Source) -> list[Habit]:
    """What differs from the shipped values, in the order of the documentation. Nothing secret can stand there."""
    found = []
    for name, field in type(source).model_fields.items():
        value = getattr(source, name)
        if name not in _IDENTITY and value != field.get_default(call_default_factory=True):
            found.append(Habit(name, SETTINGS.get(name, name), _words(value)))
    return found


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, BaseModel):
        return "已配置"
    if isinstance(value, datetime):
        return local_time(value).strftime("%Y-%m-%d %H:%M")
    if isinstance(value, Mapping):
        return _listed([f"{name or '（空）'} → {_words(meaning)}" for name, meaning in value.items()])
    if isinstance(value, tuple | list):
        return _listed([_words(each) or "（空）" for each in value])
    return "（无）" if value in (None, "") else str(value)


def _listed(parts: list[str]) -> str:
    more = f" 等 {len(parts)} 项" if len(parts) > _SHOWN else ""
    return "、".join(parts[:_SHOWN]) + more if parts else "（空）"
