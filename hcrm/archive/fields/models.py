"""Tables of what people know of a patient beside the messages: values of fields, tags, notes.

Nothing is overwritten: a value that gives way to another ends, and `act_id`, `ended_act_id` name the edits that wrote
and ended it, so that an edit can be shown whole and taken back.
"""

from datetime import date, datetime

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.archive.terms import Informant
from hcrm.core.db import Base, Id

_LIVE = text("ended_at IS NULL")


class PatientFieldValue(Base):
    """One value of a field (档案字段) of a patient. FHIR: Observation (social history), Patient.extension.

    A choice keeps the code of its option, several choices one row each, a date its ISO form, a number its digits
    without an exponent, yes or no the words `yes` and `no`. What the code means stands in the field's definition,
    where no option is ever taken away.
    """

    __tablename__ = "patient_field_value"
    __table_args__ = (
        Index("ix_patient_field_value_patient", "patient_id", "field_code"),
        Index(
            "ix_patient_field_value_value", "field_code", "value", "patient_id",
            sqlite_where=_LIVE, postgresql_where=_LIVE,
        ),
    )  # fmt: skip
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    field_code: Mapped[str]
    value: Mapped[str]
    note: Mapped[str | None]
    source: Mapped[str]  # BY_PEOPLE, else the sender
    informant: Mapped[Informant | None]  # of what people entered
    as_of: Mapped[datetime]
    asked_on: Mapped[date | None]
    actor_id: Mapped[str]
    actor_name: Mapped[str]
    act_id: Mapped[str]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_act_id: Mapped[str | None]
    ended_by_name: Mapped[str | None]


class PatientTag(Base):
    """A word people put on a patient (标签). FHIR: Resource.meta.tag."""

    __tablename__ = "patient_tag"
    __table_args__ = (
        Index("ix_patient_tag_patient", "patient_id"),
        Index("ix_patient_tag_tag", "tag", "patient_id", sqlite_where=_LIVE, postgresql_where=_LIVE),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    tag: Mapped[str]
    actor_id: Mapped[str]
    actor_name: Mapped[str]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_by_name: Mapped[str | None]


class PatientNote(Base):
    """A note on a patient (备注). FHIR: Annotation. It is struck out, never deleted."""

    __tablename__ = "patient_note"
    __table_args__ = (Index("ix_patient_note_patient", "patient_id", "created_at", "id"),)
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    text: Mapped[str]
    actor_id: Mapped[str]
    actor_name: Mapped[str]
    created_at: Mapped[datetime]
    edited_at: Mapped[datetime | None]
    struck_at: Mapped[datetime | None]
    struck_by_name: Mapped[str | None]
    version: Mapped[int] = mapped_column(default=1)

    __mapper_args__ = {"version_id_col": version}


class PatientNoteFormer(Base):
    """What a note said before its author mended it. Written once."""

    __tablename__ = "patient_note_former"
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    note_id: Mapped[str] = mapped_column(ForeignKey("patient_note.id"), index=True)
    text: Mapped[str]
    written_at: Mapped[datetime]
    replaced_at: Mapped[datetime]
