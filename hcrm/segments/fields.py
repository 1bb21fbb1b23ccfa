"""What a segment may ask of the flat rows: the patient, and their visits one by one."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from hcrm.archive.terms import (
    PAYMENT_TYPES,
    DeceasedState,
    DischargeWay,
    EncounterClass,
    EncounterStatus,
    Sex,
)
from hcrm.core.seasons import SEASONS
from hcrm.core.segment import (
    Asked,
    Choices,
    Condition,
    FieldKind,
    Operator,
    SegmentField,
    Subject,
    by_age,
    by_choice,
    by_code,
    by_day,
    by_number,
    by_yes_no,
    choices_of,
)
from hcrm.core.work import Work
from hcrm.directory.models import Department, Practitioner, Region
from hcrm.segments.life_cycle import LIFE_STAGES, by_life_stage
from hcrm.segments.models import PatientProfile, StayProfile

P, S = PatientProfile, StayProfile
PATIENT = Subject("patient", "患者", P.id)
STAY = Subject("stay", "就诊", S.patient_id, None, S.id)
_MONTHS = [(str(month), f"{month} 月") for month in range(1, 13)]
_CLASSES = sa.table("classification", sa.column("axis"), sa.column("code"), sa.column("label"))
_MARITAL = (
    ("10", "未婚"), ("20", "已婚"), ("21", "初婚"), ("22", "再婚"), ("23", "复婚"), ("30", "丧偶"), ("40", "离婚"),
    ("90", "其他"), ("S", "未婚"), ("M", "已婚"), ("W", "丧偶"), ("D", "离婚"),
)  # fmt: skip


def segment_fields(_work: Work) -> Sequence[SegmentField]:
    """Fields of the flat rows."""
    return FIELDS


def _departments(work: Work) -> Sequence[tuple[str, str]]:
    return [
        tuple(row)
        for row in work.execute(sa.select(Department.id, Department.name).order_by(Department.name))
    ]


def _practitioners(work: Work) -> Sequence[tuple[str, str]]:
    rows = work.execute(
        sa.select(Practitioner.id, Practitioner.name).order_by(Practitioner.name, Practitioner.id)
    )
    return [tuple(row) for row in rows]


def _regions(work: Work) -> Sequence[tuple[str, str]]:
    """Divisions that patients live in, by the code's own name."""
    lived = sa.select(P.region_code).distinct()
    rows = work.execute(
        sa.select(Region.code, Region.name).where(Region.code.in_(lived)).order_by(Region.code)
    )
    return [tuple(row) for row in rows]


def _marital(work: Work) -> Sequence[tuple[str, str]]:
    """What occurs, in words where we have one."""
    words = dict(_MARITAL)
    found = work.scalars(sa.select(P.marital_status).distinct().order_by(P.marital_status))
    return [(code, words.get(code, code)) for code in found if code]


def _payments(work: Work) -> Sequence[tuple[str, str]]:
    found = set(work.scalars(sa.select(S.payment_type).distinct())) - {""}
    return [*PAYMENT_TYPES.items(), *((code, code) for code in sorted(found - PAYMENT_TYPES.keys()))]


def _classes_of(axis: str) -> Choices:
    def choices(work: Work) -> Sequence[tuple[str, str]]:
        rows = work.execute(
            sa.select(_CLASSES.c.code, sa.func.max(_CLASSES.c.label))
            .where(_CLASSES.c.axis == axis)
            .group_by(_CLASSES.c.code)
            .order_by(_CLASSES.c.code)
        )
        return [tuple(row) for row in rows]

    return choices


def _patient(
    code: str, title: str, kind: FieldKind, condition: Condition | None, **more: Any
) -> SegmentField:
    return SegmentField(f"patient.{code}", title, PATIENT, kind, condition, **more)


def _stay(code: str, title: str, kind: FieldKind, condition: Condition | None, **more: Any) -> SegmentField:
    return SegmentField(f"stay.{code}", title, STAY, kind, condition, **more)


def _is_mainly_tcm(asked: Asked) -> sa.ColumnElement[bool]:
    is_tcm = sa.and_(P.tcm_visits > 0, P.tcm_visits * 2 >= P.visits)
    return is_tcm if asked.operator is Operator.YES else sa.not_(is_tcm)


K = FieldKind
FIELDS: tuple[SegmentField, ...] = (
    _patient("age", "年龄", K.NUMBER, by_age(P.birth_on), unit="岁"),
    _patient("sex", "性别", K.CHOICE, by_choice(P.sex), choices=choices_of(Sex)),
    _patient("region", "现住址行政区划", K.CHOICE, by_choice(P.region_code), choices=_regions),
    _patient("marital", "婚姻", K.CHOICE, by_choice(P.marital_status), choices=_marital),
    _patient("deceased", "在世情况", K.CHOICE, by_choice(P.deceased), choices=choices_of(DeceasedState)),
    _patient("vip", "重要患者", K.YES_NO, by_yes_no(P.is_vip)),
    _patient("birthday_month", "出生月份", K.CHOICE,
             by_choice(sa.cast(sa.extract("month", P.birth_on), sa.Integer), numbers=True),
             choices=lambda _work: _MONTHS),
    _patient("created", "建档日期", K.DAY, by_day(P.created_on)),
    _patient("payment", "最近一次付费方式", K.CHOICE, by_choice(P.payment_type), choices=_payments),
    _patient("life_stage", "生命周期", K.CHOICE, by_life_stage, choices=lambda _work: LIFE_STAGES,
             hint="按距最近一次就诊的天数：config/grading.yaml"),
    _patient("seen", "最近就诊（无就诊为建档）", K.DAY, by_day(P.seen_on)),
    _patient("first_visit", "首次就诊", K.DAY, by_day(P.first_visit_on)),
    _patient("last_visit", "最近一次就诊", K.DAY, by_day(P.last_visit_on)),
    _patient("last_discharged", "最近一次出院", K.DAY, by_day(P.last_discharged_on)),
    _patient("in_house", "正在住院", K.YES_NO, by_yes_no(P.in_house)),
    _patient("visits", "就诊次数", K.NUMBER, by_number(P.visits), unit="次"),
    _patient("inpatient_visits", "住院次数", K.NUMBER, by_number(P.inpatient_visits), unit="次"),
    _patient("outpatient_visits", "门诊、体检次数", K.NUMBER, by_number(P.outpatient_visits), unit="次"),
    _patient("emergency_visits", "急诊次数", K.NUMBER, by_number(P.emergency_visits), unit="次"),
    _patient("diseases", "病种数", K.NUMBER, by_number(P.diseases), unit="种"),
    _patient("missed_bookings", "爽约次数", K.NUMBER, by_number(P.missed_bookings), unit="次"),
    _patient("mainly_tcm", "以中医治疗为主", K.YES_NO,
             _is_mainly_tcm, hint="半数以上就诊以中医治疗为主"),
    _stay("any", "有就诊记录", K.YES_NO, None),
    _stay("class", "就诊类别", K.CHOICE, by_choice(S.encounter_class), choices=choices_of(EncounterClass)),
    _stay("status", "就诊状态", K.CHOICE, by_choice(S.status), choices=choices_of(EncounterStatus)),
    _stay("department", "就诊科室", K.CHOICE, by_choice(S.department_id), choices=_departments),
    _stay("attending", "主治医师", K.CHOICE, by_choice(S.attending_id), choices=_practitioners),
    _stay("visited", "入院或就诊日期", K.DAY, by_day(S.visited_on)),
    _stay("discharged", "出院日期", K.DAY, by_day(S.discharged_on)),
    _stay("way", "离院方式", K.CHOICE, by_choice(S.discharge_way), choices=choices_of(DischargeWay)),
    _stay("days", "住院天数", K.NUMBER, by_number(S.days), unit="天"),
    _stay("month", "就诊月份", K.CHOICE, by_choice(S.visit_month, numbers=True),
          choices=lambda _work: _MONTHS),
    _stay("season", "就诊季节", K.CHOICE, by_choice(S.visit_quarter, numbers=True),
          choices=lambda _work: [(str(number), word) for number, word in SEASONS], hint="按二十四节气的四立划分"),
    _stay("specialty", "专科分类", K.CHOICE, by_choice(S.specialty), choices=_classes_of("specialty")),
    _stay("disease_group", "病种分类（主要）", K.CHOICE, by_choice(S.disease_group),
          choices=_classes_of("disease_group")),
    _stay("region", "区域分类", K.CHOICE, by_choice(S.region), choices=_classes_of("region")),
    _stay("main_diagnosis", "主要诊断编码", K.CODE, by_code(S.main_diagnosis),
          hint="ICD-10 前几位，多个用逗号隔开：E11，I60-I64"),
    _stay("mainly_tcm", "中医治疗为主的就诊", K.YES_NO, by_yes_no(S.is_tcm)),
    _stay("payment", "付费方式", K.CHOICE, by_choice(S.payment_type), choices=_payments),
)  # fmt: skip
