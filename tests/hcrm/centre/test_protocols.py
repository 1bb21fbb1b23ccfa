from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcrm.centre.classification_rules import Axis
from hcrm.centre.facts import StayFacts
from hcrm.centre.protocols import Protocol, Protocols, Step, load_protocols, require_known_codes
from hcrm.core.definition_file import parse_definition
from hcrm.core.errors import HcrmError

STEP = "{code: day7, title: 一周, due_after_days: 7, opens_before_days: 2, closes_after_days: 5, \
assign_to: attending, channel: phone, form: a.form}"


def text_of(code: str = "a.plan", *, head: str = "", when: str = "", steps: str = STEP) -> str:
    lines = [f"code: {code}", "version: 1", "status: draft", "title: 方案", "kind: clinical", head]
    lines += [when and f"applies_when: [{when}]", "counts_from: discharged_at", f"steps: [{steps}]"]
    return "\n".join(line for line in lines if line) + "\n"


def protocol(code: str = "a.plan", **parts: str) -> Protocol:
    return parse_definition(Protocol, text_of(code, **parts), "protocols/a_plan.yaml")


STROKE = protocol("a.stroke", when="{fact: diagnosis.main_code, starts_with: I60-I64}")
DIABETES = protocol("a.diabetes", when="{fact: diagnosis.code, starts_with: E11}")
GENERIC = protocol("a.generic", head="fallback: true")
IN_FORCE = Protocols([STROKE, DIABETES, GENERIC])


def entered(**facts: Any) -> list[str]:
    return [protocol.code for protocol in IN_FORCE.applying_to(StayFacts(**facts))]


def test_every_specific_protocol_that_applies_is_entered_and_no_fallback() -> None:
    assert entered(diagnosis_codes=("I63.900", "E11.900")) == ["a.stroke", "a.diabetes"]


def test_the_fallback_takes_in_whom_no_specific_protocol_takes() -> None:
    assert entered(diagnosis_codes=("S72.000", "I63.900")) == ["a.generic"]
    assert entered() == ["a.generic"]


@pytest.mark.parametrize("encounter_class", ["inpatient", "outpatient", "emergency", None])
def test_the_fallback_takes_in_any_class_with_a_discharge(encounter_class: str | None) -> None:
    assert entered(encounter_class=encounter_class) == ["a.generic"]


def test_nobody_is_called_about_a_patient_who_died() -> None:
    assert entered(discharge_way="5") == []
    assert entered(discharge_way="5", diagnosis_codes=("I63.900",)) == []


@pytest.mark.parametrize("discharge_way", ["1", "3", "4", "9", None])
def test_leaving_against_advice_or_in_an_unknown_way_excludes_nobody(discharge_way: str | None) -> None:
    assert entered(discharge_way=discharge_way) == ["a.generic"]


def test_one_exclusion_that_holds_is_enough() -> None:
    plan = protocol(
        when="{fact: patient.age_years, at_least: 18}",
        head="excluded_when: [{fact: discharge.way, is: '2'}, {fact: disease_group, in: [mental, sti_hiv]}]",
    )

    assert plan.takes_in(StayFacts(age_years=18))
    assert not plan.takes_in(StayFacts(age_years=18, discharge_way="2"))
    assert not plan.takes_in(StayFacts(age_years=18, disease_groups=("coronary", "mental")))


def test_a_fallback_of_one_kind_does_not_give_way_to_another_kind() -> None:
    research = Protocol.model_validate(
        STROKE.model_dump(by_alias=True) | {"code": "a.study", "kind": "research"}
    )

    found = Protocols([research, GENERIC]).applying_to(StayFacts(diagnosis_codes=("I61.000",)))

    assert [plan.code for plan in found] == ["a.study", "a.generic"]


@pytest.mark.parametrize(
    ("line", "facts", "holds"),
    [
        ("{fact: encounter.class, is: inpatient}", {"encounter_class": "inpatient"}, True),
        ("{fact: encounter.class, is: inpatient}", {"encounter_class": "emergency"}, False),
        ("{fact: encounter.class, is: inpatient}", {}, False),
        ("{fact: patient.age_years, at_least: 65}", {"age_years": 64}, False),
        ("{fact: patient.age_years, at_least: 65}", {"age_years": 65}, True),
        ("{fact: patient.age_years, below: 14}", {"age_years": 13}, True),
        ("{fact: patient.age_years, below: 14}", {"age_years": 14}, False),
        ("{fact: patient.age_years, below: 14}", {}, False),
        ("{fact: patient.age_years, below: 1}", {"age_years": 0}, True),
        ("{fact: patient.sex, is: female}", {"sex": "female"}, True),
        ("{fact: department.name, contains: [卒中, 脑病]}", {"department_name": " 脑病 一科"}, True),
        ("{fact: department.name, contains: ccu}", {"department_name": "ＣＣＵ病房"}, True),
        ("{fact: department.code, in: ['0301', '0302']}", {"department_code": "0302"}, True),
        ("{fact: specialty, is: '03.03'}", {"specialty": "03.03"}, True),
        ("{fact: region, in: [same_county, same_city]}", {"region": "same_city"}, True),
        ("{fact: region.code, starts_with: '3301'}", {"region_code": "330106"}, True),
        ("{fact: disease_group, is: diabetes}", {"disease_groups": ("stroke", "diabetes")}, True),
        ("{fact: disease_group.main, is: diabetes}", {"main_disease_group": "stroke"}, False),
        ("{fact: diagnosis.main_code, starts_with: E11}", {"diagnosis_codes": ("I63.9", "E11.9")}, False),
        ("{fact: diagnosis.code, starts_with: K77.0}", {"diagnosis_codes": ("A01.001+K77.0*",)}, True),
        ("{fact: diagnosis.code, starts_with: S00-T14}", {"diagnosis_codes": ("T00.900",)}, True),
        ("{fact: diagnosis.code, starts_with: S00-T14}", {"diagnosis_codes": ("T15.000",)}, False),
        ("{fact: diagnosis.code, starts_with: J44.0-J44.1}", {"diagnosis_codes": ("J44.100x001",)}, True),
        ("{fact: diagnosis.code, starts_with: J44.0-J44.1}", {"diagnosis_codes": ("J44.900",)}, False),
        ("{fact: procedure.code, starts_with: '36.07'}", {"procedure_codes": ("36.0701",)}, True),
        ("{fact: procedure.code, starts_with: '36.07'}", {"procedure_codes": ("３６０７",)}, True),
        ("{fact: procedure.code, starts_with: 81.51-81.54}", {"procedure_codes": ("81.5300x003",)}, True),
        ("{fact: procedure.code, starts_with: 81.51-81.54}", {"procedure_codes": ("81.55",)}, False),
    ],
)
def test_a_condition_holds_only_on_what_is_known(line: str, facts: dict[str, Any], holds: bool) -> None:
    assert protocol(when=line).takes_in(StayFacts(**facts)) is holds


def test_a_step_opens_before_and_closes_after_its_due_date() -> None:
    (step,) = STROKE.steps

    assert step.window(date(2026, 3, 1)) == {
        "opens_on": date(2026, 3, 6),
        "due_on": date(2026, 3, 8),
        "closes_on": date(2026, 3, 13),
    }
    assert step.window(date(2028, 2, 25))["due_on"] == date(2028, 3, 3)  # a leap year


@given(
    day=st.dates(date(2000, 1, 1), date(2100, 1, 1)),
    due=st.integers(0, 4000),
    before=st.integers(0, 4000),
    after=st.integers(0, 400),
)
def test_a_window_is_always_in_order_and_never_opens_before_day_0(
    day: date, due: int, before: int, after: int
) -> None:
    step = Step(
        code="s", title="节点", due_after_days=due, opens_before_days=min(before, due), closes_after_days=after,
        assign_to="attending", channel="phone", form="a.form",
    )  # fmt: skip

    window = step.window(day)

    assert day <= window["opens_on"] <= window["due_on"] <= window["closes_on"]
    assert window["due_on"] - day == timedelta(days=due)
    assert window["closes_on"] - window["opens_on"] == timedelta(days=min(before, due) + after)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (text_of(), "须写 applies_when"),
        (text_of(when="{fact: diagnosis, is: E11}"), "没有名为“diagnosis”的事实"),
        (text_of(when="{fact: encounter.class, is: ward}"), "没有“ward”这个值"),
        (text_of(when="{fact: diagnosis.code, is: E11}"), "只能用 starts_with 比较"),
        (text_of(when="{fact: diagnosis.code}"), "写且只写一个"),
        (text_of(when="{fact: patient.age_years, at_least: 18, below: 65}"), "写且只写一个"),
        (text_of(when="{fact: diagnosis.code, starts_with: '36.07'}"), "不是ICD-10 编码"),
        (text_of(when="{fact: diagnosis.code, starts_with: I6O-I64}"), "不是ICD-10 编码"),
        (text_of(when="{fact: diagnosis.code, starts_with: I64-I60}"), "从小到大"),
        (text_of(when="{fact: diagnosis.code, starts_with: I60-I64.9}"), "从小到大"),
        (text_of(when="{fact: procedure.code, starts_with: 00000000-99999999}"), "范围过大"),
        (text_of(when="{fact: procedure.code, starts_with: E11}"), "不是ICD-9-CM-3 编码"),
        (text_of(when="{fact: procedure.code, starts_with: 36.07}"), "请加引号"),
        (text_of(head="fallback: true", steps=""), "不能为空"),
        (text_of(head="fallback: true", steps=f"{STEP}, {STEP}"), "节点“day7”重复"),
        (
            text_of(
                head="fallback: true", steps=f"{STEP}, {STEP.replace('day7', 'day8').replace('s: 7', 's: 8')}"
            ),
            "时间窗重叠或顺序颠倒",
        ),
        (text_of(head="fallback: true", steps=STEP.replace("s: 2", "s: 8")), "不能在起算日之前打开"),
        (text_of(head="fallback: true", steps=STEP.replace("s: 5", "s: -1")), "不能小于 0"),
        (text_of(head="fallback: true", steps=STEP.replace("phone", "telepathy")), "只能是 phone、"),
        (text_of(head="fallback: true", steps=STEP[:-1] + ", review: sample}"), "须写 sample_percent"),
        (text_of(head="fallback: true", steps=STEP[:-1] + ", remind: true}"), "不认识“remind”"),
    ],
)
def test_a_wrong_protocol_is_refused_by_file_in_chinese(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a_plan.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(HcrmError) as caught:
        load_protocols(tmp_path)

    assert f"{tmp_path.name}/a_plan.yaml" in caught.value.message
    assert said in caught.value.message


def test_one_protocol_is_in_force_in_one_version() -> None:
    with pytest.raises(HcrmError, match=r"随访方案 a\.stroke 重复"):
        Protocols([STROKE, STROKE])


def test_a_protocol_that_names_an_unknown_form_or_class_is_refused() -> None:
    plan = protocol(when="{fact: disease_group, in: [diabetes, gout]}")
    classes = {Axis.SPECIALTY: [], Axis.DISEASE_GROUP: ["diabetes"], Axis.REGION: []}

    with pytest.raises(HcrmError, match=r"表单“a\.form”不存在"):
        require_known_codes(Protocols([plan]), forms=[], classes=classes)
    with pytest.raises(HcrmError, match="病种“gout”不存在"):
        require_known_codes(Protocols([plan]), forms=["a.form"], classes=classes)

    require_known_codes(
        Protocols([plan]), forms=["a.form"], classes=classes | {Axis.DISEASE_GROUP: ["diabetes", "gout"]}
    )
