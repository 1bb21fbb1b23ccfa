"""Who a patient is: name, sex, birth date. What a message told is put right by what the patient says or shows.

Until its sender says something new: the value that was put right, told again, changes nothing (`corrections.py`).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from hcrm.archive.absorb.patient import PatientSide
from hcrm.archive.batch import Row
from hcrm.archive.corrections import mark_of
from hcrm.archive.death import lock_patient
from hcrm.archive.events import PatientsTouched
from hcrm.archive.models import Patient, PatientIdentifier, Sex
from hcrm.archive.queries import patient_in_scope
from hcrm.archive.records import NULL, Change, PatientRecord
from hcrm.archive.terms import BY_PEOPLE, NO_BIRTH_DATE, Evidence, is_birth_date
from hcrm.archive.timeline import add_entry
from hcrm.audit.service import record_audit
from hcrm.core.clock import local_date
from hcrm.core.errors import ConflictError, InvalidInput
from hcrm.core.text import clean_name
from hcrm.core.work import Work

FIELDS = ("name", "sex", "birth_date")
LABELS = {"name": "姓名", "sex": "性别", "birth_date": "出生日期"}
_READ: Mapping[str, Callable[[str], Any]] = {"name": str, "sex": Sex, "birth_date": date.fromisoformat}
"""Values as the mark of a correction keeps them."""


@dataclass(frozen=True, slots=True)
class BaseData:
    """The values one looked at, or wants."""

    name: str
    sex: Sex
    birth_date: date | None


class BaseConflictError(ConflictError):
    """Somebody changed a field meanwhile: field to what stands now."""

    def __init__(self, now: Mapping[str, Any]) -> None:
        super().__init__("base.changed", "这份档案刚被修改，请对照后再保存")
        self.now = now


def own_fields(patient: Patient) -> frozenset[str]:
    """The fields a person may change here: entered by people, or told by nobody."""
    told = patient.provenance
    return frozenset(name for name in FIELDS if name not in told or told[name][1] == BY_PEOPLE)


def edit_base(
    work: Work, *, patient_id: str, seen: BaseData, wanted: BaseData, by: Evidence | None = None
) -> str:
    """Change who the patient is; what was there is kept in the history. The patient's id.

    `by`: what the change rests on, wanted where it puts right what a message told.
    """
    patient = lock_patient(work, patient_in_scope(work, patient_id, "patient.edit_base").id)
    changed = {name for name in FIELDS if getattr(wanted, name) != getattr(seen, name)}
    standing = {name: getattr(patient, name) for name in FIELDS}
    late = {
        name: standing[name]
        for name in changed
        if standing[name] not in (getattr(seen, name), getattr(wanted, name))
    }
    if late:
        raise BaseConflictError(late)
    told = changed - own_fields(patient) | {name for name in changed if mark_of(patient.provenance.get(name))}
    if told and by is None:
        raise InvalidInput({"by": "更正 HIS 传来的内容须选择依据"})
    name = clean_name(wanted.name)
    if not name:
        raise InvalidInput({"name": "此项必填"})
    if wanted.birth_date and not is_birth_date(wanted.birth_date, local_date(work.clock.now())):
        raise InvalidInput({"birth_date": NO_BIRTH_DATE})
    if not changed:
        return patient.id
    side, row = _bulk(work, patient)
    before = {name: (row[name], row["provenance"].get(name)) for name in told}
    now = work.clock.now()
    record = PatientRecord(
        identifiers=(),
        name=name if "name" in changed else None,
        sex=wanted.sex if "sex" in changed else None,
        birth_date=(wanted.birth_date or NULL) if "birth_date" in changed else None,
    )
    side.apply(row, record, Change(source=BY_PEOPLE, as_of=now, told_at=now), 0, [])
    if by is not None:
        side.put_right(row, told, before, by=by.value)
    side.patients.change(row, version=row["version"] + 1)
    side.write()
    words = "、".join(LABELS[field] for field in FIELDS if field in changed)
    _tell(
        work, patient.id, f"更正{words}" + (f"，依据：{by.label}" if by is not None and told else ""), changed
    )
    return patient.id


def take_back_correction(work: Work, *, patient_id: str, field: str) -> str:
    """Let what the message told stand again in that field; the patient's id. The correction stays in the history."""
    patient = lock_patient(work, patient_in_scope(work, patient_id, "patient.edit_base").id)
    mark = mark_of(patient.provenance.get(field)) if field in FIELDS else None
    if mark is None:
        raise ConflictError("base.not_corrected", "这一项没有人工更正，或 HIS 已传来新的内容")
    value = _READ[field](mark["was"]) if mark["was"] is not None else None
    side, row = _bulk(work, patient)
    side.take_back(row, field, value, mark["told"])
    side.patients.change(row, version=row["version"] + 1, updated_at=work.clock.now())
    side.write()
    _tell(work, patient.id, f"撤销对{LABELS[field]}的更正，恢复 HIS 的内容", {field})
    return patient.id


def _bulk(work: Work, patient: Patient) -> tuple[PatientSide, Row]:
    """The patient's row, to be written in bulk from here on."""
    work.session.expunge(patient)
    side = PatientSide(work)
    side.patients.load(Patient.id == patient.id)
    side.index.identifiers.load(
        PatientIdentifier.patient_id == patient.id, PatientIdentifier.ended_at.is_(None)
    )
    return side, side.patients.by_id[patient.id]


def _tell(work: Work, patient_id: str, title: str, fields: Collection[str]) -> None:
    add_entry(
        work, patient_id=patient_id, happened_at=work.clock.now(), kind="base", title=title,
        subject_type="patient", subject_id=patient_id,
    )  # fmt: skip
    record_audit(
        work, action="patient.edit_base", patients=[patient_id], subject_type="patient", subject_id=patient_id,
        detail={"fields": sorted(fields)},
    )  # fmt: skip
    work.emit(PatientsTouched(patient_ids=[patient_id]))
