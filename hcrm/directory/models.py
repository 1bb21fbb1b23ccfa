"""Campuses, departments, practitioners, regions, code maps, and the history of what people change in them."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, UniqueConstraint, true
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base, Id


class Campus(Base):
    """A campus (院区), above the departments. FHIR: Organization that they are partOf."""

    __tablename__ = "campus"
    id: Mapped[Id]
    code: Mapped[str] = mapped_column(unique=True)  # as a message's facility (PV1-3.4) is mapped to
    name: Mapped[str]
    phone: Mapped[str | None]  # what patients are told to call
    sms_signature: Mapped[str | None]  # without brackets
    address: Mapped[str | None]
    calendar_code: Mapped[str | None]  # working days
    roster_code: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(default=True, server_default=true())
    created_at: Mapped[datetime]


class Department(Base):
    """A department (科室) or a ward under one. FHIR: Organization.

    Unverified ones were met in a message and wait for a person. A ward's follow-up is its parent's.
    """

    __tablename__ = "department"
    id: Mapped[Id]
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    specialty_code: Mapped[str | None]  # 医疗机构诊疗科目名录
    head_id: Mapped[str | None]  # practitioner; no foreign key, or the two tables would wait for each other
    campus_id: Mapped[str | None] = mapped_column(ForeignKey("campus.id"))
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("department.id"), index=True)
    is_verified: Mapped[bool] = mapped_column(default=True)
    is_active: Mapped[bool] = mapped_column(default=True, server_default=true())
    created_at: Mapped[datetime]


class Practitioner(Base):
    """A physician or nurse (医师). FHIR: Practitioner. `code` is the staff number, XCN.1 of messages."""

    __tablename__ = "practitioner"
    id: Mapped[Id]
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    title: Mapped[str | None]
    department_id: Mapped[str | None] = mapped_column(ForeignKey("department.id"), index=True)
    is_verified: Mapped[bool] = mapped_column(default=True)
    is_active: Mapped[bool] = mapped_column(default=True, server_default=true())
    told_at: Mapped[
        datetime | None
    ]  # by the staff list of a sender (MFN): the newest clock that said something
    valid_from: Mapped[date | None]
    valid_to: Mapped[date | None]
    merged_into_id: Mapped[str | None] = mapped_column(
        ForeignKey("practitioner.id")
    )  # the same person under another number
    created_at: Mapped[datetime]


class Region(Base):
    """An administrative division (行政区划), GB/T 2260 six digits; old codes keep their last day."""

    __tablename__ = "region"
    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    parent_code: Mapped[str | None]
    level: Mapped[str]  # province, city, county
    valid_from: Mapped[date | None]
    valid_to: Mapped[date | None]


class CodeMap(Base):
    """What a sender's local code means here (对照), entered in the console; files in `config/sources` say the rest."""

    __tablename__ = "code_map"
    __table_args__ = (Index("ix_code_map_local", "source", "kind", "local_code"),)
    id: Mapped[Id]
    source: Mapped[str]
    kind: Mapped[str]  # department, class, discharge_way, sex …
    local_code: Mapped[str]
    target: Mapped[str]
    valid_from: Mapped[date | None]  # by the day a message was received
    valid_to: Mapped[date | None]
    note: Mapped[str | None]
    created_at: Mapped[datetime]


class CodeSighting(Base):
    """A local code that messages named and nothing maps."""

    __tablename__ = "code_sighting"
    __table_args__ = (UniqueConstraint("source", "kind", "local_code"),)
    id: Mapped[Id]
    source: Mapped[str]
    kind: Mapped[str]
    local_code: Mapped[str]
    number: Mapped[int]
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]


class CodeMet(Base):
    """A message that named such a code: what to tell again once the code is mapped."""

    __tablename__ = "code_met"
    sighting_id: Mapped[str] = mapped_column(ForeignKey("code_sighting.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


class DirectoryChange(Base):
    """One change of an entry of the directory: who, when, before, after."""

    __tablename__ = "directory_change"
    __table_args__ = (Index("ix_directory_change_subject", "kind", "subject_id", "changed_at"),)
    id: Mapped[Id]
    kind: Mapped[str]  # campus, department, practitioner, region, code_map
    subject_id: Mapped[str]
    action: Mapped[str]  # create, change, load, merge, part, undo
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
    actor_id: Mapped[str]
    actor_name: Mapped[str]
    changed_at: Mapped[datetime]
