"""Reading pairs of archives: the list, its counts, one pair. Both archives must be in the reader's scope."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from hcrm.archive.identity.matching_rule import EvidenceLine, read_evidence
from hcrm.archive.identity.models import IdentityPair, IdentityScan, PairDecision, PairState
from hcrm.archive.models import Patient, Sex
from hcrm.archive.queries import record_list_read
from hcrm.archive.scope import patient_condition
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.errors import DeniedError, NotFoundError
from hcrm.core.work import Work
from hcrm.web.paging import Page, keyset_page

_LOW, _HIGH = aliased(Patient), aliased(Patient)


@dataclass(frozen=True, slots=True)
class PairLine:
    """One line of the list."""

    id: str
    score: int
    state: PairState
    names: tuple[str, str]
    sexes: tuple[Sex, Sex]
    births: tuple[date | None, date | None]
    evidence: tuple[EvidenceLine, ...]
    note: str | None
    decided_by: str | None
    decided_at: datetime | None
    found_at: datetime


@dataclass(frozen=True, slots=True)
class PairAsShown:
    """One pair with both archives."""

    pair: IdentityPair
    low: Patient
    high: Patient
    evidence: tuple[EvidenceLine, ...]

    @property
    def merged_into(self) -> str | None:
        """The survivor, where one of the two was merged: with the other, or with somebody else."""
        return self.low.merged_into_id or self.high.merged_into_id

    @property
    def is_hidden(self) -> bool:
        """Whether the sender of one of them has deleted it."""
        return self.low.is_nullified or self.high.is_nullified

    @property
    def is_test(self) -> bool:
        """Whether one of them is a test patient's: nobody's real record may hold what a test wrote."""
        return self.low.is_test or self.high.is_test


def list_pairs(
    work: Work, *, state: PairState, at_least: int = 0, key: str | None = None, size: int = limits.PAGE_SIZE
) -> Page[PairLine]:
    """The pairs of a state, those with the most evidence first."""
    statement = _visible(
        work,
        sa.select(
            IdentityPair, _LOW.name.label("low_name"), _HIGH.name.label("high_name"), _LOW.sex.label("low_sex"),
            _HIGH.sex.label("high_sex"), _LOW.birth_date.label("low_birth"), _HIGH.birth_date.label("high_birth"),
        ),
        state,
    ).where(IdentityPair.score >= at_least)  # fmt: skip
    order = (IdentityPair.score.desc(), IdentityPair.id.desc())
    page = keyset_page(work, statement, order=order, key=key, size=size)
    lines = [
        PairLine(
            id=pair.id, score=pair.score, state=pair.state, names=(row.low_name, row.high_name),
            sexes=(row.low_sex, row.high_sex), births=(row.low_birth, row.high_birth),
            evidence=read_evidence(pair.evidence), note=pair.note, decided_by=pair.decided_by,
            decided_at=pair.decided_at, found_at=pair.found_at,
        )
        for row in page.items
        for pair in [row[0]]
    ]  # fmt: skip
    record_list_read(
        work, "identity.list", [key for row in page.items for key in (row[0].low_id, row[0].high_id)]
    )
    return Page(items=lines, next_key=page.next_key, previous_key=page.previous_key)


def count_pairs(work: Work, *, state: PairState, at_least: int = 0) -> int:
    """How many pairs of a state the reader may see."""
    statement = _visible(work, sa.select(sa.func.count()).select_from(IdentityPair), state)
    return int(work.scalar(statement.where(IdentityPair.score >= at_least)))


def get_pair(work: Work, pair_id: str, *, action: str) -> PairAsShown:
    """One pair; outside the scope it is as if there were none, and the attempt is noted."""
    pair = work.get(IdentityPair, pair_id)
    work.session.refresh(pair)
    low, high = (work.get(Patient, key) for key in (pair.low_id, pair.high_id))
    for patient in (low, high):
        work.session.refresh(patient)
        condition = patient_condition(work.actor, patient.merged_into_id or patient.id)
        if condition is not None and not work.scalar(sa.select(condition)):
            raise DeniedError(
                action, subject_type="identity_pair", subject_id=pair_id, patients=(patient.id,)
            )
    return PairAsShown(pair, low, high, read_evidence(pair.evidence))


def read_pair(work: Work, pair_id: str) -> PairAsShown:
    """The same for a page: the read of both is noted."""
    shown = get_pair(work, pair_id, action="identity.read")
    record_audit(
        work, action="identity.read", patients=[shown.low.id, shown.high.id], subject_type="identity_pair",
        subject_id=pair_id,
    )  # fmt: skip
    return shown


def pair_decisions(work: Work, pair_id: str) -> list[PairDecision]:
    """What was decided of a pair, the latest first."""
    return list(
        work.scalars(
            sa.select(PairDecision)
            .where(PairDecision.pair_id == pair_id)
            .order_by(PairDecision.decided_at.desc(), PairDecision.id.desc())
        )
    )


def pair_of(work: Work, one: str, other: str) -> IdentityPair:
    """The pair of two archives."""
    low, high = sorted((one, other))
    found = work.scalar(
        sa.select(IdentityPair).where(IdentityPair.low_id == low, IdentityPair.high_id == high)
    )
    if found is None:
        raise NotFoundError
    return found  # type: ignore[no-any-return]


def open_pairs_of(work: Work, patient_id: str) -> list[tuple[str, str]]:
    """Pairs of a patient that wait for somebody: key and the other's name."""
    rows: list[tuple[str, str]] = []
    for mine, other in (
        (IdentityPair.low_id, IdentityPair.high_id),
        (IdentityPair.high_id, IdentityPair.low_id),
    ):
        statement = (
            sa.select(IdentityPair.id, Patient.name)
            .join(Patient, Patient.id == other)
            .where(
                mine == patient_id, IdentityPair.state.in_((PairState.OPEN, PairState.NEEDS_DATA)),
                Patient.merged_into_id.is_(None), ~Patient.is_nullified,
            )
            .order_by(IdentityPair.score.desc())
            .limit(5)
        )  # fmt: skip
        condition = patient_condition(work.actor, Patient.id)
        rows += [
            (row.id, row.name)
            for row in work.execute(statement if condition is None else statement.where(condition))
        ]
    return rows


def last_scans(work: Work) -> dict[str, IdentityScan]:
    """How far the search has come, by kind."""
    return {scan.kind: scan for scan in work.all(IdentityScan)}


def _visible(work: Work, statement: Any, state: PairState) -> Any:
    """Pairs of two archives that stand; of one that is merged already only its own pair, among the merged."""
    statement = (
        statement.join(_LOW, _LOW.id == IdentityPair.low_id)
        .join(_HIGH, _HIGH.id == IdentityPair.high_id)
        .where(IdentityPair.state == state)
    )
    if state is not PairState.MERGED:
        statement = statement.where(
            _LOW.merged_into_id.is_(None),
            _HIGH.merged_into_id.is_(None),
            ~_LOW.is_nullified,
            ~_HIGH.is_nullified,
            ~_LOW.is_test,
            ~_HIGH.is_test,
        )
    for side in (_LOW, _HIGH):
        condition = patient_condition(work.actor, sa.func.coalesce(side.merged_into_id, side.id))
        if condition is not None:
            statement = statement.where(condition)
    return statement
