"""Tables of how a patient may be reached: whose number it is, consents, disclosure, the end of contact, deaths.

Rows are never changed: what no longer stands has `ended_at`, so each table is its own history.
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.archive.terms import ConsentDecision as ConsentDecision
from hcrm.archive.terms import ContactMeans as ContactMeans
from hcrm.archive.terms import ContactPurpose as ContactPurpose
from hcrm.archive.terms import DisclosureState as DisclosureState
from hcrm.archive.terms import NumberState as NumberState
from hcrm.archive.terms import StopKind as StopKind
from hcrm.core.db import Base, Id

_LIVE = text("ended_at IS NULL")
_BY_NUMBER = text("number_id IS NOT NULL AND ended_at IS NULL")
_UNCONFIRMED = text("confirmed_at IS NULL AND revoked_at IS NULL")


class KnownNumber(Base):
    """What people know of one number of a patient: whose it is, whether it reaches them. FHIR: ContactPoint.

    By the number's blind index, so that it stands whichever message tells the number again, and for relatives' too.
    """

    __tablename__ = "known_number"
    __table_args__ = (
        Index("ix_known_number_patient", "patient_id", sqlite_where=_LIVE, postgresql_where=_LIVE),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    value_index: Mapped[str]
    relation: Mapped[str]  # of the owner to the patient; empty: not said
    owner_name: Mapped[str]
    state: Mapped[NumberState]
    state_at: Mapped[datetime]
    state_by: Mapped[str]
    note: Mapped[str]
    rank: Mapped[int]  # order people gave; 0: none
    created_at: Mapped[datetime]
    actor_id: Mapped[str]
    actor_name: Mapped[str]
    ended_at: Mapped[datetime | None]


class Consent(Base):
    """One decision for one purpose and one means (知情同意与接收意愿). FHIR: Consent. No row: unknown."""

    __tablename__ = "consent"
    __table_args__ = (
        Index("ix_consent_patient", "patient_id", "purpose", sqlite_where=_LIVE, postgresql_where=_LIVE),
        Index("ix_consent_history", "patient_id", "created_at", "id"),
        Index(
            "ix_consent_asked", "purpose", "means", "decision", "patient_id", sqlite_where=_LIVE,
            postgresql_where=_LIVE,
        ),
    )  # fmt: skip
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    purpose: Mapped[ContactPurpose]
    means: Mapped[ContactMeans]
    decision: Mapped[ConsentDecision]
    given_by: Mapped[str]  # empty: the patient
    is_guardian: Mapped[bool]
    evidence: Mapped[str]  # how it was told: 电话录音, 签字文书, 短信回复
    text_version: Mapped[str]
    source: Mapped[str]
    given_on: Mapped[date]
    expires_on: Mapped[date | None]
    created_at: Mapped[datetime]
    actor_id: Mapped[str]
    actor_name: Mapped[str]
    ended_at: Mapped[datetime | None]


class Disclosure(Base):
    """Whether the patient knows their illness (知情标记), and whom to speak with where the family asks for silence."""

    __tablename__ = "disclosure"
    __table_args__ = (
        Index("ix_disclosure_patient", "patient_id", sqlite_where=_LIVE, postgresql_where=_LIVE),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    state: Mapped[DisclosureState]
    contact_name: Mapped[str]
    contact_relation: Mapped[str]
    related_id: Mapped[str | None]  # the relative of the list, as it stood then
    note: Mapped[str]
    created_at: Mapped[datetime]
    actor_id: Mapped[str]
    actor_name: Mapped[str]
    ended_at: Mapped[datetime | None]


class ContactStop(Base):
    """Contact has been ended (终止联系、请勿联系): nothing is issued or sent while a row lives."""

    __tablename__ = "contact_stop"
    __table_args__ = (
        Index("ix_contact_stop_patient", "patient_id", sqlite_where=_LIVE, postgresql_where=_LIVE),
        Index("ix_contact_stop_number", "number_id", sqlite_where=_BY_NUMBER, postgresql_where=_BY_NUMBER),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    kind: Mapped[StopKind]
    reason: Mapped[str]
    source: Mapped[str]
    created_at: Mapped[datetime]
    actor_id: Mapped[str]
    actor_name: Mapped[str]
    ended_at: Mapped[datetime | None]
    ended_reason: Mapped[str | None]
    ended_by: Mapped[str | None]
    number_id: Mapped[str | None] = mapped_column(default=None)  # of a `BarredNumber`, no key: it may be gone


class BarredNumber(Base):
    """A number nobody may call, whoever has it (请勿联系名单). FHIR: none."""

    __tablename__ = "barred_number"
    __table_args__ = (
        Index("ix_barred_number_value", "value_index", sqlite_where=_LIVE, postgresql_where=_LIVE),
    )
    id: Mapped[Id]
    value_sealed: Mapped[bytes]
    value_index: Mapped[str]
    reason: Mapped[str]
    source: Mapped[str]
    created_at: Mapped[datetime]
    actor_id: Mapped[str]
    actor_name: Mapped[str]
    ended_at: Mapped[datetime | None]
    ended_reason: Mapped[str | None]
    ended_by: Mapped[str | None]


class DeathReport(Base):
    """A death that people or a list told us, and the second source that confirmed it."""

    __tablename__ = "death_report"
    __table_args__ = (
        Index("ix_death_report_patient", "patient_id"),
        Index(
            "ix_death_report_unconfirmed", "created_at", "id", sqlite_where=_UNCONFIRMED,
            postgresql_where=_UNCONFIRMED,
        ),
    )  # fmt: skip
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    source: Mapped[str]  # followup, console, death_list
    told_by: Mapped[str]
    died_on: Mapped[date | None]
    note: Mapped[str]
    created_at: Mapped[datetime]
    actor_id: Mapped[str]
    actor_name: Mapped[str]
    confirmed_at: Mapped[datetime | None]
    confirmed_by: Mapped[str | None]
    confirmation: Mapped[str | None]
    revoked_at: Mapped[datetime | None]
    revoked_reason: Mapped[str | None]
    disputed: Mapped[list[Any] | None]  # stamp of the dispute it was noted on top of, empty where it had none
