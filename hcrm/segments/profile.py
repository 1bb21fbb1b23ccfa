"""Making the flat rows of patients and their stays from the archive: in bulk, any number of times, always the same.

The worker does it for those a fact names, `hcrm segments rebuild` for all. What ages (life cycle, age) is no part of
the rows: it is worked out from dates when asked.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from hcrm.archive.clinical.models import Appointment, MedicationRequest
from hcrm.archive.clinical.terms import AppointmentStatus, OrderStatus
from hcrm.archive.codes import is_tcm, normal_codes
from hcrm.archive.models import Patient
from hcrm.archive.residence import region_codes
from hcrm.archive.visit_models import Diagnosis, Encounter, EncounterClass, EncounterStatus
from hcrm.core import limits
from hcrm.core.clock import local_date
from hcrm.core.db import Base, table_of
from hcrm.core.seasons import season_of
from hcrm.core.work import Row, Work
from hcrm.segments.costs import Costs, costs_of_stays
from hcrm.segments.grading_rules import grading_rules
from hcrm.segments.models import PatientProfile, StayProfile

_YEAR = timedelta(days=365)
_ADMITTING = "A"
_OUT = (EncounterClass.OUTPATIENT, EncounterClass.CHECKUP)
_NOT_HAPPENED = (EncounterStatus.PLANNED, EncounterStatus.CANCELLED)
_IN_HOUSE = (EncounterStatus.IN_PROGRESS, EncounterStatus.ON_LEAVE)
# Classes belong to the centre, a layer above: the table is named, not imported.
_CLASSIFICATION = sa.table(
    "classification", sa.column("encounter_id"), sa.column("axis"), sa.column("code"), sa.column("rank")
)


def refresh_profiles(work: Work, patient_ids: Collection[str]) -> int:
    """Make the rows of these patients anew; how many rows were written.

    The patients' own rows are locked first: two workers that were told of the same patient go one after the other,
    and the later one reads what the earlier one's facts had not said yet.
    """
    ids = sorted(set(patient_ids))
    standing = {row["id"]: dict(row) for row in _lock(work, ids)}
    patients = work.execute(
        sa.select(
            Patient.id, Patient.sex, Patient.birth_date, Patient.marital_status, Patient.deceased, Patient.is_vip,
            Patient.created_at, Patient.merged_into_id, Patient.is_nullified, Patient.is_test,
        ).where(Patient.id.in_(ids))
    ).all()  # fmt: skip
    stays = _stays(work, ids)
    by_patient: dict[str, list[Row]] = defaultdict(list)
    for stay in stays:
        by_patient[stay["patient_id"]].append(stay)
    regions, missed = region_codes(work, ids), _missed_bookings(work, ids)
    profiles = [
        _profile(row, by_patient[row.id], regions.get(row.id, ""), missed.get(row.id, 0)) for row in patients
    ]
    found = work.execute(sa.select(table_of(StayProfile)).where(StayProfile.patient_id.in_(ids)))
    known = {row["id"]: dict(row) for row in found.mappings()}
    moved = [stay["id"] for stay in stays if stay["id"] not in known]  # was another patient's until now
    if moved:
        others = work.execute(sa.select(table_of(StayProfile)).where(work.among(StayProfile.id, moved)))
        known |= {row["id"]: dict(row) for row in others.mappings()}
    gone = known.keys() - {stay["id"] for stay in stays}
    if gone:
        work.execute(sa.delete(StayProfile).where(work.among(StayProfile.id, gone)))
    return (
        len(gone) + _write(work, StayProfile, stays, known) + _write(work, PatientProfile, profiles, standing)
    )


def rebuild_profiles(work: Work, *, after: str = "") -> tuple[str, int]:
    """Make the rows of the next patients anew, by key; the last key and how many patients. 0: all are done."""
    ids = work.scalars(
        sa.select(Patient.id).where(Patient.id > after).order_by(Patient.id).limit(limits.PROFILE_BATCH)
    )
    if not ids:
        return after, 0
    refresh_profiles(work, ids)
    return ids[-1], len(ids)


def _lock(work: Work, ids: Sequence[str]) -> Sequence[sa.RowMapping]:
    table = table_of(PatientProfile)
    wanted = sa.select(table).where(table.c.id.in_(ids)).order_by(table.c.id).with_for_update()
    return work.execute(wanted).mappings().all()


def _write(work: Work, model: type[Base], rows: Sequence[Row], known: Mapping[str, Mapping[str, Any]]) -> int:
    """New rows in, changed rows changed; those that say the same are left alone."""
    new = [row for row in rows if row["id"] not in known]
    changed = [
        row
        for row in rows
        if row["id"] in known and any(known[row["id"]][name] != value for name, value in row.items())
    ]
    went_in = set(work.insert_new(model, new))
    # Somebody else was first with a new patient: theirs was made before ours was read.
    changed += [row for row in new if row["id"] not in went_in]
    work.update_rows(model, changed)
    return len(new) + len(changed)


def _profile(patient: Any, stays: Sequence[Row], region: str, missed: int) -> Row:
    """One patient's row. Visits are those that happened or go on."""
    days = sorted(stay["visited_on"] for stay in stays if stay["visited_on"])
    ended = [stay["discharged_on"] for stay in stays if stay["discharged_on"] and _was_in_bed(stay)]
    created_on = local_date(patient.created_at)
    last = days[-1] if days else None
    told = [stay for stay in stays if stay["payment_type"] and stay["visited_on"]]
    return {
        "id": patient.id,
        "is_listed": not (patient.merged_into_id or patient.is_nullified or patient.is_test),
        "sex": patient.sex.value, "birth_on": patient.birth_date, "region_code": region,
        "marital_status": patient.marital_status or "", "deceased": patient.deceased.value,
        "is_vip": patient.is_vip, "created_on": created_on, "seen_on": last or created_on,
        "first_visit_on": days[0] if days else None, "last_visit_on": last,
        "last_discharged_on": max(ended, default=None),
        "in_house": any(_was_in_bed(stay) and stay["status"] in _IN_HOUSE for stay in stays),
        "visits": len(stays),
        "inpatient_visits": _count(stays, (EncounterClass.INPATIENT,)),
        "outpatient_visits": _count(stays, _OUT),
        "emergency_visits": _count(stays, (EncounterClass.EMERGENCY,)),
        "recent_visits": sum(last - day < _YEAR for day in days) if last else 0,
        "tcm_visits": sum(stay["is_tcm"] for stay in stays),
        "diseases": len({stay["disease_group"] for stay in stays} - {"", "unclassified"}),
        "missed_bookings": missed,
        "payment_type": max(told, key=lambda stay: (stay["visited_on"], stay["id"]))["payment_type"] if told else "",
        **{name: sum(stay[name] for stay in stays) for name in ("spending_fen", "drug_fen", "treatment_fen")},
    }  # fmt: skip


def _stays(work: Work, patient_ids: Sequence[str]) -> list[Row]:
    """The visits of these patients that happened or go on, each as its row."""
    rows = work.execute(
        sa.select(
            Encounter.id, Encounter.patient_id, Encounter.encounter_class, Encounter.status, Encounter.department_id,
            Encounter.attending_id, Encounter.admitted_at, Encounter.discharged_at, Encounter.discharge_way,
            Encounter.payment_type,
        ).where(
            Encounter.patient_id.in_(patient_ids), Encounter.merged_into_id.is_(None),
            Encounter.status.not_in(_NOT_HAPPENED),
        )
    ).all()  # fmt: skip
    ids = [row.id for row in rows]
    classes = _classes(work, ids)
    diagnoses, tcm = _main_diagnoses(work, ids)
    herbal = _herbal(work, ids)
    costs = costs_of_stays(work, ids)
    return [
        _stay(
            row, classes[row.id], diagnoses.get(row.id, ""), row.id in tcm or row.id in herbal, costs[row.id]
        )
        for row in rows
    ]


def _stay(row: Any, classes: Mapping[str, str], diagnosis: str, tcm: bool, costs: Costs) -> Row:
    began, ended = row.admitted_at, row.discharged_at
    visited = local_date(began or ended) if began or ended else None
    left = local_date(ended) if ended else None
    return {
        "id": row.id, "patient_id": row.patient_id, "encounter_class": row.encounter_class.value,
        "status": row.status.value, "department_id": row.department_id or "",
        "attending_id": row.attending_id or "", "visited_on": visited, "discharged_on": left,
        "discharge_way": row.discharge_way.value if left else "",
        "days": max((left - visited).days, 0) if left and began and visited else None,
        "visit_month": visited.month if visited else None,
        "visit_quarter": season_of(visited) if visited else None,
        "specialty": classes.get("specialty", ""), "disease_group": classes.get("disease_group", ""),
        "region": classes.get("region", ""), "main_diagnosis": diagnosis, "is_tcm": tcm,
        "payment_type": row.payment_type or "", "spending_fen": costs.total, "drug_fen": costs.drug,
        "treatment_fen": costs.treatment,
    }  # fmt: skip


def _was_in_bed(stay: Row) -> bool:
    return bool(stay["encounter_class"] == EncounterClass.INPATIENT)


def _count(stays: Iterable[Row], classes: Collection[EncounterClass]) -> int:
    wanted = {each.value for each in classes}
    return sum(stay["encounter_class"] in wanted for stay in stays)


def _classes(work: Work, encounter_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """The main class of each axis."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    table = _CLASSIFICATION
    for row in work.execute(
        sa.select(table.c.encounter_id, table.c.axis, table.c.code).where(
            work.among(table.c.encounter_id, encounter_ids), table.c.rank == 0
        )
    ):
        found[row.encounter_id][row.axis] = row.code
    return found


def _main_diagnoses(work: Work, encounter_ids: Sequence[str]) -> tuple[dict[str, str], set[str]]:
    """Main ICD-10 code of each stay in comparable form, and the stays whose main diagnosis is one of TCM.

    What was thought on admission counts where nothing came later.
    """
    rows = work.execute(
        sa.select(Diagnosis.encounter_id, Diagnosis.code, Diagnosis.system, Diagnosis.is_main, Diagnosis.kind)
        .where(work.among(Diagnosis.encounter_id, encounter_ids), Diagnosis.ended_at.is_(None))
        .order_by(Diagnosis.is_main.desc(), Diagnosis.rank, Diagnosis.id)
    )
    final: dict[str, str] = {}
    admitting: dict[str, str] = {}
    tcm: set[str] = set()
    for row in rows:
        if is_tcm(row.system):
            if row.is_main:
                tcm.add(row.encounter_id)
        elif codes := normal_codes(row.code):
            (admitting if row.kind == _ADMITTING else final).setdefault(row.encounter_id, codes[0])
    return {**admitting, **final}, tcm


def _herbal(work: Work, encounter_ids: Sequence[str]) -> set[str]:
    """Stays whose drug orders are herbal to the share the hospital set."""
    herbal = sa.func.sum(sa.case((MedicationRequest.is_herbal, 1), else_=0))
    rows = work.execute(
        sa.select(MedicationRequest.encounter_id)
        .where(
            work.among(MedicationRequest.encounter_id, encounter_ids), MedicationRequest.ended_at.is_(None),
            MedicationRequest.status != OrderStatus.CANCELLED,
        )
        .group_by(MedicationRequest.encounter_id)
        .having(herbal * 100 >= sa.func.count() * grading_rules().mainly_tcm.herbal_percent)
    )  # fmt: skip
    return {row.encounter_id for row in rows}


def _missed_bookings(work: Work, patient_ids: Sequence[str]) -> dict[str, int]:
    rows = work.execute(
        sa.select(Appointment.patient_id, sa.func.count().label("number"))
        .where(
            Appointment.patient_id.in_(patient_ids), Appointment.ended_at.is_(None),
            Appointment.status == AppointmentStatus.NO_SHOW,
        )
        .group_by(Appointment.patient_id)
    )  # fmt: skip
    return {row.patient_id: row.number for row in rows}
