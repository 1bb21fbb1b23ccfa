"""Who is who, beside a patient's record: numbers, merges that can be undone, links, mother and children."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from hcrm.archive.identity.queries import open_pairs_of
from hcrm.archive.models import (
    IdentifierKind,
    LinkKind,
    Patient,
    PatientIdentifier,
    PatientLink,
    PatientMerge,
)
from hcrm.archive.queries import record_list_read
from hcrm.archive.scope import patient_condition
from hcrm.core.work import Work
from hcrm.inbox.models import ApplicationState, InboxApplication


@dataclass(frozen=True, slots=True)
class Linked:
    """Archives that hang together with the one shown: those in the reader's scope, and how many more there are."""

    rows: Sequence[sa.Row[Any]]  # id, name, birth_date
    outside: int


@dataclass(frozen=True, slots=True)
class Identity:
    """What the panel 身份 shows."""

    numbers: Sequence[PatientIdentifier]  # that name the patient today
    former: Sequence[PatientIdentifier]  # replaced, or of archives merged into this one
    merges: Sequence[sa.Row[Any]]  # id, merged_at, source, name
    left: int  # what came while two were one, still to be looked through
    left_merge: str | None  # the merge they are listed on
    same: Linked  # who may be the same person
    mothers: Linked
    children: Linked
    pairs: Sequence[tuple[str, str]]  # key and name of archives that may be the same person's
    conflicts: Sequence[int]  # parked messages that speak of somebody else under this number


def load_identity(work: Work, patient: Patient) -> Identity:
    """Everything of the panel; a patient has few of each. That other archives were named is noted."""
    numbers = work.scalars(
        sa.select(PatientIdentifier)
        .where(
            PatientIdentifier.patient_id == patient.id,
            PatientIdentifier.kind == IdentifierKind.RECORD,
            PatientIdentifier.ended_at.is_(None),
        )
        .order_by(PatientIdentifier.id)
    )
    undone = [
        row
        for row in work.execute(
            sa.select(PatientMerge.id, PatientMerge.left)
            .where(PatientMerge.survivor_id == patient.id, PatientMerge.undone_at.is_not(None))
            .order_by(PatientMerge.id)
        )
        if row.left
    ]
    same = _linked(work, patient, LinkKind.SAME_PERSON)
    mothers = _linked(work, patient, LinkKind.MOTHER, mine=True)
    children = _linked(work, patient, LinkKind.MOTHER, mine=False)
    if named := [row.id for linked in (same, mothers, children) for row in linked.rows]:
        record_list_read(work, "identity.links", named, detail={"of": patient.id})
    return Identity(
        numbers=[row for row in numbers if row.retired_at is None and row.replaced_at is None],
        former=[row for row in numbers if row.retired_at is not None or row.replaced_at is not None],
        merges=work.execute(
            sa.select(PatientMerge.id, PatientMerge.merged_at, PatientMerge.source, Patient.name)
            .join(Patient, Patient.id == PatientMerge.merged_id)
            .where(PatientMerge.survivor_id == patient.id, PatientMerge.undone_at.is_(None))
            .order_by(PatientMerge.merged_at.desc())
        ).all(),
        left=sum(len(keys) for row in undone for keys in row.left.values()),
        left_merge=undone[0].id if undone else None,
        same=same,
        mothers=mothers,
        children=children,
        pairs=open_pairs_of(work, patient.id) if work.actor.may("identity.decide") else (),
        conflicts=work.scalars(
            sa.select(InboxApplication.seq)
            .where(
                InboxApplication.became_patient_id == patient.id,
                InboxApplication.state == ApplicationState.PARKED,
                InboxApplication.reason == "identity_conflict",
            )
            .order_by(InboxApplication.seq.desc())
            .limit(5)
        ),
    )


def _linked(work: Work, patient: Patient, kind: LinkKind, *, mine: bool | None = None) -> Linked:
    """The other side of the patient's links: those it was told with, those that were told with it, or both."""
    ways = {
        True: (PatientLink.patient_id, PatientLink.other_id),
        False: (PatientLink.other_id, PatientLink.patient_id),
    }
    scope = patient_condition(work.actor, Patient.id)
    found: list[sa.Row[Any]] = []
    for is_mine, (here, there) in ways.items():
        if mine in (None, is_mine):
            found += work.execute(
                sa.select(
                    Patient.id,
                    Patient.name,
                    Patient.birth_date,
                    (sa.true() if scope is None else scope).label("in_scope"),
                )
                .join(PatientLink, there == Patient.id)
                .where(here == patient.id, PatientLink.kind == kind, PatientLink.ended_at.is_(None))
                .order_by(Patient.id)
            ).all()
    rows = [row for row in found if row.in_scope]
    return Linked(rows, len(found) - len(rows))
