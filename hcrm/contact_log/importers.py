"""What happened before us, from a file: follow-ups and complaints, under their true author, date and words.

They are entries of the contact log with the mark 历史导入, and nothing follows from them: no instruction, red flag,
message or deadline. A complaint names no department: who may read complaints reads it, and nobody else. The part that
brings complaints brings an importer that takes this one's place.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from hcrm.archive.imports.people import NAME, RECORD_NO, PeopleFound
from hcrm.archive.models import TimelineEntry
from hcrm.contact_log.models import PAST_COMPLAINT, PAST_FOLLOW_UP, Channel, ContactEntry, ContactResult
from hcrm.core import limits
from hcrm.core.importing import (
    HISTORICAL,
    CellKind,
    Change,
    Column,
    Finding,
    Given,
    Importer,
    Problem,
    Setting,
    Verdict,
    Writes,
)
from hcrm.core.work import Work

AUTHOR_ID = "import"
"""Actor of such entries: their author has no account here, only a name."""
_CHANNELS = {
    "电话": Channel.PHONE, "面访": Channel.VISIT, "短信": Channel.SMS, "信函": Channel.LETTER, "其他": Channel.OTHER,
    "电话随访": Channel.PHONE, "手机": Channel.PHONE, "门诊": Channel.VISIT, "上门": Channel.VISIT,
    "来访": Channel.VISIT, "信件": Channel.LETTER, "微信": Channel.OTHER, "网络": Channel.OTHER,
}  # fmt: skip
_RESULTS = {
    "接通，本人": ContactResult.REACHED, "接通，家属": ContactResult.RELATIVE, "无人接听": ContactResult.NO_ANSWER,
    "占线": ContactResult.BUSY, "错号": ContactResult.WRONG_NUMBER, "空号": ContactResult.INVALID_NUMBER,
    "拒绝": ContactResult.REFUSED, "得知已故": ContactResult.DECEASED, "成功": ContactResult.REACHED,
    "本人接听": ContactResult.REACHED, "家属接听": ContactResult.RELATIVE, "已随访": ContactResult.REACHED,
    "完成": ContactResult.REACHED, "接通": ContactResult.REACHED, "未接": ContactResult.NO_ANSWER,
    "无人接": ContactResult.NO_ANSWER, "停机": ContactResult.INVALID_NUMBER, "拒访": ContactResult.REFUSED,
    "死亡": ContactResult.DECEASED,
}  # fmt: skip
_HAPPENED_AT = Column(
    "happened_at", "日期", "那一天，可带时间：2025-03-01 15:30",
    ("随访日期", "随访时间", "时间", "发生日期", "投诉日期", "投诉时间", "登记日期"),
    kind=CellKind.MOMENT, required=True,
)  # fmt: skip
_AUTHOR = Column(
    "author", "经手人", "当时随访或接待的人，原样保留",
    ("随访人", "随访人员", "随访医生", "随访医师", "接待人", "登记人", "记录人", "处理人"), required=True, most=60,
)  # fmt: skip
_CHANNEL = Column(
    "channel", "方式", "电话、面访、短信、信函、其他；空着为电话", ("随访方式", "渠道", "联系方式", "来源"),
    kind=CellKind.WORD, words=_CHANNELS,
)  # fmt: skip
_FOLLOW_UP_COLUMNS = (
    RECORD_NO,
    NAME,
    _HAPPENED_AT,
    _AUTHOR,
    _CHANNEL,
    Column(
        "result", "结果", "空着为接通本人", ("随访结果", "随访状态", "接通情况", "随访情况"), kind=CellKind.WORD,
        words=_RESULTS,
    ),
    Column("title", "随访名称", "例如 出院一周随访", ("随访类型", "随访项目", "随访方案", "问卷名称"), most=200),
    Column("content", "随访内容", "一段文字", ("内容", "备注", "记录", "说明"), most=4_000),
)  # fmt: skip
_COMPLAINT_COLUMNS = (
    RECORD_NO,
    NAME,
    _HAPPENED_AT,
    _AUTHOR,
    _CHANNEL,
    Column(
        "title", "投诉事由", "一句话", ("事由", "投诉类型", "类别", "主题", "投诉原因"), required=True, most=200
    ),
    Column("content", "投诉内容", "经过", ("内容", "详情", "投诉详情"), most=4_000),
    Column("outcome", "处理结果", "怎么处理的，怎么答复的", ("处理情况", "处理意见", "答复", "结果"), most=4_000),
)  # fmt: skip


class _PastBatch:
    """Rows that tell of contacts of former times."""

    def __init__(self, work: Work, givens: Sequence[Given], setting: Setting, *, kind: str) -> None:
        self.work = work
        self.givens = givens
        self.setting = setting
        self.kind = kind
        self.people = PeopleFound(work, givens)
        self.known = self._known()
        self.findings: Sequence[Finding] = [self._judge(given) for given in givens]

    def _known(self) -> dict[str, set[tuple[Any, ...]]]:
        """What was taken in before, by patient."""
        ids = sorted(self.people.index.patients.by_id)
        found: dict[str, set[tuple[Any, ...]]] = defaultdict(set)
        rows = self.work.execute(
            sa.select(
                ContactEntry.patient_id, ContactEntry.happened_at, ContactEntry.actor_name, ContactEntry.note
            ).where(ContactEntry.patient_id.in_(ids), ContactEntry.subject_type == self.kind)
        )
        for row in rows:
            found[row.patient_id].add((row.happened_at, row.actor_name, row.note))
        return found

    def _judge(self, given: Given) -> Finding:
        if given.values["happened_at"] > self.work.clock.now():
            return Finding(Verdict.WRONG, problems=(Problem("happened_at", "这个日期还没有到"),))
        if given.values["happened_at"].year < limits.CONTACT_IMPORTED_SINCE_YEAR:
            words = f"不能早于 {limits.CONTACT_IMPORTED_SINCE_YEAR} 年，请核对年份"
            return Finding(Verdict.WRONG, problems=(Problem("happened_at", words),))
        patient, refusal = self.people.find(given)
        if refusal is not None:
            return refusal
        if patient is None:
            problem = Problem(
                RECORD_NO.code, "档案中没有这个病案号，请核对（表格可能去掉了前面的 0）；确未建档的先建档"
            )
            return Finding(Verdict.AMBIGUOUS, problems=(problem,))
        note = _note(given)
        told = (given.values["happened_at"], given.text("author"), note or None)
        if told in self.known[patient["id"]]:
            return Finding(Verdict.SAME, patient["id"])
        change = Change("联系记录", "", _title(given, self.kind))
        return Finding(Verdict.NEW, patient["id"], (change,), marks=(note,))

    def write(self, at: int, writes: Writes) -> str | None:
        """One entry, and its line in the patient's story."""
        given, patient_id = self.givens[at], self.findings[at].patient_id
        entry_id = writes.insert(
            ContactEntry, patient_id=patient_id, encounter_id=None, happened_at=given.values["happened_at"],
            logged_at=self.work.clock.now(), channel=given.get("channel") or Channel.PHONE,
            is_outgoing=self.kind == PAST_FOLLOW_UP, result=given.get("result") or ContactResult.REACHED,
            note=_note(given) or None, subject_type=self.kind, subject_id=self.setting.run_id, actor_id=AUTHOR_ID,
            actor_name=given.text("author"),
        )  # fmt: skip
        writes.insert(
            TimelineEntry, patient_id=patient_id, happened_at=given.values["happened_at"],
            kind="complaint" if self.kind == PAST_COMPLAINT else "contact", title=_title(given, self.kind),
            subject_type="contact_entry", subject_id=entry_id, encounter_id=None,
        )  # fmt: skip
        return patient_id


def _title(given: Given, kind: str) -> str:
    if kind == PAST_COMPLAINT:
        return f"{HISTORICAL}：投诉，{given.text('title')}"
    result = given.get("result") or ContactResult.REACHED
    return f"{HISTORICAL}：{given.text('title') or '随访'}，{result.label}"


def _note(given: Given) -> str:
    """Everything that was said, question by question."""
    lines = [given.text("title"), given.text("content")]
    if given.get("outcome"):
        lines.append(f"处理结果：{given.text('outcome')}")
    lines += [f"{question}：{answer}" for question, answer in given.rest]
    return "\n".join(line for line in lines if line)


def _key(_given: Given) -> None:
    """One contact may fill several rows, a question each: only a row that says the same is said twice."""


def follow_up_importer() -> Importer:
    """Follow-ups of former times."""
    return Importer(
        kind="follow_ups", title="以往随访结果",
        about="按病案号和姓名记到患者的联系记录和时间线，保留原来的人、日期和问题，标“历史导入”；不产生指令、预警或消息。"
        "没有对应的列按“列名：内容”存为问题和回答。",
        columns=_FOLLOW_UP_COLUMNS, judge=partial(_PastBatch, kind=PAST_FOLLOW_UP), key=_key, takes_rest=True,
    )  # fmt: skip


def complaint_importer() -> Importer:
    """Complaints of former times."""
    return Importer(
        kind="complaints", title="以往投诉",
        about="按病案号和姓名记到患者的联系记录和时间线，保留原来的人、日期和内容，标“历史导入”；不计时限，不派给任何人，"
        "只有可查看投诉的角色能看到。",
        columns=_COMPLAINT_COLUMNS, judge=partial(_PastBatch, kind=PAST_COMPLAINT), key=_key, takes_rest=True,
    )  # fmt: skip
