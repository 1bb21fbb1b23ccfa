"""Marks on patients from a file: members of a group, and people or numbers nobody may call."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from hcrm.archive.batch import Row, Rows, values_in
from hcrm.archive.events import ContactRestored, ContactStopped
from hcrm.archive.fields.models import PatientTag
from hcrm.archive.imports.people import NAME, RECORD_NO, PeopleFound, ambiguous
from hcrm.archive.models import ContactPoint, Patient, RelatedPerson, TimelineEntry
from hcrm.archive.reach.barred_numbers import barred_among, release_gone
from hcrm.archive.reach_models import BarredNumber, ContactStop
from hcrm.archive.terms import StopKind
from hcrm.core import limits
from hcrm.core.importing import (
    HISTORICAL,
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
from hcrm.core.text import clean_phone, mask_phone, relation_word
from hcrm.core.work import Work

BY_FILE = "import"
_SHORTEST_PHONE = 5
_GROUP = Column(
    "group", "单位或团体", "作为标签记在患者上", ("单位", "工作单位", "团体", "团体名称", "单位名称", "公司"),
    required=True, most=limits.TAG_LENGTH,
)  # fmt: skip
_PHONE = Column(
    "phone",
    "电话",
    "请勿拨打的号码；没有病案号时，记在号码上：现在和以后用这个号码的每个人都登记",
    ("电话号码", "手机", "手机号", "号码", "联系电话"),
    most=40,
)
_STOP_NO = replace(RECORD_NO, required=False, hint="填了病案号和姓名，就只登记这一个人")
_STOP_NAME = replace(NAME, required=False)
_REASON = Column("reason", "原因", "为什么不再联系", ("备注", "说明", "退订原因"), required=True, most=150)


class _GroupBatch:
    """Members of a company or society, as a tag."""

    def __init__(self, work: Work, givens: Sequence[Given], setting: Setting) -> None:
        self.work, self.givens = work, givens
        self.people = PeopleFound(work, givens)
        ids = sorted(self.people.index.patients.by_id)
        rows = work.execute(
            sa.select(PatientTag.patient_id, PatientTag.tag).where(
                PatientTag.patient_id.in_(ids), PatientTag.ended_at.is_(None)
            )
        )
        self.tags: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            self.tags[row.patient_id].add(row.tag)
        self.findings: Sequence[Finding] = [self._judge(given) for given in givens]

    def _judge(self, given: Given) -> Finding:
        patient, refusal = self.people.find(given)
        if refusal is not None:
            return refusal
        if patient is None:
            return ambiguous(
                RECORD_NO.code, "档案中没有这个病案号，请核对（表格可能去掉了前面的 0）；确未建档的先建档"
            )
        tag = " ".join(given.text("group").split())
        standing = self.tags[patient["id"]]
        if tag in standing:
            return Finding(Verdict.SAME, patient["id"])
        if len(standing) >= limits.PATIENT_TAGS:
            problem = Problem("group", f"这位患者已有 {limits.PATIENT_TAGS} 个标签，不能再加")
            return Finding(Verdict.WRONG, patient["id"], problems=(problem,))
        return Finding(Verdict.NEW, patient["id"], (Change("标签", "", tag),))

    def write(self, at: int, writes: Writes) -> str | None:
        """One tag."""
        finding = self.findings[at]
        writes.insert(
            PatientTag, patient_id=finding.patient_id, tag=finding.changes[0].after, actor_id=self.work.actor.id,
            actor_name=f"{self.work.actor.name}（{HISTORICAL}）", created_at=self.work.clock.now(), ended_at=None,
            ended_by_name=None,
        )  # fmt: skip
        return finding.patient_id


def group_importer() -> Importer:
    """Members of a group."""
    return Importer(
        kind="groups", title="团体成员", about="按病案号和姓名，把单位或团体的名称作为标签记在患者上。",
        columns=(RECORD_NO, NAME, _GROUP), judge=_GroupBatch,
        key=lambda given: f"{given.text(RECORD_NO.code)}\n{given.text('group')}",
    )  # fmt: skip


class _StopBatch:
    """People, or numbers, that must not be called: contact ends with them, or with everybody who has the number."""

    def __init__(self, work: Work, givens: Sequence[Given], setting: Setting) -> None:
        self.work, self.givens = work, givens
        self.indexes = [self._index(given) for given in givens]
        self.owners = self._owners()
        self.relatives = self._relatives()
        self.barred = barred_among(work, self.indexes)
        self.people = PeopleFound(work, [given for given in givens if given.text(RECORD_NO.code)])
        ids = sorted(
            {row["id"] for rows in self.owners.values() for row in rows}
            | set(self.people.index.patients.by_id)
        )
        stops = sa.select(ContactStop.patient_id).where(
            ContactStop.patient_id.in_(ids),
            ContactStop.kind == StopKind.DO_NOT_CONTACT,
            ContactStop.ended_at.is_(None),
        )
        self.stopped = set(work.scalars(stops))
        self.findings: Sequence[Finding] = [
            self._judge(given, index) for given, index in zip(givens, self.indexes, strict=True)
        ]

    def _index(self, given: Given) -> str:
        """The number's blind index; empty where the row names a person, who alone is meant."""
        if given.text(RECORD_NO.code) or not given.text("phone"):
            return ""
        return self.work.keys.blind("phone", clean_phone(given.text("phone")))

    def _owners(self) -> dict[str, list[Row]]:
        """Everybody who has one of the numbers, locked; who is merged before we hold them is read as who they are."""
        held: set[str] = set()
        while True:
            found = self._read_owners()
            met = {row["id"] for rows in found.values() for row in rows} - held
            if not met:
                return found
            held |= met
            Rows(self.work, Patient, "id").load(values_in(Patient.id, met), lock=True)

    def _read_owners(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = defaultdict(list)
        rows = self.work.execute(
            sa.select(ContactPoint.value_index, Patient.id, Patient.name)
            .join(Patient, Patient.id == ContactPoint.patient_id)
            .where(
                values_in(ContactPoint.value_index, filter(None, self.indexes)),
                ContactPoint.system == "phone", ContactPoint.ended_at.is_(None),
                Patient.merged_into_id.is_(None), ~Patient.is_nullified,
            )
            .order_by(Patient.id)
        ).mappings()  # fmt: skip
        for row in rows:
            if all(one["id"] != row["id"] for one in found[row["value_index"]]):
                found[row["value_index"]].append(dict(row))
        return found

    def _relatives(self) -> dict[str, list[str]]:
        """Whose relatives have one of the numbers: their names as the report tells them."""
        rows = self.work.execute(
            sa.select(RelatedPerson.phone_index, RelatedPerson.relation, RelatedPerson.name, Patient.name.label("of"))
            .join(Patient, Patient.id == RelatedPerson.patient_id)
            .where(
                values_in(RelatedPerson.phone_index, filter(None, self.indexes)), RelatedPerson.ended_at.is_(None),
                Patient.merged_into_id.is_(None), ~Patient.is_nullified,
            )
            .order_by(RelatedPerson.patient_id, RelatedPerson.rank, RelatedPerson.id)
        )  # fmt: skip
        found: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            relative = f"{relation_word(row.relation) or '联系人'} {row.name}".strip()
            found[row.phone_index].append(f"{row.of or '姓名未填'}的{relative}")
        return found

    def _judge(self, given: Given, index: str) -> Finding:
        number, phone = given.text(RECORD_NO.code), given.text("phone")
        if not (number or phone):
            return Finding(Verdict.WRONG, problems=(Problem("", "请填写病案号和姓名，或者电话"),))
        if phone and len(clean_phone(phone)) < _SHORTEST_PHONE:
            return Finding(Verdict.WRONG, problems=(Problem("phone", "电话号码不对"),))
        if not number:
            return self._bar(given, index)
        if not given.text(NAME.code):
            return Finding(Verdict.WRONG, problems=(Problem(NAME.code, "填了病案号，就必须填姓名"),))
        patient, refusal = self.people.find(given)
        if refusal is not None:
            return refusal
        if patient is None:
            return ambiguous(RECORD_NO.code, "档案中没有这个病案号")
        if patient["id"] in self.stopped:
            return Finding(Verdict.SAME, patient["id"])
        change = Change(StopKind.DO_NOT_CONTACT.label, "", patient["name"] or "姓名未填")
        return Finding(Verdict.NEW, patient["id"], (change,), marks=(patient["id"],))

    def _bar(self, given: Given, index: str) -> Finding:
        """What a number does: it is kept, contact ends with whoever has it today, relatives who have it are named."""
        owners, relatives = self.owners.get(index, []), self.relatives.get(index, [])
        new = [row for row in owners if row["id"] not in self.stopped]
        first = owners[0]["id"] if owners else None
        if not new and index in self.barred:
            return Finding(Verdict.SAME, first)
        whom = f"{len(new)} 人：{'、'.join(row['name'] or '姓名未填' for row in new)}" if new else "登记号码"
        words = [f"{mask_phone(clean_phone(given.text('phone')))}，{whom}"]
        if relatives:
            words.append(f"另是{'、'.join(relatives)}的号码，不再拨打，患者本人不受影响")
        if not owners and not relatives:
            words.append("档案中现在没有人用这个号码，以后用它的患者建档时即登记")
        change = Change(StopKind.DO_NOT_CONTACT.label, "", "；".join(words))
        return Finding(
            Verdict.NEW, new[0]["id"] if new else first, (change,), marks=tuple(row["id"] for row in new)
        )

    def write(self, at: int, writes: Writes) -> str | None:
        """Keep the number, and end contact with each who is not stopped by an earlier row of the same file."""
        given, finding, index = self.givens[at], self.findings[at], self.indexes[at]
        now, actor = self.work.clock.now(), self.work.actor
        common = {
            "reason": given.text("reason"), "source": BY_FILE, "created_at": now, "actor_id": actor.id,
            "actor_name": actor.name, "ended_at": None, "ended_reason": None, "ended_by": None,
        }  # fmt: skip
        barred = self.barred.get(index)
        number_id = barred.id if barred is not None else None
        if index and number_id is None:
            number_id = writes.insert(
                BarredNumber, value_index=index,
                value_sealed=self.work.keys.seal_text(clean_phone(given.text("phone"))), **common,
            )  # fmt: skip
        for patient_id in finding.marks:
            if patient_id in self.stopped:
                continue
            self.stopped.add(patient_id)
            stop_id = writes.insert(
                ContactStop,
                patient_id=patient_id,
                kind=StopKind.DO_NOT_CONTACT,
                number_id=number_id,
                **common,
            )
            writes.insert(
                TimelineEntry, patient_id=patient_id, happened_at=now, kind="reach",
                title=f"{HISTORICAL}：{StopKind.DO_NOT_CONTACT.label}，{given.text('reason')}",
                subject_type="contact_stop", subject_id=stop_id, encounter_id=None,
            )  # fmt: skip
        return finding.patient_id


def _follow_stops(work: Work, patient_ids: Sequence[str], since: datetime) -> None:
    """What waits for them is withdrawn; after a revert, restored from the moment the run began.

    Those whom a number stopped that went with its import are let go too: they came after it.
    """
    release_gone(work)
    ids = sorted(set(patient_ids))
    stopped = set(
        work.scalars(
            sa.select(ContactStop.patient_id).where(
                ContactStop.patient_id.in_(ids), ContactStop.ended_at.is_(None)
            )
        )
    )
    for patient_id in ids:
        if patient_id in stopped:
            work.emit(ContactStopped(patient_id=patient_id))
        else:
            work.emit(ContactRestored(patient_id=patient_id, noted_at=since.isoformat()))


def _stop_key(given: Given) -> str | None:
    """One person, or one number."""
    number = given.text(RECORD_NO.code)
    return f"{RECORD_NO.code}\n{number}" if number else clean_phone(given.text("phone")) or None


def stop_importer() -> Importer:
    """A do-not-call list."""
    return Importer(
        kind="do_not_call", title="请勿联系名单",
        about="记为“请勿联系”，未完成的随访指令随之撤回。有病案号和姓名的只记这一个人；只有号码的，号码留在名单上，记现在和以后用它的每位患者，家属用它的不再拨打，试运行时列出。",
        columns=(_STOP_NO, _STOP_NAME, _PHONE, _REASON), judge=_StopBatch, key=_stop_key,
        follow=_follow_stops,
    )  # fmt: skip
