"""Visits and diagnoses as FHIR R4B: Encounter and Condition. Mapping: contracts, ports and paths."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, unquote

import sqlalchemy as sa

from hcrm.api.elements import ACT_CODE, Json, coding, compact, concept, moment, reference, stamp
from hcrm.api.search import (
    Condition,
    Found,
    ResourceType,
    SearchParameter,
    compare_period,
    id_parameter,
    read_code,
    read_dates,
    read_number,
    read_token,
    reference_reader,
    refused,
    updated_parameter,
)
from hcrm.archive.fhir import of_patient
from hcrm.archive.scope import not_test, patient_condition, scope_encounters
from hcrm.archive.visit_models import Diagnosis, DischargeWay, Encounter, EncounterClass, EncounterStatus
from hcrm.core.sources import visit_system
from hcrm.core.work import Work
from hcrm.directory.models import Department, Practitioner

STAFF_SYSTEM = "urn:hcrm:staff"
"""Staff numbers (工号), XCN.1 of messages."""
DEPARTMENT_SYSTEM = "urn:hcrm:department"
"""Codes of departments in our directory."""
CLASS_SYSTEM = "urn:hcrm:encounter-class"
"""Our own classes of visits, in Encounter.type: finer than the standard's (体检 is ambulatory there)."""
WAY_SYSTEM = "urn:hcrm:discharge-way"
"""Ways of leaving (离院方式), CV06.00.226."""
ICD10 = "http://hl7.org/fhir/sid/icd-10"
_STATUS_SYSTEM = "http://hl7.org/fhir/encounter-status"
_STATUSES = (
    "planned", "arrived", "triaged", "in-progress", "onleave", "finished", "cancelled", "entered-in-error", "unknown",
)  # fmt: skip
_CLASSES = {
    EncounterClass.INPATIENT: ("IMP", "inpatient encounter"),
    EncounterClass.OUTPATIENT: ("AMB", "ambulatory"),
    EncounterClass.EMERGENCY: ("EMER", "emergency"),
    EncounterClass.PREADMIT: ("PRENC", "pre-admission"),
    EncounterClass.CHECKUP: ("AMB", "ambulatory"),
}
_UNKNOWN_CLASS = coding("http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "UNK", "unknown")
_VISIT_NUMBER = concept(coding("http://terminology.hl7.org/CodeSystem/v2-0203", "VN", "Visit number"))
_ATTENDER = concept(coding("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "ATND", "attender"))
_ROLE = "http://terminology.hl7.org/CodeSystem/diagnosis-role"
_ROLES = {
    "A": concept(coding(_ROLE, "AD", "Admission diagnosis")),
    "F": concept(coding(_ROLE, "DD", "Discharge diagnosis")),
}
_CERTAINTY = {"A": "provisional", "W": "provisional", "F": "confirmed"}
"""DG1-6 (HL7 table 0052) to Condition.verificationStatus; elsewhere nothing was said."""
_COLUMNS = [column for column in Encounter.__table__.columns if column.name != "provenance"]  # never shown
_ICD10_NAMES = ("ICD10", "I10")
_CODE_SYSTEM = "urn:hcrm:code-system:"


def staff(key: str | None, code: str | None, name: str | None) -> Json | None:
    """Reference to a practitioner with the staff number."""
    number = {"system": STAFF_SYSTEM, "value": code} if code else None
    return reference("Practitioner", key, identifier=number, display=name)


# ── encounters ──────────────────────────────────────────────────────────────


class EncounterType(ResourceType):
    """Visits and stays."""

    name = "Encounter"
    subject_type = "encounter"

    def __init__(self) -> None:
        patient = of_patient(Encounter.patient_id)
        parameters = (
            id_parameter(Encounter.id),
            updated_parameter(Encounter.id, Encounter.updated_at),
            SearchParameter("patient", "reference", "患者", patient, narrows=True),
            SearchParameter("subject", "reference", "患者", patient, narrows=True),
            SearchParameter(
                "identifier", "token", "就诊流水号：system|value 或 value", _by_visit, narrows=True
            ),
            SearchParameter("status", "token", "状态", _by_status),
            SearchParameter("class", "token", "类别：IMP、AMB、EMER、PRENC 或本系统类别", _by_class),
            SearchParameter("date", "date", "入院至出院的时段", _by_period),
        )
        super().__init__(Encounter.id, parameters)

    def rows(self, work: Work) -> sa.Select[Any]:
        """Visits in scope, with department and attending physician."""
        statement = (
            sa.select(
                *_COLUMNS,
                Department.code.label("department_code"), Department.name.label("department_name"),
                Practitioner.code.label("attending_code"), Practitioner.name.label("attending_name"),
            )
            .outerjoin(Department, Department.id == Encounter.department_id)
            .outerjoin(Practitioner, Practitioner.id == Encounter.attending_id)
        )  # fmt: skip
        return scope_encounters(statement.where(not_test(Encounter.patient_id)), work.actor)

    def load(self, work: Work, rows: Sequence[sa.RowMapping]) -> list[Found]:
        """The visits with their diagnoses."""
        diagnoses: dict[str, list[sa.RowMapping]] = defaultdict(list)
        statement = (
            sa.select(Diagnosis.id, Diagnosis.encounter_id, Diagnosis.kind)
            .where(Diagnosis.encounter_id.in_([row["id"] for row in rows]), Diagnosis.ended_at.is_(None))
            .order_by(Diagnosis.is_main.desc(), Diagnosis.rank)
        )
        for diagnosis in work.execute(statement).mappings():
            diagnoses[diagnosis["encounter_id"]].append(diagnosis)
        return [
            Found(encounter_resource(row, diagnoses[row["id"]]), row["patient_id"], row["updated_at"])
            for row in rows
        ]


def encounter_resource(row: sa.RowMapping, diagnoses: Sequence[sa.RowMapping]) -> Json:
    """FHIR Encounter; `diagnoses` with the main one first."""
    resource = compact(
        {
            "resourceType": "Encounter",
            "id": row["id"],
            "identifier": [_visit_number(row)] if row["visit_no"] else None,
            "status": row["status"].value,
            "class": _class(row),
            "type": [concept(_our_class(row["encounter_class"]), text=row["class_text"])],
            "subject": reference("Patient", row["patient_id"]),
            "participant": _participant(row),
            "period": compact({"start": moment(row["admitted_at"]), "end": moment(row["discharged_at"])}),
            "diagnosis": [_diagnosis(each, rank) for rank, each in enumerate(diagnoses, start=1)],
            "hospitalization": compact({"dischargeDisposition": _discharge_way(row)}),
            "location": [{"location": {"display": row["location"]}}] if row["location"] else None,
            "serviceProvider": reference(
                "Organization", row["department_id"], display=row["department_name"],
                identifier={"system": DEPARTMENT_SYSTEM, "value": row["department_code"]},
            ),
        }
    )  # fmt: skip
    return stamp(resource, row["updated_at"])


def _visit_number(row: sa.RowMapping) -> Json:
    return {
        "use": "usual",
        "type": _VISIT_NUMBER,
        "system": visit_system(row["authority"]),
        "value": row["visit_no"],
    }


def _class(row: sa.RowMapping) -> Json:
    known = _CLASSES.get(row["encounter_class"])
    return coding(ACT_CODE, *known) if known else _UNKNOWN_CLASS


def _diagnosis(row: sa.RowMapping, rank: int) -> Json:
    condition = reference("Condition", row["id"])
    return compact({"condition": condition, "use": _ROLES.get(row["kind"]), "rank": rank})


def _our_class(kind: EncounterClass) -> Json:
    return coding(CLASS_SYSTEM, kind.value, kind.label)


def _participant(row: sa.RowMapping) -> list[Json] | None:
    attending = staff(row["attending_id"], row["attending_code"], row["attending_name"])
    return [{"type": [_ATTENDER], "individual": attending}] if attending else None


def _discharge_way(row: sa.RowMapping) -> Json:
    """Only of a stay that has ended; an unknown way is said by the sender's words alone."""
    way, text = row["discharge_way"], row["discharge_way_text"]
    if row["status"] is not EncounterStatus.FINISHED:
        return {}
    if way is DischargeWay.UNKNOWN:
        return concept(text=text)
    return concept(coding(WAY_SYSTEM, way.value, way.label), text=text or way.label)


def _by_visit(_work: Work, text: str) -> Condition:
    token = read_number(text)
    where = [Encounter.visit_no == token.code]
    if token.system is not None:
        head = visit_system("")
        if not token.system.startswith(head):
            return sa.false()
        where.append(Encounter.authority == unquote(token.system.removeprefix(head)))
    return sa.and_(*where)


def _by_status(_work: Work, text: str) -> Condition:
    code = read_code(text, system=_STATUS_SYSTEM, codes=_STATUSES)
    return Encounter.status.in_([status for status in EncounterStatus if status.value == code])


def _by_class(_work: Work, text: str) -> Condition:
    token = read_token(text)
    fitting = [
        kind for kind, (code, _) in _CLASSES.items() if code == token.code.upper() and token.fits(ACT_CODE)
    ]
    fitting += [kind for kind in EncounterClass if kind.value == token.code and token.fits(CLASS_SYSTEM)]
    return Encounter.encounter_class.in_(fitting)


def _by_period(_work: Work, text: str) -> Condition:
    return compare_period(Encounter.admitted_at, Encounter.discharged_at, read_dates(text))


# ── conditions ──────────────────────────────────────────────────────────────


class ConditionType(ResourceType):
    """Diagnoses of visits; one that a newer list replaced is gone."""

    name = "Condition"
    subject_type = "diagnosis"

    def __init__(self) -> None:
        patient = of_patient(Diagnosis.patient_id)
        parameters = (
            id_parameter(Diagnosis.id),
            SearchParameter("patient", "reference", "患者", patient, narrows=True),
            SearchParameter("subject", "reference", "患者", patient, narrows=True),
            SearchParameter(
                "encounter", "reference", "就诊", reference_reader(Diagnosis.encounter_id, "Encounter"), narrows=True
            ),
            SearchParameter("code", "token", "诊断编码：system|code 或 code，全部相同", _by_code),
        )  # fmt: skip
        super().__init__(Diagnosis.id, parameters)

    def rows(self, work: Work) -> sa.Select[Any]:
        """Diagnoses that stand, of patients in scope."""
        # A list is replaced in the work that touches its visit, so that is when a diagnosis last changed.
        statement = (
            sa.select(*Diagnosis.__table__.columns, Encounter.updated_at)
            .join(Encounter, Encounter.id == Diagnosis.encounter_id)
            .where(Diagnosis.ended_at.is_(None), not_test(Diagnosis.patient_id))
        )
        condition = patient_condition(work.actor, Diagnosis.patient_id)
        return statement if condition is None else statement.where(condition)

    def load(self, work: Work, rows: Sequence[sa.RowMapping]) -> list[Found]:
        """Each row is a whole resource."""
        return [Found(condition_resource(row), row["patient_id"], row["updated_at"]) for row in rows]

    def was_deleted(self, work: Work, key: str) -> bool:
        """Replaced by a newer list."""
        return work.scalar(sa.select(Diagnosis.id).where(Diagnosis.id == key)) is not None


def condition_resource(row: sa.RowMapping) -> Json:
    """FHIR Condition."""
    certainty = _CERTAINTY.get(row["kind"])
    system = code_system(row["system"]) if row["code"] else None
    resource = compact(
        {
            "resourceType": "Condition",
            "id": row["id"],
            "verificationStatus": concept(
                coding("http://terminology.hl7.org/CodeSystem/condition-ver-status", certainty)
            )
            if certainty
            else None,
            "category": [
                concept(
                    coding("http://terminology.hl7.org/CodeSystem/condition-category", "encounter-diagnosis")
                )
            ],
            "code": concept(coding(system, row["code"], row["text"] or None), text=row["text"] or None),
            "subject": reference("Patient", row["patient_id"]),
            "encounter": reference("Encounter", row["encounter_id"]),
            "recordedDate": moment(row["as_of"]),
        }
    )
    return stamp(resource, row["updated_at"])


def code_system(sent: str) -> str | None:
    """The system of a code as a sender names it (DG1-3.3): ICD-10 in its spellings, else our own name for theirs."""
    if not sent:
        return None
    plain = sent.upper().replace("-", "").replace(" ", "")
    return ICD10 if plain in _ICD10_NAMES else f"{_CODE_SYSTEM}{quote(sent, safe='')}"


def _by_code(_work: Work, text: str) -> Condition:
    token = read_token(text)
    if not token.code:
        raise refused("code 应写明编码")
    where: list[Condition] = [Diagnosis.code == token.code]
    if token.system == ICD10:
        plain = sa.func.upper(sa.func.replace(sa.func.replace(Diagnosis.system, "-", ""), " ", ""))
        where.append(plain.in_(_ICD10_NAMES))
    elif token.system is not None:
        sent = unquote(token.system.removeprefix(_CODE_SYSTEM))
        where.append(Diagnosis.system == (sent if token.system.startswith(_CODE_SYSTEM) else token.system))
    return sa.and_(*where)
