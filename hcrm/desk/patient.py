"""The patient page's frame: the card on top and the column at the side. What the tabs show is in `record_tabs.py`.

Nothing here asks who may see the patient: the view came through `archive.queries.get_patient`, which applies the row
scope and notes the read. How to reach the patient is in `reach.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from followup.alerts import IS_UNHANDLED
from followup.models import Alert
from hcrm.archive import queries as archive
from hcrm.archive.clinical.models import Appointment
from hcrm.archive.clinical.terms import AppointmentStatus
from hcrm.archive.corrections import mark_of
from hcrm.archive.fields.known_profile import Profile, load_profile
from hcrm.archive.fields.models import PatientNote, PatientTag
from hcrm.archive.fields.notes import list_notes
from hcrm.archive.fields.tags import list_tags
from hcrm.archive.models import (
    Allergy,
    IdentifierKind,
    Patient,
    PatientIdentifier,
    PatientMerge,
)
from hcrm.archive.scope import scope_by_stay
from hcrm.archive.terms import Evidence
from hcrm.centre.care import Gap, gap_of
from hcrm.centre.models import IS_OPEN, Instruction
from hcrm.centre.scope import instruction_opens
from hcrm.core.clock import local_date
from hcrm.core.work import Work
from hcrm.desk.masked import FIELD_LABELS, MaskedValue, Origin, field_words, live_rows, origin_of
from hcrm.desk.record_tabs import instructions_to_show

NEXT_STEPS = 3
CARD_NOTES = 2


@dataclass(frozen=True, slots=True)
class KnownField:
    """One of the patient's own values with where it comes from."""

    label: str
    value: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class PatientCard:
    """What stands on top of and beside every tab of a patient."""

    patient: Patient
    record_numbers: Sequence[str]
    id_numbers: Sequence[MaskedValue]
    allergies: Sequence[Allergy]
    next_steps: Sequence[sa.Row[Any]]
    alerts: int  # red flags nobody has dealt with
    merges: int
    bookings: Sequence[Appointment]  # to come
    gap: Gap | None  # why there should be a next step, where there is none
    profile: Profile
    tags: Sequence[PatientTag]
    notes: Sequence[PatientNote]  # the newest
    fields: Sequence[KnownField] = field(default=())

    @property
    def ahead(self) -> list[tuple[sa.Row[Any] | None, Appointment | None]]:
        """What is next, an instruction or a booking, the nearest day first."""
        dated: list[tuple[date, sa.Row[Any] | None, Appointment | None]] = []
        dated += [(row.Instruction.due_on, row, None) for row in self.next_steps]
        dated += [(local_date(one.starts_at), None, one) for one in self.bookings if one.starts_at]
        return [(row, one) for _, row, one in sorted(dated, key=itemgetter(0))]


def load_card(work: Work, patient: Patient) -> PatientCard:
    """The patient at a glance: one query a table."""
    identifiers = live_rows(work, PatientIdentifier, patient.id, PatientIdentifier.id)
    numbers = [row for row in identifiers if row.kind is IdentifierKind.RECORD and row.value]
    allergies = live_rows(work, Allergy, patient.id, Allergy.rank)
    next_steps = _next_steps(work, patient.id) if work.actor.may("instruction.read") else ()
    bookings = _bookings(work, patient.id)
    return PatientCard(
        patient=patient,
        record_numbers=[row.value for row in numbers if row.retired_at is None and row.replaced_at is None],
        id_numbers=[
            MaskedValue("identifier", row.id, "身份证号", archive.masked_identifier(work, row), origin_of(row))
            for row in identifiers
            if row.kind is IdentifierKind.CITIZEN and row.value_sealed
        ],
        allergies=allergies,
        next_steps=next_steps,
        bookings=bookings,
        gap=None if next_steps or bookings else gap_of(work, patient.id),
        alerts=_count_alerts(work, patient.id) if work.actor.may("instruction.read") else 0,
        merges=work.scalar(
            sa.select(sa.func.count())
            .select_from(PatientMerge)
            .where(PatientMerge.survivor_id == patient.id, PatientMerge.undone_at.is_(None))
        ),
        profile=load_profile(work, patient, allergies),
        tags=list_tags(work, patient.id),
        notes=list_notes(work, patient_id=patient.id, size=CARD_NOTES).items,
        fields=_known_fields(patient),
    )  # fmt: skip


def _next_steps(work: Work, patient_id: str) -> Sequence[sa.Row[Any]]:
    """The open instructions that are due first: `Instruction`, `assignee_name`."""
    return work.execute(
        instructions_to_show(work)
        .where(Instruction.patient_id == patient_id, IS_OPEN)
        .order_by(Instruction.due_on, Instruction.id)
        .limit(NEXT_STEPS)
    ).all()


def _bookings(work: Work, patient_id: str) -> Sequence[Appointment]:
    """Bookings to come, the nearest first."""
    statement = sa.select(Appointment).where(
        Appointment.patient_id == patient_id, Appointment.ended_at.is_(None),
        Appointment.status == AppointmentStatus.BOOKED, Appointment.starts_at > work.clock.now(),
    )  # fmt: skip
    statement = scope_by_stay(statement, Appointment.encounter_id, work.actor)
    return work.scalars(statement.order_by(Appointment.starts_at, Appointment.id).limit(NEXT_STEPS))


def _count_alerts(work: Work, patient_id: str) -> int:
    return int(
        work.scalar(
            sa.select(sa.func.count())
            .select_from(Alert)
            .join(Instruction, Instruction.id == Alert.instruction_id)
            .where(Alert.patient_id == patient_id, IS_UNHANDLED, instruction_opens(work.actor))
        )
    )


def _known_fields(patient: Patient) -> list[KnownField]:
    """The patient's own values in the order of the list above, as far as a message told them."""
    return [
        KnownField(
            label,
            field_words(name, getattr(patient, name)),
            Origin(datetime.fromisoformat(told[0]), told[1], told[2], _corrected(told)),
        )
        for name, label in FIELD_LABELS.items()
        if name in patient.provenance
        for told in [patient.provenance[name]]
    ]


def _corrected(told: Sequence[Any]) -> str:
    """Whose word it is, of a value of the HIS that people put right."""
    mark = mark_of(told)
    return f"{Evidence(mark['by']).label}，{mark['actor']} 更正" if mark else ""
