"""Tables of segments: the saved filter, and the flat rows it is counted over."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base, Id, LabelledEnum


class ShareScope(LabelledEnum):
    """Who sees a saved segment in the list; whose patients it shows each reader is another matter (row scope)."""

    OWN = "own", "仅自己"
    DEPARTMENT = "department", "本科室"
    ALL = "all", "全院"


class Segment(Base):
    """A saved segment (分群): who belongs to it is worked out when it is asked. FHIR: Group with characteristics."""

    __tablename__ = "segment"
    __table_args__ = (Index("ix_segment_name", "name", "id"),)
    id: Mapped[Id]
    code: Mapped[str | None] = mapped_column(unique=True)  # of one shipped in config/segments.yaml
    name: Mapped[str]
    note: Mapped[str] = mapped_column(default="", server_default="")
    filter: Mapped[dict[str, Any]]  # as hcrm.segments.filters.SegmentFilter
    columns: Mapped[list[Any]]
    sort: Mapped[str]
    scope: Mapped[ShareScope]
    department_id: Mapped[str | None] = mapped_column(ForeignKey("department.id"))  # of scope DEPARTMENT
    default_for: Mapped[str | None]  # the role whose list opens with it
    owner_id: Mapped[str]
    owner_name: Mapped[str]
    counted: Mapped[int | None]  # of the whole hospital, when it was last counted
    counted_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]  # taken off the list
    version: Mapped[int] = mapped_column(default=1)

    __mapper_args__ = {"version_id_col": version}


class PatientProfile(Base):
    """A patient in one flat row, for filters and lists. Made from the archive, and equal to being made anew.

    `id` is the patient's own key and no foreign key on purpose: a merge moves every such column, and here there is
    one row for each of the two; both are made anew then.
    """

    __tablename__ = "patient_profile"
    __table_args__ = (
        Index(
            "ix_patient_profile_seen",
            "is_listed",
            "seen_on",
            "id",
            "deceased",
            "sex",
            "birth_on",
            "last_discharged_on",
        ),
        Index("ix_patient_profile_created", "is_listed", "created_on", "id"),
        Index("ix_patient_profile_visits", "is_listed", "visits", "id"),
        Index("ix_patient_profile_birth", "birth_on", "id"),
        Index("ix_patient_profile_region", "region_code", "id"),
        Index("ix_patient_profile_discharged", "last_discharged_on", "id"),
    )
    id: Mapped[Id]
    is_listed: Mapped[bool]  # not merged, not deleted by its sender, not a test patient
    sex: Mapped[str]
    birth_on: Mapped[date | None]
    region_code: Mapped[str]
    marital_status: Mapped[str]
    deceased: Mapped[str]
    is_vip: Mapped[bool]
    created_on: Mapped[date]
    seen_on: Mapped[date]  # the last visit, or when the archive was made
    first_visit_on: Mapped[date | None]
    last_visit_on: Mapped[date | None]
    last_discharged_on: Mapped[date | None]
    in_house: Mapped[bool]
    visits: Mapped[int]
    inpatient_visits: Mapped[int]
    outpatient_visits: Mapped[int]
    emergency_visits: Mapped[int]
    recent_visits: Mapped[int]  # in the 365 days before the last one
    tcm_visits: Mapped[int]  # TCM as main treatment
    diseases: Mapped[int]  # different disease groups
    missed_bookings: Mapped[int]
    payment_type: Mapped[str]  # of the last visit that told one
    spending_fen: Mapped[int] = mapped_column(BigInteger)
    drug_fen: Mapped[int] = mapped_column(BigInteger)
    treatment_fen: Mapped[int] = mapped_column(BigInteger)


class StayProfile(Base):
    """A visit or stay in one flat row, with its main class of each axis. `id` is the encounter's own key."""

    __tablename__ = "stay_profile"
    __table_args__ = (
        Index("ix_stay_profile_patient", "patient_id"),
        # Each holds what is usually asked together, so that a count reads no row of the table.
        Index("ix_stay_profile_visited", "visited_on", "department_id", "encounter_class", "patient_id"),
        Index("ix_stay_profile_discharged", "discharged_on", "encounter_class", "patient_id"),
        Index(
            "ix_stay_profile_department",
            "department_id",
            "discharged_on",
            "encounter_class",
            "main_diagnosis",
            "disease_group",
            "patient_id",
        ),
        Index("ix_stay_profile_attending", "attending_id", "discharged_on", "encounter_class", "patient_id"),
        Index(
            "ix_stay_profile_diagnosis",
            "main_diagnosis",
            "discharged_on",
            "encounter_class",
            "department_id",
            "patient_id",
        ),
        Index("ix_stay_profile_disease", "disease_group", "discharged_on", "encounter_class", "patient_id"),
        Index("ix_stay_profile_specialty", "specialty", "discharged_on", "encounter_class", "patient_id"),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    encounter_class: Mapped[str]
    status: Mapped[str]
    department_id: Mapped[str]
    attending_id: Mapped[str]
    visited_on: Mapped[date | None]
    discharged_on: Mapped[date | None]
    discharge_way: Mapped[str]
    days: Mapped[int | None]  # nights between admission and discharge
    visit_month: Mapped[int | None]
    visit_quarter: Mapped[int | None]  # solar: 1 from 立春, 2 立夏, 3 立秋, 4 立冬
    specialty: Mapped[str]
    disease_group: Mapped[str]
    region: Mapped[str]
    main_diagnosis: Mapped[str]  # in comparable form: I10X00
    is_tcm: Mapped[bool]
    payment_type: Mapped[str]
    spending_fen: Mapped[int] = mapped_column(BigInteger)
    drug_fen: Mapped[int] = mapped_column(BigInteger)
    treatment_fen: Mapped[int] = mapped_column(BigInteger)


class PatientLoss(Base):
    """Why a patient no longer comes (流失原因), as people noted it; the codes stand in `config/grading.yaml`."""

    __tablename__ = "patient_loss"
    __table_args__ = (
        Index("ix_patient_loss_patient", "patient_id", "created_at"),
        Index("ix_patient_loss_reason", "reason", "patient_id"),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    reason: Mapped[str]
    note: Mapped[str]
    actor_id: Mapped[str]
    actor_name: Mapped[str]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
