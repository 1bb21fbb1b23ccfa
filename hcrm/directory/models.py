"""Departments, practitioners and regions."""

from datetime import date, datetime

from sqlalchemy import ForeignKey, true
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base, Id


class Department(Base):
    """A department (科室). FHIR: Organization. Unverified ones were met in a message and wait for a person."""

    __tablename__ = "department"
    id: Mapped[Id]
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    specialty_code: Mapped[str | None]  # 医疗机构诊疗科目名录
    head_id: Mapped[str | None]  # practitioner; no foreign key, or the two tables would wait for each other
    is_verified: Mapped[bool] = mapped_column(default=True)
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
