"""Sorting visits by the rules in force: each as it ends, the others as they come and whenever they change."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from hcrm.archive.events import EncounterDischarged, EncounterRevised, PatientsTouched
from hcrm.archive.visit_models import Encounter, EncounterStatus
from hcrm.audit.service import record_audit
from hcrm.centre.classification_rules import AxisRules, Hit, classify
from hcrm.centre.events import EncounterClassified, EncounterReclassified
from hcrm.centre.models import Classification
from hcrm.centre.published import published_rules
from hcrm.centre.stays import HAPPENED, Stay, load_stays, load_visits
from hcrm.core import limits
from hcrm.core.work import Row, Work
from hcrm.segments.reactions import follow_facts

_Said = tuple[str | None, str, str, int]  # where the stay is, axis, class, rank
_OPEN = (EncounterStatus.IN_PROGRESS, EncounterStatus.ON_LEAVE)
SWEPT = timedelta(days=2)
"""Visits changed longer ago were swept then; a re-run sorts all of them."""
_CURRENT = sa.exists().where(
    Classification.encounter_id == Encounter.id,
    sa.or_(~Classification.is_provisional, Classification.classified_at >= Encounter.updated_at),
)


def classify_encounters(
    work: Work,
    facts: Sequence[EncounterDischarged | EncounterRevised],
    *,
    home_region: str | None = None,
) -> int:
    """Sort the stays these facts are about, in place of what was said before; how many were sorted.

    A stay whose discharge no longer stands is left alone: its cancel has its own handler.
    """
    stays = load_stays(work, facts, home_region=home_region)
    standing = _standing(work, [stay.encounter_id for stay in stays])
    known = {encounter_id for encounter_id, is_provisional in standing.items() if not is_provisional}
    put_classes(work, stays, published_rules(work), replace=standing.keys())
    for stay in stays:
        event = EncounterReclassified if stay.encounter_id in known else EncounterClassified
        work.emit(event(encounter_id=stay.encounter_id, trigger_id=stay.trigger_id))
    if stays:
        record_audit(work, action="encounter.classify", patients=[stay.patient_id for stay in stays])
    return len(stays)


def follow_touched(work: Work, facts: Sequence[PatientsTouched], *, home_region: str | None = None) -> int:
    """Sort the visits of these patients that came or changed, then make their flat rows anew; how many were written.

    One handler and not two: the rows name the classes, and would have to be made twice. A visit that goes on is looked
    at too where only its patient changed: an address, a birth date.
    """
    patients = sorted({each for fact in facts for each in fact.patient_ids})
    for start in range(0, len(patients), limits.PROFILE_BATCH):
        theirs = work.among(Encounter.patient_id, patients[start : start + limits.PROFILE_BATCH])
        read = work.execute(_changed(theirs)).all()
        for first in range(0, len(read), limits.CLASSIFY_BATCH):
            _sort(work, read[first : first + limits.CLASSIFY_BATCH], home_region)
        going_on = work.execute(_going_on(theirs)).all()
        for first in range(0, len(going_on), limits.CLASSIFY_BATCH):
            _sort(work, going_on[first : first + limits.CLASSIFY_BATCH], home_region, only_others=True)
        _place_again(work, theirs)
    return follow_facts(work, facts)


def sort_visits(work: Work, *, home_region: str | None = None) -> int:
    """Sort what changed lately and no fact has brought here; how many. For a job, that nothing stays behind.

    Called again until it answers 0.
    """
    lately = Encounter.updated_at >= work.clock.now() - SWEPT
    patients = _sort(work, work.execute(_changed(lately).limit(limits.CLASSIFY_BATCH)).all(), home_region)
    if patients:
        work.emit(PatientsTouched(patient_ids=sorted(set(patients))))
    return len(patients)


def _changed(where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Visits that no discharge has brought here and that changed since they were sorted."""
    columns: Any = (Encounter.id, Encounter.updated_at)
    return (
        sa.select(*columns)
        .where(where, Encounter.status.in_(HAPPENED), Encounter.merged_into_id.is_(None), ~_CURRENT)
        .order_by(Encounter.updated_at, Encounter.id)
    )


def _going_on(where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Visits that nobody has ended and that did not change themselves since they were sorted."""
    columns: Any = (Encounter.id, Encounter.updated_at)
    return (
        sa.select(*columns)
        .where(where, Encounter.status.in_(_OPEN), Encounter.merged_into_id.is_(None), _CURRENT)
        .order_by(Encounter.id)
    )


def _sort(
    work: Work, read: Sequence[Any], home_region: str | None, *, only_others: bool = False
) -> list[str]:
    """Sort visits by what is known of them so far; the patient of each that was. `only_others`: leave equal ones be.

    Nothing is issued by it, and the discharge that comes later is still the first word. The classes are as old as the
    visit was when it was read: what is told meanwhile sorts it again.
    """
    times = {row.id: row.updated_at for row in read}
    stays = load_visits(work, times.keys(), home_region=home_region) if times else []
    standing = _standing(work, times.keys()) if stays else {}
    # Locked only now: the discharge of one may have been sorted since it was read.
    stays = [stay for stay in stays if standing.get(stay.encounter_id, True)]
    rules = published_rules(work)
    if only_others:
        are = _class_codes(work, times.keys())
        stays = [stay for stay in stays if _codes_of(stay, rules) != are.get(stay.encounter_id, set())]
    if stays:
        known = {stay.encounter_id for stay in stays} & standing.keys()
        put_classes(work, stays, rules, replace=known, is_provisional=True, at=times)
        record_audit(work, action="encounter.classify", patients=sorted({stay.patient_id for stay in stays}))
    return [stay.patient_id for stay in stays]


def _place_again(work: Work, where: sa.ColumnElement[bool]) -> None:
    """Let the classes of these visits stand where the visits are, whatever else keeps them as they were.

    Those of a discharge that was taken back stand until the next one; an archive that is deleted is not sorted again,
    and what was told of its visits meanwhile is first seen here once it is restored.
    """
    place = (
        sa.select(Encounter.department_id)
        .where(Encounter.id == Classification.encounter_id)
        .scalar_subquery()
    )
    work.execute(
        sa.update(Classification)
        .where(
            Classification.encounter_id.in_(sa.select(Encounter.id).where(where)),
            Classification.department_id.is_distinct_from(place),
        )
        .values(department_id=place)
        .execution_options(synchronize_session=False)
    )  # fmt: skip


def put_classes(
    work: Work, stays: Sequence[Stay], rules: Sequence[AxisRules], *, replace: Collection[str],
    is_provisional: bool = False, at: Mapping[str, datetime] | None = None,
) -> None:  # fmt: skip
    """Write the classes of these stays; `replace` are the stays that have some, `at` since when each is so (now)."""
    now = work.clock.now()
    rows: list[Row] = [
        {"id": work.new_id(), "encounter_id": stay.encounter_id, "department_id": stay.unit_id,
         "axis": hit.axis.value, "code": hit.code, "label": hit.label, "rank": rank,
         "rule_code": hit.rule_code, "rule_version": hit.rule_version,
         "is_sensitive": hit.is_sensitive, "is_provisional": is_provisional,
         "classified_at": at[stay.encounter_id] if at else now}
        for stay in stays
        for rank, hit in ranked(classify(stay.facts, rules))
    ]  # fmt: skip
    clear_classes(work, replace)
    work.insert(Classification, rows)


def clear_classes(work: Work, encounter_ids: Collection[str]) -> None:
    """Take the classes of these stays away."""
    if encounter_ids:
        work.execute(
            sa.delete(Classification)
            .where(Classification.encounter_id.in_(sorted(encounter_ids)))
            .execution_options(synchronize_session=False)
        )


def ranked(hits: Sequence[Hit]) -> list[tuple[int, Hit]]:
    """Each hit with its rank within its axis: 0 for the main one, the others after it in their order."""
    others = 0
    found = []
    for hit in hits:
        others = 0 if hit.is_main else others + 1
        found.append((others, hit))
    return found


def _standing(work: Work, encounter_ids: Collection[str]) -> Mapping[str, bool]:
    """The stays that are sorted, and whether provisionally."""
    columns: Any = (Classification.encounter_id, Classification.is_provisional)
    rows = work.execute(sa.select(*columns).where(Classification.encounter_id.in_(encounter_ids)))
    return {row.encounter_id: row.is_provisional for row in rows}


def _class_codes(work: Work, encounter_ids: Collection[str]) -> Mapping[str, set[_Said]]:
    """What the classes of each stay say, as they stand."""
    columns: Any = (
        Classification.encounter_id, Classification.department_id, Classification.axis, Classification.code,
        Classification.rank,
    )  # fmt: skip
    found: dict[str, set[_Said]] = {}
    for row in work.execute(sa.select(*columns).where(Classification.encounter_id.in_(encounter_ids))):
        found.setdefault(row.encounter_id, set()).add((row.department_id, row.axis, row.code, row.rank))
    return found


def _codes_of(stay: Stay, rules: Sequence[AxisRules]) -> set[_Said]:
    """The same, as the rules say it."""
    hits = ranked(classify(stay.facts, rules))
    return {(stay.unit_id, hit.axis.value, hit.code, rank) for rank, hit in hits}
