"""Archives from a file: matched as messages are, by the record number, and only where the name agrees.

What another system has told is never overwritten; a file adds what is missing, and mends what people entered. It is
kept as entered by people (`BY_PEOPLE`), so that no message erases it.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.batch import Row, stamp
from hcrm.archive.events import PatientNullified, PatientsTouched
from hcrm.archive.imports.fields import FieldCells, field_columns
from hcrm.archive.imports.people import NAME, RECORD_NO, PeopleFound, number_options
from hcrm.archive.imports.told import Told, ToldPhone, read_told
from hcrm.archive.models import (
    Address,
    ContactPoint,
    DeceasedState,
    IdentifierKind,
    Patient,
    PatientHistory,
    PatientIdentifier,
    RelatedPerson,
    Sex,
)
from hcrm.archive.names.pinyin import name_pinyin
from hcrm.archive.names.tokens import keep_names
from hcrm.archive.terms import BY_PEOPLE
from hcrm.archive.test_patients.rules import published_test_rules
from hcrm.archive.test_patients.service import review_test_patients
from hcrm.core import limits
from hcrm.core.clock import local_date
from hcrm.core.db import table_of
from hcrm.core.importing import (
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
from hcrm.core.text import clean_id_number, mask_id_number, mask_phone
from hcrm.core.work import Work

RANK_OF_FILES = 50
"""Rows of a file are ranked from here, behind a message's own and before the business list."""
_SEXES = {
    "男": Sex.MALE, "女": Sex.FEMALE, "其他": Sex.OTHER, "未知": Sex.UNKNOWN, "男性": Sex.MALE, "女性": Sex.FEMALE,
    "1": Sex.MALE, "2": Sex.FEMALE, "9": Sex.OTHER, "0": Sex.UNKNOWN, "m": Sex.MALE, "f": Sex.FEMALE,
    "male": Sex.MALE, "female": Sex.FEMALE, "未说明": Sex.UNKNOWN,
}  # fmt: skip
_COLUMNS = (
    RECORD_NO,
    NAME,
    Column("sex", "性别", "男、女、其他、未知，或 1、2、9、0", kind=CellKind.WORD, words=_SEXES),
    Column(
        "birth_date", "出生日期", "2026-11-22、2026/11/22、20261122、2026年11月22日都可以", ("生日", "出生年月日"),
        kind=CellKind.DAY,
    ),
    Column(
        "id_number", "身份证号", "18 位；请设为文本格式",
        ("证件号", "证件号码", "身份证", "身份证号码", "公民身份号码"), most=32,
    ),
    Column(
        "phone", "本人电话", "手机或带区号的座机；请设为文本格式",
        ("电话", "手机", "手机号", "手机号码", "联系电话", "电话号码"), most=40,
    ),
    Column("phone2", "其他电话", "第二个号码", ("家庭电话", "备用电话", "座机", "固定电话"), most=40),
    Column("address", "住址", "现住址", ("地址", "家庭住址", "现住址", "联系地址", "家庭地址"), most=200),
    Column("related_name", "联系人姓名", "家属或其他联系人", ("联系人", "家属姓名"), most=100),
    Column("related_relation", "联系人关系", "例如 配偶、儿子", ("与患者关系", "关系", "与本人关系"), most=40),
    Column("related_phone", "联系人电话", "家属的号码", ("家属电话", "联系人手机", "联系人电话号码"), most=40),
)  # fmt: skip
_LABELS = {column.code: column.title for column in _COLUMNS}


class _PatientBatch:
    """Rows of a file of archives."""

    def __init__(self, work: Work, givens: Sequence[Given], setting: Setting) -> None:
        self.work = work
        self.givens = givens
        self.as_of: datetime = setting.file_as_of
        self.authority, _, self.kind = setting.options.get("number_kind", "|MR").partition("|")
        today = local_date(work.clock.now())
        self.told = [read_told(given, work.keys, today) for given in givens]
        self.people = PeopleFound(work, givens, self.authority, self.kind)
        ids = set(self.people.index.patients.by_id)
        self.lists = {model: self._load(model, ids) for model in (ContactPoint, Address, RelatedPerson)}
        self.citizens = self._citizens()
        self.test_rules = published_test_rules(work)
        self.fields = FieldCells(work, givens, ids, self.as_of)
        self.wanted: list[dict[str, Any]] = []
        self.findings: Sequence[Finding] = [self._judge(*row) for row in zip(givens, self.told, strict=True)]

    def _load(self, model: type[Any], ids: set[str]) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = defaultdict(list)
        if ids:
            table = table_of(model)
            where = (self.work.among(table.c.patient_id, ids), table.c.ended_at.is_(None))
            for row in self.work.execute(sa.select(table).where(*where)).mappings():
                found[row["patient_id"]].append(dict(row))
        return found

    def _citizens(self) -> dict[str, set[str]]:
        """Who bears the ID numbers of the batch, by their fingerprint."""
        indexes = {told.citizen_index for told in self.told if told.citizen_index}
        found: dict[str, set[str]] = defaultdict(set)
        if indexes:
            rows = self.work.execute(
                sa.select(PatientIdentifier.value_index, PatientIdentifier.patient_id).where(
                    self.work.among(PatientIdentifier.value_index, indexes),
                    PatientIdentifier.ended_at.is_(None),
                )
            )
            for row in rows:
                found[row.value_index].add(row.patient_id)
        return found

    # ── judging ──

    def _judge(self, given: Given, told: Told) -> Finding:
        wanted: dict[str, Any] = {}
        self.wanted.append(wanted)
        if told.problems:
            return Finding(Verdict.WRONG, problems=told.problems)
        patient, refusal = self.people.find(given)
        if refusal is not None:
            return refusal
        changes: list[Change] = []
        problems = self._scalars(given, told, patient, wanted, changes)
        problems += self._citizen(told, patient, wanted, changes)
        if any(problem.column == "id_number" and "另一份" in problem.sentence for problem in problems):
            return Finding(Verdict.AMBIGUOUS, problems=tuple(problems))
        self._phones(told, patient, wanted, changes, problems)
        self._address(given, patient, wanted, changes)
        self._related(given, told, patient, wanted, changes)
        wanted["fields"], more, wrong = self.fields.judge(given, patient["id"] if patient else None)
        changes += more
        problems += wrong
        if problems:
            return Finding(Verdict.WRONG, patient["id"] if patient else None, problems=tuple(problems))
        if patient is None:
            verdict = Verdict.NEW
        else:
            verdict = Verdict.CHANGED if changes else Verdict.SAME
        phone = told.phones.get("phone")
        marks = (given.text("address"), told.citizen, phone.value if phone else "")
        return Finding(verdict, patient["id"] if patient else None, tuple(changes), marks=marks)

    def _scalars(
        self, given: Given, row: Told, patient: Row | None, wanted: dict[str, Any], changes: list[Change]
    ) -> list[Problem]:
        problems: list[Problem] = []
        told = {"name": row.name, "sex": given.get("sex"), "birth_date": given.get("birth_date")}
        if patient is None:
            wanted["patient"] = {key: value for key, value in told.items() if value is not None}
            for code, value in told.items():
                if value is not None:
                    changes.append(Change(_LABELS[code], "", _shown(value)))
            return problems
        for code, value in told.items():
            now = patient[code]
            if value is None or value == now or (code == "sex" and value is Sex.UNKNOWN):
                continue
            if (
                now not in (None, "", Sex.UNKNOWN)
                and patient["provenance"].get(code, [0, ""])[1] != BY_PEOPLE
            ):
                problems.append(Problem(code, "与医院系统传来的不同；医院系统的内容不能用文件改"))
                continue
            wanted.setdefault("patient", {})[code] = value
            changes.append(Change(_LABELS[code], _shown(now), _shown(value)))
        return problems

    def _citizen(
        self, told: Told, patient: Row | None, wanted: dict[str, Any], changes: list[Change]
    ) -> list[Problem]:
        number, index = told.citizen, told.citizen_index
        if index is None:
            return []
        others = self.citizens.get(index, set()) - ({patient["id"]} if patient else set())
        if others:
            return [Problem("id_number", "另一份档案中已有这个身份证号，可能是同一个人，请先核对")]
        known = [
            row
            for row in (self.people.index.identifiers.by_owner[patient["id"]] if patient else ())
            if row["kind"] == IdentifierKind.CITIZEN and row["ended_at"] is None
        ]
        if any(row["value_index"] == index for row in known):
            return []
        if known:
            return [Problem("id_number", "与档案中的身份证号不同，请核对是不是同一个人")]
        wanted["citizen"] = told
        changes.append(Change(_LABELS["id_number"], "", mask_id_number(number)))
        return []

    def _phones(
        self, told: Told, patient: Row | None, wanted: dict[str, Any], changes: list[Change],
        problems: list[Problem],
    ) -> None:  # fmt: skip
        standing = self.lists[ContactPoint][patient["id"]] if patient else []
        known = {row["value_index"] for row in standing}
        new: list[tuple[ToldPhone, str]] = []
        for code, use in (("phone", "mobile"), ("phone2", "home")):
            phone = told.phones.get(code)
            if phone is None or phone.index in known:
                continue
            known.add(phone.index)
            new.append((phone, use))
            changes.append(Change(_LABELS[code], "", mask_phone(phone.value)))
        if new and len(standing) + len(new) > limits.MAX_CONTACT_POINTS:
            problems.append(Problem("phone", f"档案中最多保留 {limits.MAX_CONTACT_POINTS} 个号码"))
        wanted["phones"] = new

    def _address(
        self, given: Given, patient: Row | None, wanted: dict[str, Any], changes: list[Change]
    ) -> None:
        text = given.text("address")
        standing = self.lists[Address][patient["id"]] if patient else []
        if text and all(self.work.keys.open_text(row["text_sealed"]) != text for row in standing):
            wanted["address"] = text
            changes.append(Change(_LABELS["address"], "", "（新地址）"))

    def _related(
        self, given: Given, told: Told, patient: Row | None, wanted: dict[str, Any], changes: list[Change]
    ) -> None:
        name, phone = given.text("related_name"), told.phones.get("related_phone")
        if not name and phone is None:
            return
        index = phone.index if phone else None
        relation = given.text("related_relation")
        standing = self.lists[RelatedPerson][patient["id"]] if patient else []
        if any((row["name"], row["phone_index"]) == (name, index) for row in standing):
            return
        wanted["related"] = (name, relation, phone)
        words = (name, relation, mask_phone(phone.value) if phone else "")
        changes.append(Change("联系人", "", "、".join(filter(None, words))))

    # ── writing ──

    def write(self, at: int, writes: Writes) -> str | None:
        """Make or change one archive."""
        given, finding, wanted = self.givens[at], self.findings[at], self.wanted[at]
        if finding.patient_id is None:
            patient_id = self._create(given, wanted["patient"], writes)
        else:
            patient_id = finding.patient_id
            self._change(self.people.index.patients.by_id[patient_id], wanted.get("patient", {}), writes)
        common = {
            "patient_id": patient_id,
            "source": BY_PEOPLE,
            "as_of": self.as_of,
            "seq": 0,
            "ended_at": None,
        }
        self._write_lists(wanted, common, writes)
        self.fields.write(patient_id, wanted["fields"], writes)
        return patient_id

    def _create(self, given: Given, told: dict[str, Any], writes: Writes) -> str:
        now = self.work.clock.now()
        full, initials = name_pinyin(told["name"])
        number = given.text(RECORD_NO.code)
        test_reason = self.test_rules.reason(told["name"], [number]) if self.test_rules else None
        fields = [*told, *(["is_test"] if test_reason is not None else [])]
        patient_id = writes.insert(
            Patient, name=told["name"], name_pinyin=full, name_initials=initials, sex=told.get("sex") or Sex.UNKNOWN,
            birth_date=told.get("birth_date"), deceased=DeceasedState.ALIVE, deceased_at=None, marital_status=None,
            merged_into_id=None, is_stub=False, is_nullified=False, is_vip=False,
            is_test=test_reason is not None, test_mark=None, test_reason=test_reason,
            provenance={field: stamp(self.as_of, BY_PEOPLE, 0) for field in fields},
            created_at=now, updated_at=now, version=1,
        )  # fmt: skip
        writes.insert(
            PatientIdentifier, patient_id=patient_id, kind=IdentifierKind.RECORD, authority=self.authority,
            type=self.kind, value=number, value_sealed=None, value_index=None, last4_index=None,
            source=BY_PEOPLE, as_of=self.as_of, seq=0, retired_at=None, replaced_at=None, ended_at=None,
        )  # fmt: skip
        return patient_id

    def _change(self, patient: Row, told: dict[str, Any], writes: Writes) -> None:
        values: dict[str, Any] = dict(told)
        provenance = dict(patient["provenance"])
        for field in told:
            standing = provenance.get(field)
            if standing is not None and patient[field] is not None:
                writes.insert(
                    PatientHistory, patient_id=patient["id"], field=field, value=str(patient[field]),
                    as_of=datetime.fromisoformat(standing[0]), source=standing[1], seq=standing[2],
                    replaced_at=self.work.clock.now(),
                )  # fmt: skip
            provenance[field] = stamp(self.as_of, BY_PEOPLE, 0)
        if "name" in told:
            values["name_pinyin"], values["name_initials"] = name_pinyin(told["name"])
        if told:
            values["provenance"] = provenance
        writes.change(Patient, patient, updated_at=self.work.clock.now(), **values)

    def _write_lists(self, wanted: dict[str, Any], common: dict[str, Any], writes: Writes) -> None:
        keys = self.work.keys
        if told := wanted.get("citizen"):
            writes.insert(
                PatientIdentifier, kind=IdentifierKind.CITIZEN, authority="", type="", value=None,
                value_sealed=keys.seal_text(told.citizen), value_index=told.citizen_index,
                last4_index=keys.blind("id4", told.citizen[-4:]), retired_at=None, replaced_at=None, **common,
            )  # fmt: skip
        for rank, (phone, use) in enumerate(wanted.get("phones", ()), start=RANK_OF_FILES):
            writes.insert(
                ContactPoint, system="phone", use=use, rank=rank, value_sealed=keys.seal_text(phone.value),
                value_index=phone.index, last4_index=keys.blind("phone4", phone.value[-4:]),
                is_verified=False, **common,
            )  # fmt: skip
        if text := wanted.get("address"):
            writes.insert(
                Address,
                use="home",
                rank=RANK_OF_FILES,
                region_code=None,
                text_sealed=keys.seal_text(text),
                **common,
            )
        if related := wanted.get("related"):
            name, relation, phone = related
            writes.insert(
                RelatedPerson, rank=RANK_OF_FILES, name=name, relation=relation,
                phone_sealed=keys.seal_text(phone.value) if phone else None,
                phone_index=phone.index if phone else None,
                phone_last4_index=keys.blind("phone4", phone.value[-4:]) if phone else None, **common,
            )  # fmt: skip


def _shown(value: Any) -> str:
    if isinstance(value, Sex):
        return value.label
    return "" if value is None else str(value)


def _follow_patients(work: Work, patient_ids: Sequence[str], _since: datetime) -> None:
    """What names are found by, who is a test patient by name or number, and the flat rows of segments."""
    rows = work.execute(sa.select(Patient.id, Patient.name).where(Patient.id.in_(sorted(set(patient_ids)))))
    names = {row.id: row.name for row in rows}
    keep_names(work, names, known=names)
    if names:
        review_test_patients(work, names)
        work.emit(PatientsTouched(patient_ids=sorted(names)))


def _end_patients(work: Work, patient_ids: Sequence[str]) -> None:
    """Archives a file made and others have written on since: closed as if their sender had deleted them."""
    now = work.clock.now()
    for patient in work.scalars(
        sa.select(Patient).where(Patient.id.in_(sorted(patient_ids))).with_for_update()
    ):
        if not patient.is_nullified:
            patient.is_nullified = True
            patient.provenance = {**patient.provenance, "is_nullified": stamp(now, BY_PEOPLE, 0)}
            patient.updated_at = now
            work.emit(PatientNullified(patient_id=patient.id))
    work.session.flush()


def _key(given: Given) -> str:
    return given.text(RECORD_NO.code)


def _citizen(given: Given) -> str | None:
    return clean_id_number(given.text("id_number")) or None


def patient_importer() -> Importer:
    """Archives: numbers, phones, address, a relative."""
    return Importer(
        kind="patients", title="患者档案",
        about="新建档案，或给已有档案补充电话、住址、证件号和档案字段。病案号和姓名都一致才算同一个人；医院系统传来的内容不会被改动。",
        columns=_COLUMNS, more=field_columns, judge=_PatientBatch, key=_key, own=("id_number", _citizen),
        options=number_options,
        follow=_follow_patients, end=_end_patients,
    )  # fmt: skip
