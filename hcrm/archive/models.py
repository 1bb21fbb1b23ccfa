"""Tables of the archive: the patient and how to reach them. Visits are in `visit_models.py`.

Values that identify or reach a person (phone, ID number, address) are sealed; blind indexes find them.
Every value knows (as-of, source, inbox sequence): for the patient's own columns in `provenance`, for rows in
columns of their own. What was replaced is kept in `patient_history`.
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, false, literal_column, text
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.archive.terms import DeceasedState as DeceasedState
from hcrm.archive.terms import IdentifierKind as IdentifierKind
from hcrm.archive.terms import Informant as Informant
from hcrm.archive.terms import LinkKind as LinkKind
from hcrm.archive.terms import PatientMark as PatientMark
from hcrm.archive.terms import Sex as Sex
from hcrm.core.db import Base, Id

InboxSeq = BigInteger().with_variant(Integer, "sqlite")


_MERGED = text("merged_into_id IS NOT NULL")
_DECEASED = text("deceased = 'deceased'")
DECEASED_WORD: Any = literal_column("'deceased'")
"""The word itself: a parameter would keep SQLite from the index of the dead."""
_TEST_SQLITE, _TEST = text("is_test = 1"), text("is_test")  # as each engine is asked


class Patient(Base):
    """A patient's archive (患者档案). FHIR: Patient.

    A merged archive stays as a tombstone that names its survivor; a stub was met before its own message came.
    """

    __tablename__ = "patient"
    __table_args__ = (
        Index("ix_patient_name", "name", "id"),
        Index("ix_patient_deceased", "id", sqlite_where=_DECEASED, postgresql_where=_DECEASED),
        # The list of the dead in its order: the latest change first.
        Index(
            "ix_patient_deceased_updated",
            "updated_at",
            "id",
            sqlite_where=_DECEASED,
            postgresql_where=_DECEASED,
        ),
        Index("ix_patient_updated", "updated_at", "id"),
        Index("ix_patient_birth_pinyin", "birth_date", "name_pinyin"),
        # Only the merged: over all rows it would seem the way to those that are not, and sort them all.
        Index("ix_patient_merged_into", "merged_into_id", sqlite_where=_MERGED, postgresql_where=_MERGED),
        # What every list and figure leaves out.
        Index("ix_patient_test", "id", sqlite_where=_TEST_SQLITE, postgresql_where=_TEST),
    )
    id: Mapped[Id]
    name: Mapped[str]
    name_pinyin: Mapped[str]  # full, without blanks: zhangsan
    name_initials: Mapped[str]  # zs
    sex: Mapped[Sex]
    birth_date: Mapped[date | None]
    deceased: Mapped[DeceasedState] = mapped_column(default=DeceasedState.ALIVE)
    deceased_at: Mapped[datetime | None]
    marital_status: Mapped[str | None]
    merged_into_id: Mapped[str | None] = mapped_column(ForeignKey("patient.id"))
    is_stub: Mapped[bool] = mapped_column(default=False)
    is_nullified: Mapped[bool] = mapped_column(default=False)
    is_vip: Mapped[bool] = mapped_column(
        default=False, server_default=false()
    )  # PV1-16: merges wait for a person
    is_test: Mapped[bool] = mapped_column(default=False, server_default=false())  # 测试患者
    test_mark: Mapped[PatientMark | None]  # what a person said of it; None: the rules decide
    test_reason: Mapped[str | None]  # the rule that fits, or the person's words
    provenance: Mapped[dict[str, Any]]  # field: [as-of, source, inbox seq]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(default=1)

    __mapper_args__ = {"version_id_col": version}


class PatientHistory(Base):
    """A value of the patient's own columns that was replaced, or came late and was not taken over."""

    __tablename__ = "patient_history"
    __table_args__ = (Index("ix_patient_history_patient", "patient_id", "field"),)
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    field: Mapped[str]
    value: Mapped[str | None]
    as_of: Mapped[datetime]
    source: Mapped[str]
    seq: Mapped[int] = mapped_column(InboxSeq)
    replaced_at: Mapped[datetime]


_LIVE_RECORD = text("kind = 'record' AND ended_at IS NULL")


class PatientIdentifier(Base):
    """An identifier (患者标识) of a patient. FHIR: Patient.identifier.

    Record numbers are in clear and unique by authority, type and value while they are valid; citizen ID numbers are
    sealed, never unique, and never match by themselves.
    """

    __tablename__ = "patient_identifier"
    __table_args__ = (
        Index(
            "uq_patient_identifier_record", "authority", "type", "value", unique=True,
            sqlite_where=_LIVE_RECORD, postgresql_where=_LIVE_RECORD,
        ),
        Index("ix_patient_identifier_value", "value", "authority"),
        Index("ix_patient_identifier_index", "value_index"),
        Index("ix_patient_identifier_last4", "last4_index"),
    )  # fmt: skip
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    kind: Mapped[IdentifierKind]
    authority: Mapped[str]
    type: Mapped[str]  # PID-3.5 as sent
    value: Mapped[str | None]  # in clear for record numbers
    value_sealed: Mapped[bytes | None]
    value_index: Mapped[str | None]
    last4_index: Mapped[str | None]
    source: Mapped[str]
    as_of: Mapped[datetime]
    seq: Mapped[int] = mapped_column(InboxSeq)
    retired_at: Mapped[datetime | None]  # by a merge: it still finds the survivor
    replaced_at: Mapped[datetime | None]  # by another number of the same patient (A47): it still finds them
    ended_at: Mapped[datetime | None]


BUSINESS_RANKS = 100
"""Numbers of the business list are ranked above this, so that each list replaces its own rows only."""


class ContactPoint(Base):
    """A phone number or address of e-mail (联系方式). FHIR: ContactPoint."""

    __tablename__ = "contact_point"
    __table_args__ = (
        Index("ix_contact_point_index", "value_index"),
        Index("ix_contact_point_last4", "last4_index"),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    system: Mapped[str]  # phone, email
    use: Mapped[str]  # mobile, home, work
    rank: Mapped[int]  # order of the message; above BUSINESS_RANKS: of its business numbers
    value_sealed: Mapped[bytes]
    value_index: Mapped[str]
    last4_index: Mapped[str]
    is_verified: Mapped[bool] = mapped_column(default=False)  # by a person here: HL7 never erases it
    source: Mapped[str]
    as_of: Mapped[datetime]
    seq: Mapped[int] = mapped_column(InboxSeq)
    ended_at: Mapped[datetime | None]


class Address(Base):
    """An address (地址). FHIR: Address. The region code is in clear, the text is sealed."""

    __tablename__ = "address"
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    use: Mapped[str]  # home, registered, work, birth
    rank: Mapped[int]
    region_code: Mapped[str | None] = mapped_column(index=True)
    text_sealed: Mapped[bytes]
    source: Mapped[str]
    as_of: Mapped[datetime]
    seq: Mapped[int] = mapped_column(InboxSeq)
    ended_at: Mapped[datetime | None]
    informant: Mapped[Informant | None]  # whose word it is, of a row people entered
    actor_name: Mapped[str | None]
    ended_by_name: Mapped[str | None]
    replaces_id: Mapped[str | None]  # the row that people put right with this one


class RelatedPerson(Base):
    """A relative or other contact (联系人). FHIR: RelatedPerson; HL7: NK1."""

    __tablename__ = "related_person"
    __table_args__ = (
        Index("ix_related_person_phone", "phone_index"),
        Index("ix_related_person_last4", "phone_last4_index"),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    rank: Mapped[int]
    name: Mapped[str]
    relation: Mapped[str]
    phone_sealed: Mapped[bytes | None]
    phone_index: Mapped[str | None]
    phone_last4_index: Mapped[str | None]
    source: Mapped[str]
    as_of: Mapped[datetime]
    seq: Mapped[int] = mapped_column(InboxSeq)
    ended_at: Mapped[datetime | None]
    informant: Mapped[Informant | None]  # whose word it is, of a row people entered
    actor_name: Mapped[str | None]
    ended_by_name: Mapped[str | None]
    replaces_id: Mapped[str | None]  # the row that people put right with this one


class Allergy(Base):
    """An allergy or intolerance (过敏). FHIR: AllergyIntolerance; HL7: AL1.

    A row with the source `BY_PEOPLE` was entered here: `informant` says whose word it is, the actors who entered and
    who ended it; the lists of messages leave it alone.
    """

    __tablename__ = "allergy"
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    rank: Mapped[int]
    kind: Mapped[str]  # DA drug, FA food … as sent
    code: Mapped[str]
    text: Mapped[str]
    severity: Mapped[str]
    reaction: Mapped[str]
    source: Mapped[str]
    as_of: Mapped[datetime]
    seq: Mapped[int] = mapped_column(InboxSeq)
    ended_at: Mapped[datetime | None]
    informant: Mapped[Informant | None]
    actor_name: Mapped[str | None]
    ended_by_name: Mapped[str | None]


class PatientMerge(Base):
    """A merge (档案合并) with what is needed to undo it: both records before and every key that moved."""

    __tablename__ = "patient_merge"
    id: Mapped[Id]
    survivor_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    merged_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    before: Mapped[dict[str, Any]]  # both patient rows
    moved: Mapped[dict[str, Any]]  # table: keys
    source: Mapped[str]
    seq: Mapped[int | None] = mapped_column(InboxSeq)
    told_at: Mapped[datetime | None]  # by its sender; an older word that they are two does not part them
    merged_at: Mapped[datetime] = mapped_column(index=True)
    undone_at: Mapped[datetime | None]
    left: Mapped[
        dict[str, Any] | None
    ]  # after undoing: what came meanwhile and stays with the survivor, for a person


class PatientLink(Base):
    """What we were told of two archives: the same person, apart, a child and its mother. FHIR: Patient.link.

    The latest word by (as-of, seq) counts; `ended_at` where another took its place.
    """

    __tablename__ = "patient_link"
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    other_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    kind: Mapped[LinkKind]
    source: Mapped[str]
    as_of: Mapped[datetime]
    seq: Mapped[int] = mapped_column(InboxSeq)
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class TimelineEntry(Base):
    """One line of the patient's story (时间线), written with its fact in the same work."""

    __tablename__ = "timeline_entry"
    __table_args__ = (Index("ix_timeline_entry_patient", "patient_id", "happened_at", "id"),)
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    happened_at: Mapped[datetime]
    kind: Mapped[str]  # visit, instruction, contact, form, alert, death, merge
    title: Mapped[str]
    subject_type: Mapped[str]
    subject_id: Mapped[str]
    encounter_id: Mapped[str | None] = mapped_column(ForeignKey("encounter.id"))
    """The stay it is about: who may see that sees the line. None: everyone who sees the patient."""
