"""A new archive by hand (新建档案): checked, compared with what is known already, with a record number of our own.

What people enter has the source `console`: a later message of the HIS about the same person makes an archive of its
own, and the two come up as a pair. Nothing entered here is taken for what a message said.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from hcrm.archive.absorb.patient import PatientSide
from hcrm.archive.events import PatientsTouched
from hcrm.archive.fields.service import set_field
from hcrm.archive.identity.matching_rule import Evidence, Profile, published_rule, weigh
from hcrm.archive.identity.models import OwnNumber
from hcrm.archive.identity.profiles import find_like, load_profiles
from hcrm.archive.models import IdentifierKind, Patient, PatientIdentifier, Sex
from hcrm.archive.names.pinyin import name_pinyin
from hcrm.archive.queries import OWN_AUTHORITY, masked_phones, record_list_read
from hcrm.archive.records import AddressRecord, Change, ContactRecord, IdentifierRecord, PatientRecord
from hcrm.archive.scope import patient_condition
from hcrm.archive.terms import BY_PEOPLE, NO_BIRTH_DATE, is_birth_date
from hcrm.archive.timeline import add_entry
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.clock import local_date
from hcrm.core.errors import HcrmError, InvalidInput
from hcrm.core.text import clean_id_number, clean_name, clean_phone, is_id_number
from hcrm.core.work import Work

_OTHER_NUMBER = re.compile(r"[A-Z0-9]{5,32}")
_E164 = re.compile(r"\+\d{8,15}")


@dataclass(frozen=True, slots=True)
class Entry:
    """What was typed of a new patient; the ID number is a citizen's unless `is_other_id`."""

    name: str = ""
    sex: Sex | None = None
    birth_date: date | None = None
    id_number: str = ""
    is_other_id: bool = False
    phone: str = ""
    region_code: str | None = None
    address: str = ""
    visit_source: str | None = None


@dataclass(frozen=True, slots=True)
class SimilarLine:
    """An archive that may be the same person's, in the scope of who asks."""

    patient: Patient
    evidence: Evidence | None  # None of a namesake
    record_no: str | None
    phone: str | None  # masked


@dataclass(frozen=True, slots=True)
class Similar:
    """Who is known already: those in the scope, and how many are outside it, of whom nothing is told."""

    lines: tuple[SimilarLine, ...] = ()
    hidden: int = 0
    namesakes: tuple[SimilarLine, ...] = ()  # no more than the name is the same: worth a look, no obstacle

    def __bool__(self) -> bool:
        """Whether anybody is, by more than the name."""
        return bool(self.lines or self.hidden)


def find_similar(work: Work, entry: Entry) -> Similar:
    """The archives that the weighted rule holds for possible by what is typed so far, the surest first."""
    rule, typed = published_rule(work), _profile(work, entry)
    known = find_like(work, typed)
    weighed = [
        (weigh(rule, typed, other, shared=known.shared_phones), key)
        for key, other in load_profiles(work, {key for pair in known.pairs for key in pair if key}).items()
    ]
    found = sorted(
        ((evidence, key) for evidence, key in weighed if evidence.score >= rule.possible),
        key=lambda each: (-each[0].score, each[1]),
    )[: limits.SIMILAR_SHOWN]
    ids = [key for _, key in found]
    people = _in_scope(work, Patient.id.in_(ids))
    named = _in_scope(work, *_named(typed.name, ids)) if typed.name else {}
    everybody = people | named
    numbers, phones = _record_numbers(work, list(everybody)), masked_phones(work, list(everybody))
    record_list_read(work, "patient.similar", everybody)

    def line(key: str, evidence: Evidence | None) -> SimilarLine:
        return SimilarLine(everybody[key], evidence, numbers.get(key), phones.get(key))

    return Similar(
        tuple(line(key, evidence) for evidence, key in found if key in people),
        len(found) - len(people),
        tuple(line(key, None) for key in named),
    )


def _in_scope(work: Work, *conditions: sa.ColumnElement[bool]) -> dict[str, Patient]:
    scope = patient_condition(work.actor, Patient.id)
    statement = sa.select(Patient).where(*conditions, *([] if scope is None else [scope]))
    return {row.id: row for row in work.scalars(statement.order_by(Patient.id).limit(limits.SIMILAR_SHOWN))}


def _named(name: str, without: Sequence[str]) -> list[sa.ColumnElement[bool]]:
    """Who is called exactly so: equal on the index of names."""
    return [
        Patient.name == name, Patient.id.not_in(without), Patient.merged_into_id.is_(None), ~Patient.is_nullified,
        ~Patient.is_test,
    ]  # fmt: skip


def register_patient(work: Work, *, entry: Entry, reason: str = "") -> str:
    """Make the archive; its id. Where somebody similar is known, only with the reason why it is another person."""
    entry = checked_entry(work, entry)
    reason = reason.strip()
    similar = find_similar(work, entry)
    if similar and not reason:
        raise HcrmError(
            "register.similar", "已有相似档案：请先核对；确认是另一个人时，写明原因", field="reason"
        )
    side = PatientSide(work)
    number = _own_number(work, side)
    patient = side.create(is_stub=False)
    now = work.clock.now()
    change = Change(source=BY_PEOPLE, as_of=now, told_at=now)
    side.apply(patient, _record(entry, number), change, 0, [])
    own = ("name", "sex", "birth_date")  # the lists hold no message's word yet
    side.patients.change(patient, provenance={k: v for k, v in patient["provenance"].items() if k in own})
    side.write()
    patient_id = str(patient["id"])
    if entry.visit_source:
        set_field(work, patient_id=patient_id, field_code="visit_source", values=[entry.visit_source])
    title = f"新建档案，病案号 {number.value}" + (f"；已有相似档案，仍新建：{reason}" if reason else "")
    add_entry(
        work, patient_id=patient_id, happened_at=now, kind="merge", title=title, subject_type="patient",
        subject_id=patient_id,
    )  # fmt: skip
    record_audit(
        work, action="patient.register", patients=[patient_id], subject_type="patient", subject_id=patient_id,
        detail={"similar": len(similar.lines) + similar.hidden},
    )  # fmt: skip
    work.emit(PatientsTouched(patient_ids=[patient_id]))
    return patient_id


def checked_entry(work: Work, entry: Entry) -> Entry:
    """The entry with what its ID number tells; every mistake at its field."""
    errors: dict[str, str] = {}
    name, number, phone = clean_name(entry.name), clean_id_number(entry.id_number), clean_phone(entry.phone)
    born, sex = entry.birth_date, entry.sex
    if not name:
        errors["name"] = "此项必填"
    if number and entry.is_other_id and not _OTHER_NUMBER.fullmatch(number):
        errors["id_number"] = "证件号只能有字母和数字，5 到 32 位"
    elif number and not entry.is_other_id:
        if not is_id_number(number):
            errors["id_number"] = "身份证号不对：请核对位数、出生日期和最后一位；护照等请改选证件类型"
        else:
            told = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
            told_sex = Sex.MALE if int(number[16]) % 2 else Sex.FEMALE
            if born and born != told:
                errors["birth_date"] = f"与身份证号中的 {told.isoformat()} 不一致"
            if sex in (Sex.MALE, Sex.FEMALE) and sex is not told_sex:
                errors["sex"] = f"与身份证号中的“{told_sex.label}”不一致"
            born, sex = born or told, told_sex if sex in (None, Sex.UNKNOWN) else sex
    if born and not is_birth_date(born, local_date(work.clock.now())):
        errors.setdefault("birth_date", NO_BIRTH_DATE)
    if entry.phone.strip() and not _E164.fullmatch(phone):
        errors["phone"] = "不是有效的电话号码；固定电话请加区号"
    if not errors and not (born or number or phone):
        errors["birth_date"] = "出生日期、证件号、电话至少填一项，否则今后认不出是谁"
    if errors:
        raise InvalidInput(errors)
    return Entry(
        name,
        sex,
        born,
        number,
        entry.is_other_id,
        phone,
        entry.region_code,
        entry.address.strip(),
        entry.visit_source,
    )


def _record(entry: Entry, number: IdentifierRecord) -> PatientRecord:
    kind = IdentifierKind.OTHER if entry.is_other_id else IdentifierKind.CITIZEN
    card = IdentifierRecord(kind, "", "PPN" if entry.is_other_id else "NI", entry.id_number)
    place = AddressRecord("home", entry.address, entry.region_code)
    return PatientRecord(
        identifiers=(number, card) if entry.id_number else (number,),
        name=entry.name,
        sex=entry.sex,
        birth_date=entry.birth_date,
        contacts=(ContactRecord("phone", "mobile", entry.phone),) if entry.phone else None,
        addresses=(place,) if entry.address or entry.region_code else None,
    )


def _own_number(work: Work, side: PatientSide) -> IdentifierRecord:
    """The next number of ours: never given twice, also where two desks ask at once or a message has used one."""
    while True:
        given = OwnNumber(given_at=work.clock.now())
        work.add(given)
        number = IdentifierRecord(IdentifierKind.RECORD, OWN_AUTHORITY, "MR", f"H{given.id:08d}")
        side.gather([number])
        if not side.index.find(number):
            return number


def _profile(work: Work, entry: Entry) -> Profile:
    name, phone = clean_name(entry.name), clean_phone(entry.phone)
    number = clean_id_number(entry.id_number)
    ids = frozenset({work.keys.blind("id", number)}) if len(number) > 4 else frozenset()
    born = entry.birth_date
    if born is None and not entry.is_other_id and is_id_number(number):
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    return Profile(
        name=name, pinyin=name_pinyin(name)[0] if name else "", birth_date=born, sex=entry.sex or Sex.UNKNOWN,
        citizen_ids=frozenset() if entry.is_other_id or not is_id_number(number) else ids,
        other_ids=ids if entry.is_other_id else frozenset(),
        phones=frozenset({work.keys.blind("phone", phone)}) if _E164.fullmatch(phone) else frozenset(),
        regions=frozenset({entry.region_code}) if entry.region_code else frozenset(),
    )  # fmt: skip


def _record_numbers(work: Work, ids: Sequence[str]) -> dict[str, str]:
    rows = work.execute(
        sa.select(PatientIdentifier.patient_id, PatientIdentifier.value)
        .where(
            PatientIdentifier.patient_id.in_(ids), PatientIdentifier.kind == IdentifierKind.RECORD,
            PatientIdentifier.ended_at.is_(None), PatientIdentifier.retired_at.is_(None),
        )
        .order_by(PatientIdentifier.id.desc())
    )  # fmt: skip
    return {row.patient_id: row.value for row in rows}
