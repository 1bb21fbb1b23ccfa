"""Closed lists of results, orders, charges, documents and bookings: pure, so that adapters may use them."""

from hcrm.core.labels import LabelledEnum


class ReportStatus(LabelledEnum):
    """State of a report, OBR-25 (HL7 table 0123). FHIR: DiagnosticReport.status."""

    REGISTERED = "registered", "已登记"
    PARTIAL = "partial", "部分结果"
    PRELIMINARY = "preliminary", "初步"
    FINAL = "final", "已审核"
    CORRECTED = "corrected", "已更正"
    CANCELLED = "cancelled", "已作废"


class ObservationStatus(LabelledEnum):
    """State of one result, OBX-11 (HL7 table 0085). FHIR: Observation.status."""

    REGISTERED = "registered", "待出结果"
    PRELIMINARY = "preliminary", "初步"
    FINAL = "final", "已审核"
    CORRECTED = "corrected", "已更正"
    CANCELLED = "cancelled", "无法得出"
    ENTERED_IN_ERROR = "entered-in-error", "已删除"


UNSETTLED = frozenset(
    {ObservationStatus.REGISTERED, ObservationStatus.PRELIMINARY, ReportStatus.REGISTERED, ReportStatus.PARTIAL,
     ReportStatus.PRELIMINARY}
)  # fmt: skip
"""States that never take the place of a final result: it "can only be changed with a corrected result" (table 0085)."""


class AbnormalFlag(LabelledEnum):
    """What the laboratory says of a value, OBX-8 (HL7 table 0078). FHIR: Observation.interpretation."""

    NORMAL = "normal", "正常"
    LOW = "low", "偏低"
    HIGH = "high", "偏高"
    ABNORMAL = "abnormal", "异常"
    CRITICAL_LOW = "critical-low", "危急低值"
    CRITICAL_HIGH = "critical-high", "危急高值"
    CRITICAL = "critical", "危急"
    UNKNOWN = "unknown", "未对照"


CRITICAL_FLAGS = (AbnormalFlag.CRITICAL_LOW, AbnormalFlag.CRITICAL_HIGH, AbnormalFlag.CRITICAL)
"""Values somebody has to be told at once (危急值)."""
ABNORMAL_FLAGS = (AbnormalFlag.LOW, AbnormalFlag.HIGH, AbnormalFlag.ABNORMAL, *CRITICAL_FLAGS)
"""Values outside of what is normal."""


class ReportCategory(LabelledEnum):
    """Kind of the section that reports, OBR-24 (HL7 table 0074). FHIR: DiagnosticReport.category."""

    LABORATORY = "laboratory", "检验"
    IMAGING = "imaging", "检查"
    OTHER = "other", "检验检查"


class OrderStatus(LabelledEnum):
    """State of a drug order, ORC-1 and ORC-5. FHIR: MedicationRequest.status."""

    ACTIVE = "active", "执行中"
    ON_HOLD = "on-hold", "暂停"
    COMPLETED = "completed", "已完成"
    STOPPED = "stopped", "已停"
    CANCELLED = "cancelled", "已取消"


class EndBasis(LabelledEnum):
    """How we know when a course of a drug ends."""

    TOLD = "told", "医嘱"
    DURATION = "duration", "按疗程"
    DOSES = "doses", "按剂数，每日一剂"


class ChargeKind(LabelledEnum):
    """What a row of the bill is, FT1-6 (HL7 table 0017). FHIR: ChargeItem."""

    CHARGE = "charge", "费用"
    CREDIT = "credit", "退费"
    PAYMENT = "payment", "缴款"
    ADJUSTMENT = "adjustment", "调整"


class DocumentStatus(LabelledEnum):
    """State of a document, TXA-17 and TXA-19. FHIR: DocumentReference.status and docStatus."""

    PRELIMINARY = "preliminary", "未签署"
    FINAL = "final", "有效"
    SUPERSEDED = "superseded", "已被替代"
    CANCELLED = "cancelled", "已作废"


class AppointmentStatus(LabelledEnum):
    """State of a booking, by SIU event and SCH-25. FHIR: Appointment.status."""

    BOOKED = "booked", "已预约"
    ARRIVED = "arrived", "已报到"
    FULFILLED = "fulfilled", "已就诊"
    CANCELLED = "cancelled", "已取消"
    NO_SHOW = "noshow", "爽约"
    ENTERED_IN_ERROR = "entered-in-error", "已删除"
