"""The archive's closed lists: pure, so that records and adapters may use them without the tables."""

from datetime import date

from hcrm.core.labels import LabelledEnum

_OLDEST_BIRTH = date(1900, 1, 1)
NO_BIRTH_DATE = "出生日期应在 1900 年至今天之间"
"""What is said of a birth date that `is_birth_date` does not take."""


def is_birth_date(born: date, today: date) -> bool:
    """Whether a person who writes it may mean it: on the form and in a file alike. A message's word is kept."""
    return _OLDEST_BIRTH <= born <= today


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


class PatientMark(LabelledEnum):
    """What a person said of an archive, against any rule."""

    TEST = "test", "测试患者"
    REAL = "real", "真实患者"


TOLD_BY_PEOPLE = "followup"
"""Source of what a relative said on the phone and no message: it gives way to any message's word."""


BY_PEOPLE = "console"
"""Source of what people decided or entered here and no message told. A message never ends such a row."""


DEATH_LIST = "death_list"
"""Source of a death that the hospital's death list told."""


class Informant(LabelledEnum):
    """Whose word a value entered by hand is. FHIR: AllergyIntolerance.asserter, Observation.performer."""

    PATIENT = "patient", "患者自述"
    RELATIVE = "relative", "家属述"
    STAFF = "staff", "工作人员录入"


class Evidence(LabelledEnum):
    """By what a value that a message told was put right."""

    PATIENT = "patient", "患者自述"
    RELATIVE = "relative", "家属述"
    DOCUMENT = "document", "出示证件"


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


PAYMENT_TYPES = {
    "1": "城镇职工医保", "2": "城乡居民医保", "3": "新型农村合作医疗", "4": "贫困救助", "5": "商业医疗保险",
    "6": "全公费", "7": "全自费", "8": "其他社会保险", "9": "其他",
}  # fmt: skip
"""医疗付费方式 of the front page (2011; 3 was united with 2 from 2016). A visit keeps the code as it was sent."""
SELF_PAID = "7"


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


class NumberState(LabelledEnum):
    """Whether a number reaches whom it should, as far as people know (C33)."""

    UNVERIFIED = "unverified", "未核实"
    VERIFIED = "verified", "已核实"
    INVALID = "invalid", "空号"
    WRONG = "wrong", "错号"
    ENDED = "ended", "停用"


class ContactPurpose(LabelledEnum):
    """What a contact is for. FHIR: Consent.provision.purpose."""

    CARE = "care", "诊后随访"
    APPOINTMENT = "appointment", "预约通知"
    SATISFACTION = "satisfaction", "满意度调查"
    EDUCATION = "education", "健康教育"
    EVENT = "event", "活动邀请"
    MARKETING = "marketing", "营销推广"


class ContactMeans(LabelledEnum):
    """By what way a consent lets us contact."""

    CALL = "call", "电话"
    SMS = "sms", "短信"
    WECHAT = "wechat", "微信链接"
    LETTER = "letter", "信函"
    VISIT = "visit", "上门"


class ConsentDecision(LabelledEnum):
    """What was said; nothing said is unknown."""

    GRANTED = "granted", "同意"
    REFUSED = "refused", "拒绝"
    OPTED_OUT = "opted_out", "退订"


class DisclosureState(LabelledEnum):
    """Whether the patient knows their diagnosis."""

    INFORMED = "informed", "知情"
    CONFIDENTIAL = "confidential", "家属要求保密"
    UNKNOWN = "unknown", "未知"


class StopKind(LabelledEnum):
    """How contact was ended."""

    TERMINATED = "terminated", "终止联系"
    DO_NOT_CONTACT = "do_not_contact", "请勿联系"
