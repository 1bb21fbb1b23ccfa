"""What a patient's visits come to for a reader who sees some of them only.

The flat row of a patient sums up every visit of the hospital. For a reader with a row scope each such column is worked
out of the stays in that scope: in conditions, columns and orders alike.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import QueryableAttribute
from sqlalchemy.sql.visitors import replacement_traverse

from hcrm.archive.clinical.models import Appointment
from hcrm.archive.clinical.terms import AppointmentStatus
from hcrm.archive.scope import scope_by_stay, stay_condition
from hcrm.archive.visit_models import EncounterClass, EncounterStatus
from hcrm.core.actor import Actor
from hcrm.core.db import table_of
from hcrm.core.work import Work
from hcrm.segments.models import PatientProfile, StayProfile

P, S = PatientProfile, StayProfile
_IN_HOUSE = (EncounterStatus.IN_PROGRESS.value, EncounterStatus.ON_LEAVE.value)
_INPATIENT = (EncounterClass.INPATIENT.value,)
_OUT = (EncounterClass.OUTPATIENT.value, EncounterClass.CHECKUP.value)
_EMERGENCY = (EncounterClass.EMERGENCY.value,)


def in_scope(part: Any, actor: Actor) -> Any:
    """The condition, column or order with what it asks of the flat row's visits asked of the stays in scope."""
    if actor.department_ids is None:
        return part
    part = part.expression if isinstance(part, QueryableAttribute) else part
    columns = _columns(actor)
    table = table_of(PatientProfile)

    def replaced(element: Any, **_: Any) -> Any:
        is_ours = isinstance(element, sa.Column) and element.table is table
        return columns.get(element.name) if is_ours else None

    return replacement_traverse(part, {}, replaced)


def rows_in_scope(work: Work, rows: Sequence[PatientProfile]) -> Sequence[PatientProfile]:
    """The same rows as the reader sees them; those of a narrower scope are copies that no session keeps."""
    if work.actor.department_ids is None:
        return rows
    columns = _columns(work.actor)
    found = {
        row.id: row._asdict()
        for row in work.execute(
            sa.select(P.id, *(each.label(name) for name, each in columns.items())).where(
                P.id.in_([row.id for row in rows])
            )
        )
    }
    names = [column.name for column in table_of(PatientProfile).columns]
    return [PatientProfile(**{name: getattr(row, name) for name in names} | found[row.id]) for row in rows]


def _columns(actor: Actor) -> Mapping[str, Any]:
    """By the name of a column of the flat row, what it comes to in the actor's scope. It stands beside the row."""
    condition = stay_condition(actor, S)
    assert condition is not None

    def of_stays(what: Any, *more: Any) -> Any:
        rows = sa.select(what).select_from(S).where(S.patient_id == P.id, condition, *more)
        return rows.correlate(P)

    def value(what: Any, *more: Any) -> Any:
        return of_stays(what, *more).scalar_subquery()

    def number(*more: Any) -> Any:
        return value(sa.func.count(), *more)

    last = value(sa.func.max(S.visited_on))
    in_bed = S.encounter_class.in_(_INPATIENT)
    told = of_stays(S.payment_type, S.payment_type != "", S.visited_on.is_not(None))
    missed = scope_by_stay(
        sa.select(sa.func.count())
        .select_from(Appointment)
        .where(
            Appointment.patient_id == P.id,
            Appointment.ended_at.is_(None),
            Appointment.status == AppointmentStatus.NO_SHOW,
        ),
        Appointment.encounter_id,
        actor,
    )
    diseases = sa.func.count(sa.distinct(S.disease_group))
    return {
        "seen_on": sa.func.coalesce(last, P.created_on),
        "first_visit_on": value(sa.func.min(S.visited_on)),
        "last_visit_on": last,
        "last_discharged_on": value(sa.func.max(S.discharged_on), in_bed),
        "in_house": of_stays(S.id, in_bed, S.status.in_(_IN_HOUSE)).exists(),
        "visits": number(),
        "inpatient_visits": number(in_bed),
        "outpatient_visits": number(S.encounter_class.in_(_OUT)),
        "emergency_visits": number(S.encounter_class.in_(_EMERGENCY)),
        "tcm_visits": number(S.is_tcm),
        "diseases": value(diseases, S.disease_group.not_in(("", "unclassified"))),
        "missed_bookings": missed.correlate(P).scalar_subquery(),
        "payment_type": sa.func.coalesce(
            told.order_by(S.visited_on.desc(), S.id.desc()).limit(1).scalar_subquery(), ""
        ),
        **{
            name: sa.func.coalesce(value(sa.func.sum(getattr(S, name))), 0)
            for name in ("spending_fen", "drug_fen", "treatment_fen")
        },
    }
