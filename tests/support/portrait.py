"""What stands in an archive, without the keys it was given: equal for two archives that were told the same."""

from collections import Counter
from typing import Any

from hcrm.archive.events import DischargeCancelled, EncounterDischarged
from hcrm.archive.models import (
    Address,
    Allergy,
    ContactPoint,
    Patient,
    PatientHistory,
    PatientIdentifier,
    RelatedPerson,
    TimelineEntry,
)
from hcrm.archive.terms import IdentifierKind
from hcrm.archive.visit_models import Diagnosis, Encounter, VisitEvent
from hcrm.centre.models import Instruction, InstructionState
from hcrm.core.events import Event
from hcrm.core.work import Work
from hcrm.directory.models import Department, Practitioner


def portrait_of(work: Work) -> dict[str, Any]:
    """Everything that stands about people and stays; what was withdrawn depends on when somebody looked."""
    names: dict[str, str] = {}  # a patient is named by the numbers that find them
    for row in work.all(PatientIdentifier, PatientIdentifier.kind == IdentifierKind.RECORD):
        names[row.patient_id] = "+".join(sorted([*names.get(row.patient_id, "").split("+"), str(row.value)]))
    visits = {row.id: row.visit_no or f"a visit of {names[row.patient_id]}" for row in work.all(Encounter)}
    discharges: Counter[str] = Counter()
    for event in work.all(Event):
        step = {EncounterDischarged.__name__: 1, DischargeCancelled.__name__: -1}.get(event.kind, 0)
        if step:
            discharges[visits[event.payload["encounter_id"]]] += step
    departments = {row.id: row.code for row in work.all(Department)}
    doctors = {row.id: row.code for row in work.all(Practitioner)}
    return {
        "patients": sorted(
            (names.get(p.id, "merged"), p.name, p.sex, str(p.birth_date), p.deceased, p.is_stub,
             names.get(p.merged_into_id or "", ""))
            for p in work.all(Patient)
        ),
        "phones": _live(work, ContactPoint, names, "value_index", "use", "rank"),
        "addresses": _live(work, Address, names, "use", "rank", "region_code"),
        "related": _live(work, RelatedPerson, names, "name", "relation", "rank"),
        "allergies": _live(work, Allergy, names, "text", "rank"),
        "history": sorted((names[h.patient_id], h.field, h.value, h.as_of) for h in work.all(PatientHistory)),
        "visits": sorted(
            (visits[v.id], names[v.patient_id], v.status, str(v.admitted_at), str(v.discharged_at), v.location,
             v.encounter_class, v.discharge_way, departments.get(v.department_id or ""),
             doctors.get(v.attending_id or ""))
            for v in work.all(Encounter)
        ),
        "diagnoses": sorted(
            (visits[d.encounter_id], d.rank, d.code) for d in work.all(Diagnosis, Diagnosis.ended_at.is_(None))
        ),
        "log": sorted(
            (visits[e.encounter_id], e.kind, e.happened_at, e.told_at, e.reversed_by_id is not None)
            for e in work.all(VisitEvent)
        ),
        "timeline": sorted(
            (names[t.patient_id], t.kind, t.title, t.happened_at)
            for t in work.all(TimelineEntry, TimelineEntry.kind != "instruction")
        ),
        "discharges": sorted(+discharges),
        "instructions": sorted(
            (visits[i.encounter_id], i.protocol_code, i.step_code, i.state, str(i.due_on))
            for i in work.all(Instruction, Instruction.state != InstructionState.WITHDRAWN)
        ),
    }  # fmt: skip


def _live(work: Work, model: Any, names: dict[str, str], *columns: str) -> list[tuple[Any, ...]]:
    rows = work.all(model, model.ended_at.is_(None))
    return sorted((names[row.patient_id], *(str(getattr(row, name)) for name in columns)) for row in rows)
