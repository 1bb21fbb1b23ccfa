"""Whose death a line of a death list tells: ID number and name, or record number, name and birth date. Nothing less.

Whatever is nearly so is never applied: it is a question for a person, with the archives it may mean. So is a line that
fits exactly while something speaks against it: a visit after the day of death, a death that people took back.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import sqlalchemy as sa

from hcrm.archive.batch import values_in
from hcrm.archive.death_list.models import NearReason
from hcrm.archive.models import DeceasedState, IdentifierKind, Patient, PatientIdentifier
from hcrm.archive.reach_models import DeathReport
from hcrm.archive.terms import EncounterStatus
from hcrm.archive.visit_models import Encounter
from hcrm.core.clock import local_date
from hcrm.core.work import Work

_CAME = (EncounterStatus.IN_PROGRESS, EncounterStatus.ON_LEAVE, EncounterStatus.FINISHED)
WITHDRAWN = "死亡名单的导入已撤销"
"""Why a death is taken back together with the list that told it: no person's word against it."""
_WITH_ITS_LIST = (sa.func.coalesce(DeathReport.revoked_reason, "") != WITHDRAWN,)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a line says of the dead. `id_index`: blind index of the ID number."""

    name: str
    id_index: str | None = None
    record_no: str | None = None
    birth_date: date | None = None
    died_on: date | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What the archive knows of somebody a line may mean."""

    id: str
    name: str
    birth_date: date | None = None
    id_indexes: frozenset[str] = frozenset()
    record_nos: frozenset[str] = frozenset()
    deceased: DeceasedState = DeceasedState.ALIVE
    is_revoked: bool = False  # people said that they live after all
    last_visit_on: date | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """Whose death it is; or why a person must say, and who it may be; or nobody's."""

    patient: Known | None = None
    reason: NearReason | None = None
    candidates: tuple[Known, ...] = field(default=())


def judge_claim(claim: Claim, people: Iterable[Known]) -> Judged:
    """The rule itself, pure: `people` are those who share a number, or name and birth date, with the line."""
    fitting: list[Known] = []
    near: dict[str, tuple[NearReason, Known]] = {}
    for one in sorted(people, key=lambda known: known.id):
        word = _compare(claim, one)
        if isinstance(word, NearReason):
            near[one.id] = (word, one)
        elif word:
            fitting.append(one)
    if len(fitting) == 1 and not any(reason is NearReason.NAME for reason, _ in near.values()):
        doubt = _doubt(claim, fitting[0])
        return Judged(fitting[0]) if doubt is None else Judged(None, doubt, (fitting[0],))
    candidates = (*fitting, *(one for _, one in near.values()))
    if not candidates:
        return Judged()
    reason = NearReason.SEVERAL if len(candidates) > 1 else next(iter(near.values()))[0]
    return Judged(None, reason, candidates)


def _compare(claim: Claim, one: Known) -> bool | NearReason:
    """True: narrowly the same; a reason: nearly; False: somebody else."""
    has_name = claim.name == one.name
    has_birth = claim.birth_date is not None and claim.birth_date == one.birth_date
    other_birth = None not in (claim.birth_date, one.birth_date) and not has_birth
    has_id = claim.id_index is not None and claim.id_index in one.id_indexes
    other_id = claim.id_index is not None and bool(one.id_indexes) and not has_id
    has_record = bool(claim.record_no) and claim.record_no in one.record_nos
    if has_id:
        return NearReason.NAME if not has_name else NearReason.CONFLICT if other_birth else True
    if has_record and (has_name or has_birth):
        if not (has_name and has_birth):
            return NearReason.RECORD
        return NearReason.CONFLICT if other_id else True
    return NearReason.NAMESAKE if has_name and has_birth and not other_id else False


def _doubt(claim: Claim, one: Known) -> NearReason | None:
    """What speaks against a death that fits."""
    if one.deceased is DeceasedState.DECEASED:
        return None
    if one.deceased is DeceasedState.DISPUTED:
        return NearReason.DISPUTED
    if one.is_revoked:
        return NearReason.REVOKED
    if claim.died_on and one.last_visit_on and one.last_visit_on > claim.died_on:
        return NearReason.LATER_VISIT
    return None


# ── who may be meant ────────────────────────────────────────────────────────


def judge_claims(work: Work, claims: Sequence[Claim]) -> list[Judged]:
    """Each line judged against the archive as it stands: one query a table, whatever their number."""
    if not claims:
        return []
    by_id, by_record = _owners(work, claims)
    by_birth = _namesakes(work, claims)
    wanted = [
        by_id[claim.id_index or ""]
        | by_record[claim.record_no or ""]
        | (by_birth[claim.name, claim.birth_date] if claim.birth_date else set())
        for claim in claims
    ]
    people = _known(work, set().union(*wanted))
    return [
        judge_claim(claim, [people[key] for key in keys if key in people])
        for claim, keys in zip(claims, wanted, strict=True)
    ]


def _owners(work: Work, claims: Sequence[Claim]) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Who bears these ID numbers, who these record numbers."""
    table = PatientIdentifier
    by_id: dict[str, set[str]] = defaultdict(set)
    by_record: dict[str, set[str]] = defaultdict(set)
    for kind, column, values, found in (
        (IdentifierKind.CITIZEN, table.value_index, {one.id_index for one in claims}, by_id),
        (IdentifierKind.RECORD, table.value, {one.record_no for one in claims if one.record_no}, by_record),
    ):
        rows = work.execute(
            sa.select(column.label("word"), table.patient_id).where(
                values_in(column, values), table.kind == kind, table.ended_at.is_(None)
            )
        )
        for row in rows:
            found[row.word].add(row.patient_id)
    return by_id, by_record


def _namesakes(work: Work, claims: Sequence[Claim]) -> dict[tuple[str, date | None], set[str]]:
    """Who has the same name and birth date. Found by the birth date: thousands may share a name."""
    named = {(one.name, one.birth_date) for one in claims if one.birth_date}
    found: dict[tuple[str, date | None], set[str]] = defaultdict(set)
    if not named:
        return found
    rows = work.execute(
        sa.select(Patient.id, Patient.name, Patient.birth_date).where(
            values_in(Patient.birth_date, {born for _, born in named}),
            (Patient.name + "").in_(sorted({name for name, _ in named})),
        )
    )
    for row in rows:
        found[row.name, row.birth_date].add(row.id)
    return found


def _known(work: Work, ids: set[str]) -> Mapping[str, Known]:
    """What the archive knows of them; merged, voided and test archives are nobody."""
    if not ids:
        return {}
    numbers: dict[str, set[str]] = defaultdict(set)
    records: dict[str, set[str]] = defaultdict(set)
    for row in work.execute(
        sa.select(
            PatientIdentifier.patient_id, PatientIdentifier.kind, PatientIdentifier.value,
            PatientIdentifier.value_index,
        ).where(values_in(PatientIdentifier.patient_id, ids), PatientIdentifier.ended_at.is_(None))
    ):  # fmt: skip
        if row.kind is IdentifierKind.CITIZEN and row.value_index:
            numbers[row.patient_id].add(row.value_index)
        elif row.kind is IdentifierKind.RECORD and row.value:
            records[row.patient_id].add(row.value)
    visits = {
        row.patient_id: local_date(row.at)
        for row in work.execute(
            sa.select(Encounter.patient_id, sa.func.max(Encounter.admitted_at).label("at"))
            .where(
                values_in(Encounter.patient_id, ids), Encounter.admitted_at.is_not(None),
                Encounter.status.in_(_CAME),
            )
            .group_by(Encounter.patient_id)
        )
    }  # fmt: skip
    # A list that was withdrawn and comes again by itself is asked about; a person who takes in another knows.
    is_by_person = not work.actor.id.startswith("system:")
    revoked = set(
        work.scalars(
            sa.select(DeathReport.patient_id).where(
                values_in(DeathReport.patient_id, ids), DeathReport.revoked_at.is_not(None),
                *_WITH_ITS_LIST if is_by_person else (),
            )
        )
    )  # fmt: skip
    rows = work.execute(
        sa.select(Patient.id, Patient.name, Patient.birth_date, Patient.deceased).where(
            values_in(Patient.id, ids), Patient.merged_into_id.is_(None), Patient.is_nullified.is_(False),
            Patient.is_test.is_(False),
        )
    )  # fmt: skip
    return {
        row.id: Known(
            row.id, row.name, row.birth_date, frozenset(numbers[row.id]), frozenset(records[row.id]), row.deceased,
            row.id in revoked, visits.get(row.id),
        )
        for row in rows
    }  # fmt: skip
