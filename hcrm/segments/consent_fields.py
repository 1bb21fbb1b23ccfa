"""What a segment may ask of consents: what was said, and whom the gate of every sender lets through.

`consent.may_…` is `hcrm.archive.reach.consent.judge` as a condition in SQL: a test holds the two equal. A list by it is
a list of today; whoever sends asks the gate again.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from hcrm.archive.reach.consent import ADULT_CONSENT, WITHOUT_CONSENT
from hcrm.archive.reach_models import Consent, ConsentDecision, ContactMeans, ContactPurpose, ContactStop
from hcrm.archive.terms import DeceasedState, StopKind
from hcrm.core.segment import (
    Asked,
    Condition,
    FieldKind,
    Operator,
    SegmentField,
    Subject,
    by_choice,
    by_day,
    by_yes_no,
    choices_of,
    years_before,
)
from hcrm.core.work import Work
from hcrm.segments.fields import PATIENT
from hcrm.segments.models import PatientProfile

P = PatientProfile
CONSENT = Subject("consent", "接收意愿", Consent.patient_id, Consent.ended_at.is_(None))
STOP = Subject("stop", "终止联系", ContactStop.patient_id, ContactStop.ended_at.is_(None))
_AGAINST = (ConsentDecision.REFUSED, ConsentDecision.OPTED_OUT)
K = FieldKind


def consent_fields(_work: Work) -> Sequence[SegmentField]:
    """Fields of consents and of ended contact."""
    return FIELDS


def may_be_contacted(purpose: ContactPurpose, means: ContactMeans, asked: Asked) -> sa.ColumnElement[bool]:
    """Whom the gate lets through, of listed patients: no archive that was merged, voided or is a test."""
    parts = [
        P.deceased == DeceasedState.ALIVE.value,
        P.id.not_in(sa.select(ContactStop.patient_id).where(ContactStop.ended_at.is_(None))),
        P.id.not_in(_said(purpose, means, Consent.decision.in_(_AGAINST))),
    ]
    if purpose not in WITHOUT_CONSENT:
        lasts = sa.or_(Consent.expires_on.is_(None), Consent.expires_on >= asked.today)
        granted = (Consent.decision == ConsentDecision.GRANTED, lasts)
        own = sa.and_(
            P.birth_on <= years_before(asked.today, ADULT_CONSENT), P.id.in_(_said(purpose, means, *granted))
        )
        parts.append(sa.or_(own, P.id.in_(_said(purpose, means, *granted, Consent.is_guardian))))
    return sa.and_(*parts)


def _said(purpose: ContactPurpose, means: ContactMeans, *conditions: Any) -> sa.Select[Any]:
    standing = (Consent.ended_at.is_(None), Consent.purpose == purpose, Consent.means == means)
    return sa.select(Consent.patient_id).where(*standing, *conditions)


def _by_gate(purpose: ContactPurpose) -> Condition:
    def condition(asked: Asked) -> sa.ColumnElement[bool]:
        if asked.operator in (Operator.KNOWN, Operator.UNKNOWN):
            said = P.id.in_(
                sa.select(Consent.patient_id).where(Consent.ended_at.is_(None), Consent.purpose == purpose)
            )
            return said if asked.operator is Operator.KNOWN else sa.not_(said)
        wanted = [means for means in ContactMeans if means.value in asked.values]
        one_of = sa.or_(sa.false(), *(may_be_contacted(purpose, means, asked) for means in wanted))
        return one_of if asked.operator is Operator.IN else sa.not_(sa.func.coalesce(one_of, sa.false()))

    return condition


FIELDS: tuple[SegmentField, ...] = (
    *(
        SegmentField(f"consent.may_{purpose.value}", f"可联系 · {purpose.label}", PATIENT, K.CHOICE, _by_gate(purpose),
                     choices_of(ContactMeans), hint="与发送前的检查相同：在世、未终止、未拒绝，须同意的已同意")
        for purpose in ContactPurpose
    ),
    SegmentField("consent.any", "有意愿记录", CONSENT, K.YES_NO),
    SegmentField("consent.purpose", "用途", CONSENT, K.CHOICE, by_choice(Consent.purpose), choices_of(ContactPurpose)),
    SegmentField("consent.means", "渠道", CONSENT, K.CHOICE, by_choice(Consent.means), choices_of(ContactMeans)),
    SegmentField("consent.decision", "意愿", CONSENT, K.CHOICE, by_choice(Consent.decision),
                 choices_of(ConsentDecision)),
    SegmentField("consent.given", "表示日期", CONSENT, K.DAY, by_day(Consent.given_on)),
    SegmentField("consent.expires", "到期日期", CONSENT, K.DAY, by_day(Consent.expires_on)),
    SegmentField("consent.guardian", "由监护人表示", CONSENT, K.YES_NO, by_yes_no(Consent.is_guardian)),
    SegmentField("stop.any", "已终止联系", STOP, K.YES_NO),
    SegmentField("stop.kind", "终止方式", STOP, K.CHOICE, by_choice(ContactStop.kind), choices_of(StopKind)),
)  # fmt: skip
