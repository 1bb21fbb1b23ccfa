"""Writing down what a patient, or the guardian, consents to; reading the whole table of it."""

from collections.abc import Mapping, Sequence
from datetime import date

import sqlalchemy as sa

from hcrm.archive.death import lock_patient
from hcrm.archive.queries import patient_in_scope
from hcrm.archive.reach.consent import is_of_age
from hcrm.archive.reach_models import Consent, ConsentDecision, ContactMeans, ContactPurpose
from hcrm.archive.terms import BY_PEOPLE
from hcrm.archive.timeline import add_entry
from hcrm.audit.service import record_audit
from hcrm.core.clock import local_date
from hcrm.core.errors import HcrmError
from hcrm.core.work import Work

Cell = tuple[ContactPurpose, ContactMeans]
Decisions = Mapping[Cell, ConsentDecision | None]
"""What was decided for a purpose and a means; None: it is unknown again."""


def record_consents(
    work: Work,
    *,
    patient_id: str,
    decisions: Decisions,
    evidence: str,
    given_on: date | None = None,
    expires_on: date | None = None,
    given_by: str = "",
    is_guardian: bool = False,
    text_version: str = "",
    source: str = BY_PEOPLE,
) -> int:
    """Write down what was decided, each in the place of what stood; how many changed.

    Under fourteen years of age only the guardian's consent is taken; a refusal is taken from anybody.
    """
    patient = lock_patient(work, patient_in_scope(work, patient_id, "consent.record").id)
    now = work.clock.now()
    today = local_date(now)
    day = given_on or today
    _require_sound(decisions, evidence, day, expires_on, today)
    is_granted = ConsentDecision.GRANTED in decisions.values()
    if is_granted and not is_guardian and patient.birth_date and not is_of_age(patient.birth_date, today):
        raise HcrmError("consent.guardian", "患者未满 14 周岁，同意须由监护人作出", field="is_guardian")
    standing: dict[Cell, list[Consent]] = {}
    for row in list_consents(work, patient.id, only_live=True):
        standing.setdefault((row.purpose, row.means), []).append(row)
    for cell in decisions:
        for row in standing.get(cell, ()):
            row.ended_at = now
    work.session.flush()
    work.insert(
        Consent,
        [
            {"id": work.new_id(), "patient_id": patient.id, "purpose": purpose, "means": means, "decision": decision,
             "given_by": given_by.strip(), "is_guardian": is_guardian, "evidence": evidence.strip(),
             "text_version": text_version.strip(), "source": source, "given_on": day, "expires_on": expires_on,
             "created_at": now, "actor_id": work.actor.id, "actor_name": work.actor.name, "ended_at": None}
            for (purpose, means), decision in decisions.items()
            if decision is not None
        ],
    )  # fmt: skip
    purposes = "、".join(dict.fromkeys(purpose.label for purpose, _ in decisions))
    add_entry(
        work, patient_id=patient.id, happened_at=now, kind="reach", title=f"接收意愿已更新：{purposes}",
        subject_type="patient", subject_id=patient.id,
    )  # fmt: skip
    record_audit(
        work, action="consent.record", patients=[patient.id], subject_type="patient", subject_id=patient.id,
        detail={"count": len(decisions)},
    )  # fmt: skip
    return len(decisions)


def list_consents(work: Work, patient_id: str, *, only_live: bool = False) -> Sequence[Consent]:
    """What was ever decided, or what stands; the latest first."""
    statement = sa.select(Consent).where(Consent.patient_id == patient_id)
    if only_live:
        statement = statement.where(Consent.ended_at.is_(None))
    return work.scalars(statement.order_by(Consent.created_at.desc(), Consent.id.desc()).limit(200))


def standing_decisions(rows: Sequence[Consent]) -> dict[Cell, Consent]:
    """What stands for each purpose and means; where a merge left two, the stricter."""
    found: dict[Cell, Consent] = {}
    for row in rows:
        before = found.get((row.purpose, row.means))
        if row.ended_at is None and (before is None or before.decision is ConsentDecision.GRANTED):
            found[row.purpose, row.means] = row
    return found


def _require_sound(
    decisions: Decisions, evidence: str, day: date, expires_on: date | None, today: date
) -> None:
    if not decisions:
        raise HcrmError("consent.nothing", "没有改动任何一项", field="form")
    if not evidence.strip():
        raise HcrmError("consent.evidence", "请填写依据，例如 电话告知、签字文书", field="evidence")
    if day > today:
        raise HcrmError("consent.day", "日期不能晚于今天", field="given_on")
    if expires_on is not None and expires_on < today:
        raise HcrmError("consent.expiry", "有效期不能早于今天", field="expires_on")
