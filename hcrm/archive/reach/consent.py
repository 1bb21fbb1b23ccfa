"""The one gate every sender asks: whether a patient may be contacted for this purpose, by this way, now.

Care, appointments and the hospital's own survey of satisfaction rest on the treatment (PIPL art. 13; why the survey
does: docs/privacy.md): they need no consent and end with a refusal of that very purpose. Everything else needs a
consent that stands. Under fourteen the guardian decides (art. 31). What is not known is no (assurance section 0, rule
16).
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from hcrm.archive.death_list.state import is_sending_held
from hcrm.archive.models import DeceasedState, Patient
from hcrm.archive.reach_models import (
    Consent,
    ConsentDecision,
    ContactMeans,
    ContactPurpose,
    ContactStop,
    StopKind,
)
from hcrm.core.clock import local_date
from hcrm.core.db import LabelledEnum
from hcrm.core.work import Work

WITHOUT_CONSENT = frozenset({ContactPurpose.CARE, ContactPurpose.APPOINTMENT, ContactPurpose.SATISFACTION})
"""Purposes that follow from the treatment: allowed unless refused."""
SENT = frozenset({ContactMeans.SMS, ContactMeans.WECHAT, ContactMeans.LETTER})
"""Means a machine sends by: they wait for the day's death list. Whoever calls or visits sees the page first."""
ADULT_CONSENT = 14
"""Age in full years from which a patient's own consent counts (PIPL art. 31)."""


class Barrier(LabelledEnum):
    """Why a patient may not be contacted; the first that holds, in this order."""

    UNKNOWN_PATIENT = "unknown_patient", "档案不存在"
    MERGED = "merged", "档案已合并"
    NULLIFIED = "nullified", "档案已作废"
    TEST = "test", "测试患者"
    DECEASED = "deceased", "患者已故"
    DISPUTED = "disputed", "是否在世存疑"
    TERMINATED = "terminated", "已终止联系"
    DO_NOT_CONTACT = "do_not_contact", "请勿联系"
    DEATH_LIST = "death_list", "今天的死亡名单还没有应用"
    REFUSED = "refused", "已拒绝"
    OPTED_OUT = "opted_out", "已退订"
    EXPIRED = "expired", "同意已过期"
    GUARDIAN = "guardian", "须监护人同意"
    NO_CONSENT = "no_consent", "没有同意记录"


@dataclass(frozen=True, slots=True)
class GatePatient:
    """What the gate knows of a patient."""

    is_merged: bool = False
    is_nullified: bool = False
    is_test: bool = False
    deceased: DeceasedState = DeceasedState.ALIVE
    birth_date: date | None = None
    stops: frozenset[StopKind] = frozenset()


@dataclass(frozen=True, slots=True)
class GateConsent:
    """What the gate knows of a consent that stands for the purpose and the means asked about."""

    decision: ConsentDecision
    is_guardian: bool = False
    expires_on: date | None = None


def may_contact(
    work: Work, *, patient_ids: Collection[str], purpose: ContactPurpose, channel: ContactMeans
) -> dict[str, Barrier | None]:
    """For each patient None where they may be contacted, else why not. One query a table, whatever the number."""
    purpose, channel = (
        ContactPurpose(purpose),
        ContactMeans(channel),
    )  # an unknown word is refused, not let through
    ids = sorted(set(patient_ids))
    patients, consents = _load_patients(work, ids), _load_consents(work, ids, purpose, channel)
    today = local_date(work.clock.now())
    is_held = channel in SENT and is_sending_held(work)
    return {
        key: judge(patients.get(key), consents.get(key, ()), purpose=purpose, today=today, is_held=is_held)
        for key in ids
    }


def judge(
    patient: GatePatient | None,
    consents: Sequence[GateConsent],
    *,
    purpose: ContactPurpose,
    today: date,
    is_held: bool = False,
) -> Barrier | None:
    """The rule itself, pure: None, or the first barrier. `is_held`: nothing is sent to anybody for now."""
    if patient is None:
        return Barrier.UNKNOWN_PATIENT
    barriers = (
        (patient.is_merged, Barrier.MERGED),
        (patient.is_nullified, Barrier.NULLIFIED),
        (patient.is_test, Barrier.TEST),
        (patient.deceased is DeceasedState.DECEASED, Barrier.DECEASED),
        (patient.deceased is not DeceasedState.ALIVE, Barrier.DISPUTED),
        (StopKind.TERMINATED in patient.stops, Barrier.TERMINATED),
        (bool(patient.stops), Barrier.DO_NOT_CONTACT),
        (is_held, Barrier.DEATH_LIST),
    )
    standing = next((barrier for holds, barrier in barriers if holds), None)
    return standing or _judge_consents(patient, consents, purpose, today)


def _judge_consents(
    patient: GatePatient, consents: Sequence[GateConsent], purpose: ContactPurpose, today: date
) -> Barrier | None:
    """The strictest word counts: of two archives that were merged both still stand."""
    decisions = {consent.decision for consent in consents}
    if ConsentDecision.REFUSED in decisions:
        return Barrier.REFUSED
    if ConsentDecision.OPTED_OUT in decisions:
        return Barrier.OPTED_OUT
    if purpose in WITHOUT_CONSENT:
        return None
    granted = [consent for consent in consents if consent.decision is ConsentDecision.GRANTED]
    if not granted:
        return Barrier.NO_CONSENT
    granted = [consent for consent in granted if consent.expires_on is None or consent.expires_on >= today]
    if not granted:
        return Barrier.EXPIRED
    is_adult = is_of_age(patient.birth_date, today)
    return None if any(is_adult or consent.is_guardian for consent in granted) else Barrier.GUARDIAN


def is_of_age(born: date | None, day: date) -> bool:
    """Whether the patient's own consent counts; of one whose birth date nobody knows it does not."""
    if born is None:
        return False
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day)) >= ADULT_CONSENT


def _load_patients(work: Work, ids: Sequence[str]) -> dict[str, GatePatient]:
    stops: dict[str, set[StopKind]] = defaultdict(set)
    for row in work.execute(
        sa.select(ContactStop.patient_id, ContactStop.kind).where(
            work.among(ContactStop.patient_id, ids), ContactStop.ended_at.is_(None)
        )
    ):
        stops[row.patient_id].add(row.kind)
    rows: Sequence[Any] = work.execute(
        sa.select(
            Patient.id,
            Patient.merged_into_id,
            Patient.is_nullified,
            Patient.is_test,
            Patient.deceased,
            Patient.birth_date,
        ).where(work.among(Patient.id, ids))
    ).all()
    return {
        row.id: GatePatient(
            is_merged=row.merged_into_id is not None, is_nullified=row.is_nullified, is_test=row.is_test,
            deceased=row.deceased, birth_date=row.birth_date, stops=frozenset(stops.get(row.id, ())),
        )
        for row in rows
    }  # fmt: skip


def _load_consents(
    work: Work, ids: Sequence[str], purpose: ContactPurpose, means: ContactMeans
) -> dict[str, list[GateConsent]]:
    found: dict[str, list[GateConsent]] = defaultdict(list)
    for row in work.execute(
        sa.select(Consent.patient_id, Consent.decision, Consent.is_guardian, Consent.expires_on).where(
            work.among(Consent.patient_id, ids),
            Consent.purpose == purpose,
            Consent.means == means,
            Consent.ended_at.is_(None),
        )
    ):
        found[row.patient_id].append(GateConsent(row.decision, row.is_guardian, row.expires_on))
    return found


def judge_all(work: Work, patient_id: str) -> dict[tuple[ContactPurpose, ContactMeans], Barrier | None]:
    """The gate's answer for every purpose and means of one patient, for their page."""
    patient = _load_patients(work, [patient_id]).get(patient_id)
    rows = work.execute(
        sa.select(
            Consent.purpose, Consent.means, Consent.decision, Consent.is_guardian, Consent.expires_on
        ).where(Consent.patient_id == patient_id, Consent.ended_at.is_(None))
    )
    found: dict[tuple[ContactPurpose, ContactMeans], list[GateConsent]] = defaultdict(list)
    for row in rows:
        found[row.purpose, row.means].append(GateConsent(row.decision, row.is_guardian, row.expires_on))
    today, is_held = local_date(work.clock.now()), is_sending_held(work)
    return {
        (purpose, means): judge(
            patient, found.get((purpose, means), ()), purpose=purpose, today=today,
            is_held=is_held and means in SENT,
        )
        for purpose in ContactPurpose
        for means in ContactMeans
    }  # fmt: skip
