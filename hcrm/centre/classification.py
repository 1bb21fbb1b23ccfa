"""Sorting discharged stays by the rules in force."""

from collections.abc import Sequence

import sqlalchemy as sa

from hcrm.archive.events import EncounterDischarged, EncounterRevised
from hcrm.audit.service import record_audit
from hcrm.centre.classification_rules import Hit, classify
from hcrm.centre.events import EncounterClassified, EncounterReclassified
from hcrm.centre.models import Classification
from hcrm.centre.published import published_rules
from hcrm.centre.stays import load_stays
from hcrm.core.work import Work


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
    known = set(
        work.scalars(
            sa.select(Classification.encounter_id).where(
                Classification.encounter_id.in_([stay.encounter_id for stay in stays])
            )
        )
    )
    rules = published_rules(work)
    now = work.clock.now()
    rows = [
        {"id": work.new_id(), "encounter_id": stay.encounter_id, "axis": hit.axis.value, "code": hit.code,
         "label": hit.label, "rank": rank, "rule_code": hit.rule_code, "rule_version": hit.rule_version,
         "is_sensitive": hit.is_sensitive, "classified_at": now}
        for stay in stays
        for rank, hit in _ranked(classify(stay.facts, rules))
    ]  # fmt: skip
    if known:
        work.execute(
            sa.delete(Classification)
            .where(Classification.encounter_id.in_(sorted(known)))
            .execution_options(synchronize_session=False)
        )
    work.insert(Classification, rows)
    for stay in stays:
        event = EncounterReclassified if stay.encounter_id in known else EncounterClassified
        work.emit(event(encounter_id=stay.encounter_id, trigger_id=stay.trigger_id))
    if stays:
        record_audit(work, action="encounter.classify", patients=[stay.patient_id for stay in stays])
    return len(stays)


def _ranked(hits: Sequence[Hit]) -> list[tuple[int, Hit]]:
    """Each hit with its rank within its axis: 0 for the main one, the others after it in their order."""
    others = 0
    ranked = []
    for hit in hits:
        others = 0 if hit.is_main else others + 1
        ranked.append((others, hit))
    return ranked
