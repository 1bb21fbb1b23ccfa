"""Two archives side by side: what is known of each, what agrees, what would move if they became one.

Nothing here asks who may see the two: the view came through `archive.identity.queries`, which applies the row scope and
notes the read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive import queries as archive
from hcrm.archive.identity.matching_rule import EvidenceLine, MatchField, Outcome
from hcrm.archive.identity.queries import PairAsShown
from hcrm.archive.links import mothers_of
from hcrm.archive.merge.service import patient_columns
from hcrm.archive.models import Address, ContactPoint, IdentifierKind, Patient, PatientIdentifier
from hcrm.archive.visit_models import Encounter, EncounterStatus
from hcrm.centre.models import IS_OPEN, Instruction
from hcrm.contact_log.models import ContactEntry
from hcrm.core.text import mask_phone
from hcrm.core.work import Work
from hcrm.desk.masked import MARITAL_WORDS, live_rows
from hcrm.directory.queries import region_names

MARKS = {
    "same": ("相同", "done"), "similar": ("相近", "near"), "different": ("不同", "late"), "left": ("仅左", "info"),
    "right": ("仅右", "info"), "none": ("都没有", "off"), "own": ("各有", "info"),
}  # fmt: skip
"""What comparing two values came to: the word and its tone."""

MOVING = {
    "encounter": "就诊", "instruction": "随访指令", "response": "随访记录", "contact_entry": "联系记录",
    "alert": "预警", "contact_point": "联系方式", "address": "地址", "related_person": "联系人", "allergy": "过敏",
    "patient_identifier": "标识号码", "condition": "诊断", "diagnostic_report": "检验检查报告",
    "medication_request": "用药", "document_reference": "文书", "appointment": "预约", "timeline_entry": "时间线条目",
}  # fmt: skip
"""Tables whose rows move, as people call them; the others are counted together."""


@dataclass(frozen=True, slots=True)
class Side:
    """What is known of one archive, and how much hangs on it."""

    patient: Patient
    values: Mapping[str, Sequence[str]]  # by the label of the line
    visits: int
    last_visit: datetime | None
    contacts: int
    open_instructions: int
    has_his_number: bool


@dataclass(frozen=True, slots=True)
class ComparedLine:
    """One line of the comparison; `evidence` where the rule counts it."""

    label: str
    left: Sequence[str]
    right: Sequence[str]
    mark: str
    evidence: EvidenceLine | None


_LINES: tuple[tuple[str, MatchField | None], ...] = (
    ("姓名", MatchField.NAME), ("性别", MatchField.SEX), ("出生日期", MatchField.BIRTH_DATE),
    ("证件号", MatchField.ID_NUMBER), ("病案号", None), ("电话", MatchField.PHONE),
    ("地址区域", MatchField.ADDRESS_REGION), ("母亲", MatchField.MOTHER), ("婚姻", None), ("在世情况", None),
)  # fmt: skip

_EACH_ITS_OWN = ("病案号",)
"""Lines where two archives of one person differ always: nothing speaks against it."""


def load_sides(work: Work, shown: PairAsShown) -> tuple[Side, Side]:
    """Both archives."""
    return _side(work, shown.low), _side(work, shown.high)


def compare_lines(left: Side, right: Side, evidence: Sequence[EvidenceLine]) -> list[ComparedLine]:
    """What is known of both, line by line, with the evidence where it counts; then what has no line of its own."""
    by_field = {line.field: line for line in evidence}
    lines = []
    for label, name in _LINES:
        one, other = left.values[label], right.values[label]
        known = by_field.get(name) if name else None
        mark = _mark(one, other, known, "own" if label in _EACH_ITS_OWN else "different")
        lines.append(ComparedLine(label, one, other, mark, known))
    for name in (MatchField.PINYIN, MatchField.TOLD):
        known = by_field.get(name)
        if known is not None and known.points:
            lines.append(ComparedLine(name.label, (), (), known.outcome.value, known))
    return lines


def usual_survivor(left: Side, right: Side) -> tuple[str, str]:
    """Whom to keep unless a person says otherwise, and why."""
    if left.has_his_number is not right.has_his_number:
        return (left if left.has_his_number else right).patient.id, "HIS 建立的一份，消息按它的病案号发来"
    if left.visits != right.visits:
        return (left if left.visits > right.visits else right).patient.id, "就诊较多的一份"
    return min((left.patient, right.patient), key=lambda row: (row.created_at, row.id)).id, "较早建立的一份"


def count_moving(work: Work, patient_id: str) -> list[tuple[str, int]]:
    """What hangs on an archive and would move with it: word and number, the rest summed up at the end."""
    counts: dict[str, int] = {}
    for column in patient_columns():
        number = int(
            work.scalar(sa.select(sa.func.count()).select_from(column.table).where(column == patient_id))
        )
        word = MOVING.get(column.table.name, "其他记录")
        counts[word] = counts.get(word, 0) + number
    order = [*MOVING.values(), "其他记录"]
    return [(word, counts[word]) for word in order if counts.get(word)]


def _side(work: Work, patient: Patient) -> Side:
    identifiers = live_rows(work, PatientIdentifier, patient.id, PatientIdentifier.id)
    phones = [
        row for row in live_rows(work, ContactPoint, patient.id, ContactPoint.rank) if row.system == "phone"
    ]
    regions = [
        row.region_code for row in live_rows(work, Address, patient.id, Address.rank) if row.region_code
    ]
    names = region_names(work, set(regions))
    visits: Any = work.execute(
        sa.select(
            sa.func.count(), sa.func.max(sa.func.coalesce(Encounter.admitted_at, Encounter.created_at))
        ).where(Encounter.patient_id == patient.id, Encounter.status != EncounterStatus.CANCELLED)
    ).one()
    numbers = [row for row in identifiers if row.kind is IdentifierKind.RECORD and row.value]
    return Side(
        patient=patient,
        values={
            "姓名": _told(patient.name),
            "性别": _told(patient.sex.label if patient.sex != "unknown" else ""),
            "出生日期": _told(patient.birth_date.isoformat() if patient.birth_date else ""),
            "证件号": [
                archive.masked_identifier(work, row) for row in identifiers if row.kind is not IdentifierKind.RECORD
            ],
            "病案号": [row.value or "" for row in numbers],
            "电话": list(dict.fromkeys(mask_phone(work.keys.open_text(row.value_sealed)) for row in phones)),
            "地址区域": list(dict.fromkeys(names.get(code, code) for code in regions)),
            "母亲": list(mothers_of(work, patient.id).values()),
            "婚姻": _told(MARITAL_WORDS.get(patient.marital_status or "", patient.marital_status or "")),
            "在世情况": _told(patient.deceased.label),
        },
        visits=visits[0],
        last_visit=visits[1],
        contacts=_count(work, ContactEntry.patient_id == patient.id),
        open_instructions=_count(work, Instruction.patient_id == patient.id, IS_OPEN),
        has_his_number=any(row.authority != archive.OWN_AUTHORITY for row in numbers),
    )  # fmt: skip


def _told(value: str) -> Sequence[str]:
    return (value,) if value else ()


def _count(work: Work, *where: Any) -> int:
    return int(work.scalar(sa.select(sa.func.count()).where(*where)))


def _mark(left: Sequence[str], right: Sequence[str], known: EvidenceLine | None, other: str) -> str:
    if not left or not right:
        return "left" if left else "right" if right else "none"
    if known is not None and known.outcome is not Outcome.UNKNOWN:
        return known.outcome.value
    return "same" if set(left) & set(right) else other
