"""Who a patient is, as people entered it: name, sex, birth date. What a message told is corrected at its source."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from hcrm.archive.absorb_patient import PatientSide
from hcrm.archive.death import lock_patient
from hcrm.archive.events import PatientsTouched
from hcrm.archive.models import Patient, PatientIdentifier, Sex
from hcrm.archive.queries import patient_in_scope
from hcrm.archive.records import NULL, Change, PatientRecord
from hcrm.archive.terms import BY_PEOPLE
from hcrm.audit.service import record_audit
from hcrm.core.clock import local_date
from hcrm.core.errors import ConflictError, InvalidInput
from hcrm.core.text import clean_name
from hcrm.core.work import Work

FIELDS = ("name", "sex", "birth_date")


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


def edit_base(work: Work, *, patient_id: str, seen: BaseData, wanted: BaseData) -> str:
    """Change what people entered; what was there is kept in the history. The patient's id."""
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
    if told := changed - own_fields(patient):
        raise InvalidInput(dict.fromkeys(told, "来自 HIS 消息，请在 HIS 更正后重发"))
    name = clean_name(wanted.name)
    if not name:
        raise InvalidInput({"name": "此项必填"})
    if wanted.birth_date and not date(1900, 1, 1) <= wanted.birth_date <= local_date(work.clock.now()):
        raise InvalidInput({"birth_date": "出生日期应在 1900 年至今天之间"})
    if not changed:
        return patient.id
    work.session.expunge(patient)  # from here on its row is written in bulk
    side = PatientSide(work)
    side.patients.load(Patient.id == patient.id)
    side.index.identifiers.load(
        PatientIdentifier.patient_id == patient.id, PatientIdentifier.ended_at.is_(None)
    )
    row = side.patients.by_id[patient.id]
    now = work.clock.now()
    record = PatientRecord(
        identifiers=(),
        name=name if "name" in changed else None,
        sex=wanted.sex if "sex" in changed else None,
        birth_date=(wanted.birth_date or NULL) if "birth_date" in changed else None,
    )
    side.apply(row, record, Change(source=BY_PEOPLE, as_of=now, told_at=now), 0, [])
    side.patients.change(row, version=row["version"] + 1)
    side.write()
    record_audit(
        work, action="patient.edit_base", patients=[patient.id], subject_type="patient", subject_id=patient.id,
        detail={"fields": sorted(changed)},
    )  # fmt: skip
    work.emit(PatientsTouched(patient_ids=[patient.id]))
    return patient.id
