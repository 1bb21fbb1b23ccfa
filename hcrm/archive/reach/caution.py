"""What whoever calls a patient, or writes down a call, must see first; the same on every page that offers it.

Nothing here asks who may see the patient: the view came through `archive.queries.get_patient` or an instruction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from hcrm.archive.death import standing_reports
from hcrm.archive.fields.known_profile import Mark, load_profile
from hcrm.archive.models import Allergy, DeceasedState, Patient
from hcrm.archive.reach.contact_stop import live_stops
from hcrm.archive.reach.disclosure import DisclosureMark, disclosure_of
from hcrm.archive.reach.preference import Preference, preferences_of
from hcrm.archive.reach_models import ContactStop
from hcrm.core.clock import local_date
from hcrm.core.work import Work


@dataclass(frozen=True, slots=True)
class Caution:
    """Marks beside the name, and whether a number may be offered at all."""

    is_dead: bool
    stops: Sequence[ContactStop]
    marks: Sequence[Mark]
    disclosure: DisclosureMark
    preference: Preference

    @property
    def is_silent(self) -> bool:
        """Whether nobody is to be called: no number is chosen beforehand, none is offered to be dialled."""
        return self.is_dead or bool(self.stops)

    @property
    def words(self) -> str:
        """Why, in one sentence; empty where one may call."""
        why = ["患者已故"] if self.is_dead else []
        why += [f"{stop.kind.label}：{stop.reason}" for stop in self.stops]
        return "；".join(why)


def caution_of(work: Work, patient: Patient) -> Caution:
    """Death and its doubt, ends of contact, test or deleted archive, allergies, fields that block; a query a table."""
    allergies = work.scalars(
        sa.select(Allergy)
        .where(Allergy.patient_id == patient.id, Allergy.ended_at.is_(None))
        .order_by(Allergy.rank, Allergy.id)
    )
    stops = live_stops(work, patient.id)
    marks = [*_death_marks(work, patient)]
    marks += [
        Mark(f"{stop.kind.label} {local_date(stop.created_at):%m-%d}", "late", stop.reason) for stop in stops
    ]
    if patient.is_test:
        marks.append(Mark("测试患者", "near"))
    if patient.is_nullified:
        marks.append(Mark("档案已作废", "late"))
    return Caution(
        is_dead=patient.deceased is DeceasedState.DECEASED,
        stops=stops,
        marks=[*marks, *load_profile(work, patient, allergies).marks],
        disclosure=disclosure_of(work, [patient.id])[patient.id],
        preference=preferences_of(work, [patient.id])[patient.id],
    )


def _death_marks(work: Work, patient: Patient) -> list[Mark]:
    if patient.deceased is DeceasedState.ALIVE:
        return []
    if patient.deceased is not DeceasedState.DECEASED:
        return [Mark(f"在世情况{patient.deceased.label}", "near")]
    is_doubted = any(report.confirmed_at is None for report in standing_reports(work, [patient.id]))
    return [Mark("已故待核实" if is_doubted else "已故", "late")]
