"""The discharged stays of a batch, with everything rules and owners are decided by: one query per table."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Protocol

import sqlalchemy as sa

from hcrm.archive.models import Address, DeceasedState, Patient
from hcrm.archive.visit_models import Diagnosis, DischargeWay, Encounter, EncounterStatus, Procedure
from hcrm.centre.classification_rules import Axis
from hcrm.centre.facts import StayFacts
from hcrm.centre.models import Classification
from hcrm.core.clock import local_date
from hcrm.core.text import half_width
from hcrm.core.work import Work
from hcrm.directory.models import Department

_ADMITTING = "A"
_TCM_SYSTEMS = ("15657", "TCM", "中医", "ZYZD", "ZYBZ")
_HOME_FIRST = {"home": 0, "registered": 1}


class StayFact(Protocol):
    """A fact about the stay that one discharge ended."""

    @property
    def encounter_id(self) -> str:
        """The stay."""
        ...

    @property
    def trigger_id(self) -> str:
        """The visit event that ended it."""
        ...


@dataclass(frozen=True, slots=True)
class Stay:
    """A stay that stands finished."""

    encounter_id: str
    patient_id: str
    trigger_id: str
    discharged_at: datetime
    way: DischargeWay
    deceased: DeceasedState
    source: str
    department_id: str | None
    attending_id: str | None
    head_id: str | None
    facts: StayFacts

    @property
    def discharged_on(self) -> date:
        """The hospital's date of the discharge: day 0 of every step."""
        return local_date(self.discharged_at)

    @property
    def has_died(self) -> bool:
        """Whether nobody is left to be called."""
        return self.way is DischargeWay.DIED or self.deceased is DeceasedState.DECEASED


def load_stays(
    work: Work, facts: Iterable[StayFact], *, home_region: str | None = None, classes: bool = False
) -> list[Stay]:
    """The stays these facts are about, as far as they still stand finished by that very discharge.

    The encounters are locked until the work ends: a cancel that arrives meanwhile comes after what is decided here,
    and withdraws it.
    """
    triggers = {(fact.encounter_id, fact.trigger_id) for fact in facts}
    rows = _load_rows(work, {encounter_id for encounter_id, _ in triggers})
    rows = [row for row in rows if (row.id, row.discharge_id) in triggers]
    ids = [row.id for row in rows]
    diagnoses, procedures = _diagnosis_codes(work, ids), _procedure_codes(work, ids)
    regions = _region_codes(work, {row.patient_id for row in rows})
    classified = _classes(work, ids) if classes else {}
    return [
        _stay(
            row,
            diagnosis_codes=diagnoses.get(row.id, ()),
            procedure_codes=procedures.get(row.id, ()),
            region_code=regions.get(row.patient_id),
            home_region=home_region,
            **classified.get(row.id, {}),
        )
        for row in rows
    ]


def _load_rows(work: Work, encounter_ids: Collection[str]) -> Sequence[Any]:
    """The finished stays with their patient and department, locked in one order."""
    return work.execute(
        sa.select(
            Encounter.id, Encounter.patient_id, Encounter.discharge_id, Encounter.discharged_at,
            Encounter.discharge_way, Encounter.encounter_class, Encounter.source, Encounter.department_id,
            Encounter.attending_id,
            Patient.deceased, Patient.sex, Patient.birth_date,
            Department.code, Department.name, Department.specialty_code, Department.head_id,
        )
        .join(Patient, Patient.id == Encounter.patient_id)
        .outerjoin(Department, Department.id == Encounter.department_id)
        .where(
            Encounter.id.in_(sorted(encounter_ids)),
            Encounter.status == EncounterStatus.FINISHED,
            Encounter.discharged_at.is_not(None),
            ~Patient.is_nullified,
        )
        .order_by(Encounter.id)
        .with_for_update(of=Encounter, key_share=True)
    ).all()  # fmt: skip


def _stay(row: Any, **facts: Any) -> Stay:
    (encounter_id, patient_id, trigger_id, discharged_at, way, encounter_class, source, department_id, attending_id,
     deceased, sex, birth_date, code, name, specialty_code, head_id) = row  # fmt: skip
    return Stay(
        encounter_id, patient_id, trigger_id, discharged_at, way, deceased, source, department_id, attending_id,
        head_id,
        StayFacts(
            encounter_class=encounter_class.value,
            discharge_way=None if way is DischargeWay.UNKNOWN else way.value,
            department_code=code, department_name=name, department_specialty=specialty_code,
            age_years=_age(birth_date, local_date(discharged_at)), sex=sex.value, **facts,
        ),
    )  # fmt: skip


def _classes(work: Work, encounter_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """What each stay was sorted into, named as the facts that protocols ask for."""
    rows: Iterable[Any] = work.execute(
        sa.select(Classification.encounter_id, Classification.axis, Classification.code, Classification.rank)
        .where(Classification.encounter_id.in_(encounter_ids))
        .order_by(Classification.rank)
    )
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for encounter_id, axis, code, rank in rows:
        facts = found[encounter_id]
        if axis != Axis.DISEASE_GROUP:
            facts.setdefault(axis, code)
            continue
        if rank == 0:
            facts["main_disease_group"] = code
        facts["disease_groups"] = (*facts.get("disease_groups", ()), code)
    return found


def _diagnosis_codes(work: Work, encounter_ids: Collection[str]) -> dict[str, tuple[str, ...]]:
    """ICD-10 codes by stay, main diagnosis first; what was thought on admission counts where nothing came later."""
    rows: Iterable[Any] = work.execute(
        sa.select(Diagnosis.encounter_id, Diagnosis.code, Diagnosis.system, Diagnosis.kind)
        .where(Diagnosis.encounter_id.in_(encounter_ids), Diagnosis.ended_at.is_(None))
        .order_by(Diagnosis.is_main.desc(), Diagnosis.rank)
    )
    found: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for encounter_id, code, system, kind in rows:
        if code and not _is_tcm(system):
            found[encounter_id].append((code, kind == _ADMITTING))
    return {
        encounter_id: tuple(code for code, admitting in codes if not admitting)
        or tuple(code for code, _ in codes)
        for encounter_id, codes in found.items()
    }


def _procedure_codes(work: Work, encounter_ids: Collection[str]) -> dict[str, tuple[str, ...]]:
    rows: Iterable[Any] = work.execute(
        sa.select(Procedure.encounter_id, Procedure.code, Procedure.system)
        .where(Procedure.encounter_id.in_(encounter_ids), Procedure.ended_at.is_(None))
        .order_by(Procedure.rank)
    )
    found: dict[str, list[str]] = defaultdict(list)
    for encounter_id, code, system in rows:
        if code and not _is_tcm(system):
            found[encounter_id].append(code)
    return {encounter_id: tuple(codes) for encounter_id, codes in found.items()}


def _region_codes(work: Work, patient_ids: Collection[str]) -> dict[str, str]:
    """Where each patient lives: the home address, else the registered one, else any with a region."""
    rows: Sequence[Any] = work.execute(
        sa.select(Address.patient_id, Address.use, Address.rank, Address.region_code).where(
            Address.patient_id.in_(sorted(patient_ids)),
            Address.ended_at.is_(None),
            Address.region_code.is_not(None),
        )
    ).all()
    best = sorted(rows, key=lambda row: (_HOME_FIRST.get(row.use, 2), row.rank), reverse=True)
    return {row.patient_id: row.region_code for row in best if row.region_code}


@lru_cache(maxsize=256)
def _is_tcm(system: str) -> bool:
    """Whether a code comes from a TCM table: its letters look like ICD-10 and mean something else (GB/T 15657)."""
    words = half_width(system).upper()
    return any(mark in words for mark in _TCM_SYSTEMS)


def _age(born: date | None, day: date) -> int | None:
    """Full years on that day."""
    if born is None or born > day:
        return None
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))
