"""What to do about one message: the hint of its reason, and of its flags, as its sender's file stands."""

from collections.abc import Mapping
from typing import Final

from hcrm.core.sources import Sources
from hcrm.inbox.row_words import row_text
from hcrm.inbox.words import REASONS

_NEEDS_A_FILE: Final = frozenset({"charset", "charset_utf8", "event_not_supported", "no_patient_number"})
"""Reasons that a sender's own file puts right; one without a file is read by `default.yaml`."""
_TABLES: Final[Mapping[str, str]] = {
    "PV1-2": "classes", "PV1-36": "discharge_ways", "PID-8": "sexes", "OBX-8": "abnormal_flags",
    "PV1-3": "departments", "encounter_class": "classes", "discharge_way": "discharge_ways", "sex": "sexes",
    "department": "departments",
}  # fmt: skip
"""Where a source's file says what a code means, by the place it stands at."""
_FLAGS: Final[Mapping[str, str]] = {
    "control_id_reused": "请发送方给每条消息不同的 MSH-10",
    "charset_declared_wrong": "请发送方改正 MSH-18，或在来源文件写 charset_forced: true",
    "charset_fallback": "请发送方在 MSH-18 写明字符集",
    "charset_doubtful": "请核对姓名是否乱码；若是 UTF-8，改来源文件的 charset",
    "number_type_unknown": "在来源文件的 identifier_types 写明 PID-3.5 这种类型是什么；是病案号写 record",
    "no_discharge_time": "请发送方填 PV1-45；现按事件发生的时间计",
    "discharged_before_admitted": "请核对 PV1-44 与 PV1-45",
    "no_name": "请发送方补发带姓名的消息",
    "bad_time": "请发送方改正；是本地写法的，在来源文件的 date_forms 写明",
    "clock_ahead": "请核对发送方的时钟和来源文件的 zone",
    "empty_date": "无需处理；表示“没有”的日期可写进来源文件的 empty_dates",
    "identifier_conflict": "请核对两份档案是否应合并",
    "late_under_merged_id": "请发送方改用保留的病历号",
    "batch_count": "请核对这一批是否少发",
    "batch_cut": "请发送方重发这一批",
    "bad_content": "请发送方核对附件的编码",
    "bad_number": "请发送方改正",
}
"""What is to be done about a flag; those that only tell what was done are absent."""


def reason_advice(reason: str, sender: str, facility: str, sources: Sources) -> str:
    """The hint of a reason. Where the sender has no file, that comes first: lines of it cannot be changed."""
    usual = REASONS.get(reason, ("", ""))[1]
    if (
        reason not in _NEEDS_A_FILE or not sender or sender in sources.by_code
    ):  # a row comes under its file's code
        return usual
    found = sources.find(sender, facility)
    if found is not None and found.sender:
        return usual
    who = f"{sender}/{facility}" if facility else sender
    more = f"、facility: {facility}" if facility else ""
    return f"发送方 {who} 没有来源文件，请写 config/sources/….yaml（sender: {sender}{more}），重启，再重新处理。{usual}"


def flag_advice(flags: str) -> list[str]:
    """What to do about each flag of a message, once each."""
    found = []
    for flag in flags.split():
        name, _, place = flag.partition(":")
        if name == "unmapped":
            table = _TABLES.get(place.partition(".")[0], "")
            where = f"来源文件的 {table} 中" if table else "来源文件的对照表中"
            found.append(f"在{where}加上 {row_text(place)} 的代码，重启，再重新处理")
        elif name in _FLAGS:
            found.append(_FLAGS[name])
    return list(dict.fromkeys(found))
