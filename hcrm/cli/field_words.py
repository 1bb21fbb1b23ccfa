"""What the fields of our records are called, for those who connect a sender (`hcrm source check`)."""

import re
from typing import Final

_PARTS: Final = {
    "patient": "", "encounter": "", "clinical": "", "also": "另一位的", "event": "", "acts": "处理", "staff": "人员",
    "as_of": "资料时间", "told_at": "消息时间", "row": "表格行",
    "patient.identifiers": "标识", "patient.name": "姓名", "patient.sex": "性别", "patient.birth_date": "出生日期",
    "patient.marital_status": "婚姻", "patient.deceased": "是否已故", "patient.deceased_at": "死亡时间",
    "patient.contacts": "联系方式", "patient.business_contacts": "单位电话", "patient.addresses": "地址",
    "patient.related": "联系人", "patient.allergies": "过敏", "patient.mother": "母亲", "patient.is_vip": "重要患者",
    "encounter.authority": "发号机构", "encounter.visit_no": "就诊流水号", "encounter.account_no": "账户号",
    "encounter.encounter_class": "就诊类别", "encounter.class_text": "就诊类别原文", "encounter.department": "科室",
    "encounter.attending": "主治医师", "encounter.location": "床位", "encounter.admitted_at": "入院时间",
    "encounter.discharged_at": "出院时间", "encounter.discharge_way": "离院方式",
    "encounter.discharge_way_text": "离院方式原文", "encounter.payment_type": "付费方式",
    "encounter.diagnoses": "诊断", "encounter.procedures": "手术",
    "event.kind": "事件", "event.happened_at": "发生时间", "event.precision": "时间精度",
    "acts.kind": "种类", "acts.subject": "所指患者", "acts.other": "另一患者", "acts.number": "就诊号",
    "acts.other_number": "另一就诊号",
    "clinical.reports": "报告", "clinical.reports.observations": "结果", "clinical.medications": "用药",
    "clinical.charges": "费用", "clinical.documents": "文书", "clinical.appointments": "预约",
}  # fmt: skip
"""Paths whose meaning is not that of their last word alone; empty: needs no word."""
_LEAVES: Final = {
    "kind": "种类", "authority": "发号机构", "type": "类型", "value": "值", "system": "方式", "use": "用途",
    "text": "名称", "region_code": "地区代码", "name": "姓名", "relation": "关系", "phone": "电话",
    "code": "代码", "severity": "程度", "reaction": "反应", "is_main": "是否主要", "performed_at": "时间",
    "performed_on": "日期", "number": "编号", "key": "标识", "rank": "次序", "unit": "单位",
    "reference_range": "参考范围", "flag": "异常标志", "flag_text": "异常标志原文", "status": "状态",
    "observed_at": "检测时间", "note": "备注", "is_narrative": "是否叙述", "is_status_only": "只改状态",
    "category": "类别", "issued_at": "报告时间", "is_herbal": "是否中药", "components": "组成", "dose": "剂量",
    "dose_unit": "剂量单位", "route": "途径", "frequency": "频次", "quantity": "数量",
    "quantity_unit": "数量单位", "doses": "剂数", "starts_on": "开始日期", "ends_on": "结束日期",
    "end_basis": "结束依据", "given_at": "给药时间", "cost_class": "费用类别", "is_total": "是否合计",
    "amount_fen": "金额（分）", "charged_at": "计费时间", "title": "名称", "content": "内容",
    "media_type": "格式", "author": "作者", "written_at": "书写时间", "replaces": "替代",
    "starts_at": "开始时间", "ends_at": "结束时间", "service": "服务", "department": "科室", "location": "地点",
    "practitioner": "医师工号", "practitioner_name": "医师", "reason": "原因", "department_code": "科室代码",
    "department_name": "科室", "is_active": "是否在岗", "places": "位置", "guesses_type": "类型未写明",
    "guesses_authority": "发号机构未写明",
}  # fmt: skip
_OPEN: Final = frozenset({
    "encounter.encounter_class", "encounter.class_text", "encounter.department", "encounter.admitted_at",
    "encounter.discharged_at", "encounter.discharge_way", "encounter.discharge_way_text", "event", "as_of", "told_at",
})  # fmt: skip
"""What says nothing of who the patient is, and is needed to see whether a file reads rightly."""
_LOCAL: Final = (".authority", ".type", ".kind", ".system", ".department.code", ".department.name")


def field_words(path: str) -> str:
    """`encounter.diagnoses[1].code` with what it is called: 诊断 代码."""
    words: list[str] = []
    steps = re.sub(r"\[\d+\]", "", path).split(".")
    if steps[0] == "also":
        words.append(_PARTS["also"])
        steps = steps[1:]
    for count, step in enumerate(steps, 1):
        known = _PARTS.get(".".join(steps[:count]))
        words.append(known if known is not None else _LEAVES.get(step, ""))
    return f"{path} {' '.join(word for word in words if word)}".strip()


def is_open(path: str) -> bool:
    """Whether a value that became this may be shown: a word of the sender's own lists, or a time of the visit."""
    if path.endswith(_LOCAL):
        return True
    plain = re.sub(r"\[\d+\]", "", path).removeprefix("also.")
    return any(plain == name or plain.startswith(name + ".") for name in _OPEN)
