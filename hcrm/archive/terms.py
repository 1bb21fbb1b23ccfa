"""The archive's closed lists: pure, so that records and adapters may use them without the tables."""

from hcrm.core.labels import LabelledEnum


class Sex(LabelledEnum):
    """Administrative sex, GB/T 2261.1. FHIR: administrative-gender."""

    MALE = "male", "男"
    FEMALE = "female", "女"
    OTHER = "other", "其他"
    UNKNOWN = "unknown", "未知"


class DeceasedState(LabelledEnum):
    """Whether the patient lives, as far as we were told."""

    ALIVE = "alive", "在世"
    DECEASED = "deceased", "已故"
    DISPUTED = "disputed", "存疑"


TOLD_BY_PEOPLE = "followup"
"""Source of what a relative said on the phone and no message: it gives way to any message's word."""


class IdentifierKind(LabelledEnum):
    """What an identifier is good for."""

    RECORD = "record", "病历号"
    CITIZEN = "citizen", "身份证号"
    OTHER = "other", "其他标识"


class LinkKind(LabelledEnum):
    """How two archives belong together, or that they do not. FHIR: Patient.link, RelatedPerson."""

    SAME_PERSON = "same_person", "可能是同一人"
    APART = "apart", "不是同一人"
    MOTHER = "mother", "母亲"


class ActKind(LabelledEnum):
    """What a message does to who is who, or whose visit is whose."""

    MERGE_PATIENTS = "merge_patients", "合并档案"
    LINK = "link", "关联档案"
    UNLINK = "unlink", "解除关联"
    RENAME = "rename", "更换病历号"
    NULLIFY = "nullify", "作废档案"
    MERGE_VISITS = "merge_visits", "合并就诊"
    MERGE_ACCOUNTS = "merge_accounts", "合并账户"
    MOVE_VISIT = "move_visit", "就诊改归他人"
    MOVE_ACCOUNT = "move_account", "账户改归他人"


class EncounterClass(LabelledEnum):
    """Class of a visit, PV1-2 (HL7 table 0004). FHIR: Encounter.class."""

    INPATIENT = "inpatient", "住院"
    OUTPATIENT = "outpatient", "门诊"
    EMERGENCY = "emergency", "急诊"
    PREADMIT = "preadmit", "预住院"
    CHECKUP = "checkup", "体检"
    UNKNOWN = "unknown", "未知"


class EncounterStatus(LabelledEnum):
    """State of a visit, computed from its events. FHIR: Encounter.status."""

    PLANNED = "planned", "已预约"
    IN_PROGRESS = "in-progress", "在院"
    ON_LEAVE = "onleave", "请假"
    FINISHED = "finished", "已出院"
    CANCELLED = "cancelled", "已取消"


WITHOUT_BED = (EncounterClass.OUTPATIENT, EncounterClass.EMERGENCY, EncounterClass.CHECKUP)
"""Classes of a visit during which nobody is admitted to a ward."""
_WORDS_WITHOUT_BED = {EncounterStatus.IN_PROGRESS: "已登记", EncounterStatus.FINISHED: "已结束"}


def status_words(status: EncounterStatus, encounter_class: EncounterClass | None) -> str:
    """A visit's state as people say it: 在院 and 已出院 is only who had a bed."""
    if encounter_class in WITHOUT_BED:
        return _WORDS_WITHOUT_BED.get(status, status.label)
    return status.label


class DischargeWay(LabelledEnum):
    """How the patient left (离院方式), CV06.00.226."""

    BY_ORDER = "1", "医嘱离院"
    TRANSFER = "2", "医嘱转院"
    COMMUNITY = "3", "转社区"
    AGAINST_ADVICE = "4", "非医嘱离院"
    DIED = "5", "死亡"
    OTHER = "9", "其他"
    UNKNOWN = "unknown", "未知"


class VisitEventKind(LabelledEnum):
    """What can happen to a visit. A cancel reverses, it never deletes."""

    PREADMIT = "preadmit", "预约入院"
    ADMIT = "admit", "入院"
    REGISTER = "register", "挂号"
    TRANSFER = "transfer", "转科"
    CLASS_CHANGE = "class_change", "类别变更"
    LEAVE = "leave", "请假离院"
    RETURN = "return", "请假返院"
    DISCHARGE = "discharge", "出院"
    UPDATE = "update", "更正"
    CANCEL_PREADMIT = "cancel_preadmit", "取消预约入院"
    CANCEL_ADMIT = "cancel_admit", "取消入院"
    CANCEL_TRANSFER = "cancel_transfer", "取消转科"
    CANCEL_DISCHARGE = "cancel_discharge", "取消出院"
    DELETE = "delete", "删除就诊"
