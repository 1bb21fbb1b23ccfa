"""What a segment may ask of the record beside the flat rows: diagnoses, allergies, drugs, results, bookings."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from hcrm.archive.clinical.models import Appointment, DiagnosticReport, MedicationRequest, Observation
from hcrm.archive.clinical.terms import ABNORMAL_FLAGS, AppointmentStatus, OrderStatus, ReportCategory
from hcrm.archive.models import Allergy, ContactPoint, PatientIdentifier
from hcrm.archive.visit_models import Diagnosis, Procedure
from hcrm.core.segment import (
    Asked,
    Condition,
    FieldKind,
    Operator,
    SegmentField,
    Subject,
    by_choice,
    by_day,
    by_moment,
    by_sent_code,
    by_text,
    by_yes_no,
    choices_of,
)
from hcrm.core.work import Work
from hcrm.segments.fields import STAY
from hcrm.segments.models import StayProfile

ALLERGY = Subject("allergy", "过敏", Allergy.patient_id, Allergy.ended_at.is_(None))
DRUG = Subject(
    "drug",
    "用药",
    MedicationRequest.patient_id,
    MedicationRequest.ended_at.is_(None),
    MedicationRequest.encounter_id,
)
REPORT = Subject(
    "report", "检验检查", DiagnosticReport.patient_id, DiagnosticReport.ended_at.is_(None),
    DiagnosticReport.encounter_id,
)  # fmt: skip
BOOKING = Subject(
    "booking", "预约", Appointment.patient_id, Appointment.ended_at.is_(None), Appointment.encounter_id
)
IDENTIFIER = Subject(
    "identifier", "标识", PatientIdentifier.patient_id,
    sa.and_(PatientIdentifier.ended_at.is_(None), PatientIdentifier.retired_at.is_(None)),
)  # fmt: skip
PHONE = Subject(
    "phone", "电话", ContactPoint.patient_id,
    sa.and_(ContactPoint.ended_at.is_(None), ContactPoint.system == "phone"),
)  # fmt: skip
K = FieldKind


def record_fields(_work: Work) -> Sequence[SegmentField]:
    """Fields of rows that hang on the patient or on a stay."""
    return FIELDS


def _of_stay(model: Any, condition: Condition) -> Condition:
    """A row of the stay that is asked for."""

    def found(asked: Asked) -> sa.ColumnElement[bool]:
        rows = sa.select(model.encounter_id).where(model.ended_at.is_(None), condition(asked)).correlate(None)
        return StayProfile.id.in_(rows)

    return found


def _item(condition: Condition) -> Condition:
    """A result of the report that is asked for."""

    def found(asked: Asked) -> sa.ColumnElement[bool]:
        rows = sa.select(Observation.report_id).where(Observation.ended_at.is_(None), condition(asked))
        return DiagnosticReport.id.in_(rows.correlate(None))

    return found


def _is_abnormal(asked: Asked) -> sa.ColumnElement[bool]:
    found = DiagnosticReport.abnormal > 0
    return found if asked.operator is Operator.YES else sa.not_(found)


def _kinds_of_numbers(work: Work) -> Sequence[tuple[str, str]]:
    """Types of identifiers as senders write them."""
    table = PatientIdentifier
    found = work.scalars(
        sa.select(table.type).where(table.ended_at.is_(None)).distinct().order_by(table.type)
    )
    return [(word, word) for word in found if word]


def _field(
    code: str, title: str, subject: Subject, kind: FieldKind, condition: Condition | None, **more: Any
) -> SegmentField:
    return SegmentField(f"{subject.code}.{code}", title, subject, kind, condition, **more)


FIELDS: tuple[SegmentField, ...] = (
    _field("diagnosis", "任一诊断编码", STAY, K.CODE, _of_stay(Diagnosis, by_sent_code(Diagnosis.code, 3)),
           hint="ICD-10 前几位，多个用逗号隔开"),
    _field("diagnosis_text", "诊断名称", STAY, K.TEXT, _of_stay(Diagnosis, by_text(Diagnosis.text))),
    _field("procedure", "手术操作编码", STAY, K.CODE, _of_stay(Procedure, by_sent_code(Procedure.code, 2)),
           hint="ICD-9-CM-3 前几位，例如 36.07"),
    _field("procedure_text", "手术操作名称", STAY, K.TEXT, _of_stay(Procedure, by_text(Procedure.text))),
    _field("any", "有过敏记录", ALLERGY, K.YES_NO, None),
    _field("text", "过敏原", ALLERGY, K.TEXT, by_text(Allergy.text)),
    _field("any", "有用药记录", DRUG, K.YES_NO, None),
    _field("text", "药品名称", DRUG, K.TEXT, by_text(MedicationRequest.text)),
    _field("herbal", "中药饮片", DRUG, K.YES_NO, by_yes_no(MedicationRequest.is_herbal)),
    _field("status", "医嘱状态", DRUG, K.CHOICE, by_choice(MedicationRequest.status), choices=choices_of(OrderStatus)),
    _field("starts", "开始日期", DRUG, K.DAY, by_day(MedicationRequest.starts_on)),
    _field("ends", "疗程结束日期", DRUG, K.DAY, by_day(MedicationRequest.ends_on)),
    _field("any", "有检验检查报告", REPORT, K.YES_NO, None),
    _field("issued", "报告日期", REPORT, K.DAY, by_moment(DiagnosticReport.issued_at)),
    _field("category", "报告类别", REPORT, K.CHOICE, by_choice(DiagnosticReport.category),
           choices=choices_of(ReportCategory)),
    _field("text", "报告名称", REPORT, K.TEXT, by_text(DiagnosticReport.text)),
    _field("abnormal", "有异常结果", REPORT, K.YES_NO, _is_abnormal),
    _field("critical", "有危急值", REPORT, K.YES_NO, by_yes_no(DiagnosticReport.is_critical)),
    _field("item", "含有结果项目", REPORT, K.TEXT, _item(by_text(Observation.text))),
    _field("item_flag", "结果标志", REPORT, K.CHOICE, _item(by_choice(Observation.flag)),
           choices=lambda _work: [(flag.value, flag.label) for flag in ABNORMAL_FLAGS]),
    _field("any", "有预约记录", BOOKING, K.YES_NO, None),
    _field("status", "预约状态", BOOKING, K.CHOICE, by_choice(Appointment.status),
           choices=choices_of(AppointmentStatus)),
    _field("starts", "预约日期", BOOKING, K.DAY, by_moment(Appointment.starts_at)),
    _field("department", "预约科室", BOOKING, K.TEXT, by_text(Appointment.department)),
    _field("any", "有电话号码", PHONE, K.YES_NO, None),
    _field("verified", "电话已核实", PHONE, K.YES_NO, by_yes_no(ContactPoint.is_verified)),
    _field("type", "标识类型", IDENTIFIER, K.CHOICE, by_choice(PatientIdentifier.type), choices=_kinds_of_numbers),
)  # fmt: skip
