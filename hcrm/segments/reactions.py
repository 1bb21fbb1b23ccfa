"""What the flat rows follow: facts of the archive and of the centre, by the keys they name."""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from hcrm.archive.visit_models import Encounter
from hcrm.core import limits
from hcrm.core.events import Fact
from hcrm.core.work import Work
from hcrm.directory.events import StaffMoved
from hcrm.segments.models import StayProfile
from hcrm.segments.profile import refresh_profiles

_PATIENT_KEYS = ("patient_id", "survivor_id", "merged_id", "from_patient_id", "to_patient_id")


def follow_facts(work: Work, facts: Sequence[Fact]) -> int:
    """Make the rows anew of every patient these facts are about; how many rows were written."""
    patients = {key for fact in facts for key in _patients_of(fact)}
    stays = sorted({key for fact in facts if (key := getattr(fact, "encounter_id", None))})
    if stays:
        patients |= set(work.scalars(sa.select(Encounter.patient_id).where(work.among(Encounter.id, stays))))
    ids = sorted(patients)
    batches = (
        ids[start : start + limits.PROFILE_BATCH] for start in range(0, len(ids), limits.PROFILE_BATCH)
    )
    return sum(refresh_profiles(work, batch) for batch in batches)


def follow_staff(work: Work, facts: Sequence[StaffMoved]) -> None:
    """Stays of merged or parted staff, in one statement: nothing else of the row hangs on who it is."""
    named = sorted({key for fact in facts for key in fact.practitioner_ids})
    attending = sa.select(sa.func.coalesce(Encounter.attending_id, "")).where(Encounter.id == StayProfile.id)
    work.execute(
        sa.update(StayProfile)
        .where(StayProfile.attending_id.in_(named))
        .values(attending_id=attending.scalar_subquery())
    )


def _patients_of(fact: Any) -> Iterable[str]:
    yield from getattr(fact, "patient_ids", ())
    for name in _PATIENT_KEYS:
        if key := getattr(fact, name, None):
            yield key
