"""The discharged stays of a batch, with everything rules and owners are decided by: one query per table."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from hcrm.archive.codes import is_tcm
from hcrm.archive.models import DeceasedState, Patient
from hcrm.archive.reach.contact_stop import is_stopped
from hcrm.archive.residence import region_codes
from hcrm.archive.visit_models import Diagnosis, DischargeWay, Encounter, EncounterStatus, Procedure
from hcrm.centre.classification_rules import Axis
from hcrm.centre.facts import StayFacts
from hcrm.centre.models import Classification
from hcrm.core.clock import local_date
from hcrm.core.work import Work
from hcrm.directory.models import Department

_PARENT = aliased(Department)  # of a ward, whose follow-up is its department's
_ADMITTING = "A"
_ENDED = (EncounterStatus.FINISHED,)
HAPPENED = (EncounterStatus.IN_PROGRESS, EncounterStatus.ON_LEAVE, EncounterStatus.FINISHED)
"""States of a visit that took place or goes on: every stay there is to sort."""


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
    contact_ended: bool
    facts: StayFacts
    is_test: bool = False
    unit_id: str | None = (
        None  # where the stay was: a ward, where `department_id` is the department it belongs to
    )

    def with_facts(self, facts: StayFacts) -> "Stay":
        """The same stay, seen otherwise."""
        return replace(self, facts=facts)

    @property
    def discharged_on(self) -> date:
        """The hospital's date of the discharge: day 0 of every step."""
        return local_date(self.discharged_at)

    @property
    def has_died(self) -> bool:
        """Whether nobody is left to be called."""
        return self.way is DischargeWay.DIED or self.deceased is DeceasedState.DECEASED

    @property
    def is_followed(self) -> bool:
        """Whether there is somebody to call: alive, a patient, and contact has not ended."""
        return not (self.has_died or self.is_test or self.contact_ended)


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
    return _with_facts(work, rows, home_region, classes)


def load_visits(work: Work, encounter_ids: Collection[str], *, home_region: str | None = None) -> list[Stay]:
    """These visits as rules see them, those that still go on too: what is known of them so far.

    A visit nobody has ended has no trigger, and today for its last day.
    """
    return _with_facts(work, _load_rows(work, set(encounter_ids), states=HAPPENED), home_region, False)


def hold_callable(work: Work, patient_ids: Iterable[str]) -> set[str]:
    """Which of these patients are to be called as of now; all of them are held until the work ends.

    What was read of them with their stays may be old by now: an end of contact, a death or a test mark has been
    committed since, and its withdrawal found nothing to withdraw. Whoever writes one from here on waits, and the
    withdrawal finds what this work writes. Ask it after instructions are locked, as whoever records a death locks
    them; it is the lock that a new instruction takes anyway.
    """
    ids = sorted(set(patient_ids))
    if not ids:
        return set()
    found = sa.select(Patient.id).where(work.among(Patient.id, ids))
    work.execute(found.order_by(Patient.id).with_for_update(read=True, key_share=True)).all()
    return set(
        work.scalars(  # a statement of its own: it sees what was committed while the lock was waited for
            found.where(
                Patient.deceased != DeceasedState.DECEASED, ~Patient.is_test, ~Patient.is_nullified,
                ~is_stopped(Patient.id),
            )
        )
    )  # fmt: skip


def _with_facts(work: Work, rows: Sequence[Any], home_region: str | None, classes: bool) -> list[Stay]:
    ids = [row.id for row in rows]
    now = work.clock.now()
    diagnoses, procedures = _diagnosis_codes(work, ids), _procedure_codes(work, ids)
    regions = region_codes(work, {row.patient_id for row in rows})
    classified = _classes(work, ids) if classes else {}
    return [
        _stay(
            row,
            now,
            diagnosis_codes=diagnoses.get(row.id, ()),
            procedure_codes=procedures.get(row.id, ()),
            region_code=regions.get(row.patient_id),
            home_region=home_region,
            **classified.get(row.id, {}),
        )
        for row in rows
    ]


def _load_rows(
    work: Work, encounter_ids: Collection[str], *, states: Collection[EncounterStatus] = _ENDED
) -> Sequence[Any]:
    """The visits in these states with their patient and department, locked in one order."""
    return work.execute(
        sa.select(
            Encounter.id, Encounter.patient_id, Encounter.discharge_id, Encounter.discharged_at,
            Encounter.discharge_way, Encounter.encounter_class, Encounter.source,
            sa.func.coalesce(Department.parent_id, Encounter.department_id), Encounter.attending_id,
            Patient.deceased, Patient.sex, Patient.birth_date, Patient.is_test,
            sa.func.coalesce(_PARENT.code, Department.code), sa.func.coalesce(_PARENT.name, Department.name),
            sa.func.coalesce(Department.specialty_code, _PARENT.specialty_code),
            sa.func.coalesce(_PARENT.head_id, Department.head_id),
            is_stopped(Encounter.patient_id).label("contact_ended"), Encounter.department_id.label("unit_id"),
        )
        .join(Patient, Patient.id == Encounter.patient_id)
        .outerjoin(Department, Department.id == Encounter.department_id)
        .outerjoin(_PARENT, _PARENT.id == Department.parent_id)
        .where(
            Encounter.id.in_(sorted(encounter_ids)),
            Encounter.status.in_(states),
            *(() if states is HAPPENED else (Encounter.discharged_at.is_not(None),)),
            Encounter.merged_into_id.is_(None),
            ~Patient.is_nullified,
        )
        .order_by(Encounter.id)
        .with_for_update(of=Encounter, key_share=True)
    ).all()  # fmt: skip


def _stay(row: Any, now: datetime, **facts: Any) -> Stay:
    (encounter_id, patient_id, trigger_id, discharged_at, way, encounter_class, source, department_id, attending_id,
     deceased, sex, birth_date, is_test, code, name, specialty_code, head_id, contact_ended,
     unit_id) = row  # fmt: skip
    discharged_at = discharged_at or now
    return Stay(
        encounter_id, patient_id, trigger_id or "", discharged_at, way, deceased, source, department_id, attending_id,
        head_id, contact_ended,
        StayFacts(
            encounter_class=encounter_class.value,
            discharge_way=None if way is DischargeWay.UNKNOWN else way.value,
            department_code=code, department_name=name, department_specialty=specialty_code,
            age_years=_age(birth_date, local_date(discharged_at)), sex=sex.value, **facts,
        ),
        is_test, unit_id,
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
        if code and not is_tcm(system):
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
        if code and not is_tcm(system):
            found[encounter_id].append(code)
    return {encounter_id: tuple(codes) for encounter_id, codes in found.items()}


def _age(born: date | None, day: date) -> int | None:
    """Full years on that day."""
    if born is None or born > day:
        return None
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))
