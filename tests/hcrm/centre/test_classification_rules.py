from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcrm.centre.classification_rules import Axis, AxisRules, Hit, add_hits, classify, load_rules
from hcrm.centre.facts import StayFacts, normal_codes
from hcrm.core.definition_file import parse_definition
from hcrm.core.errors import HcrmError

SPECIALTY = """
code: specialty
version: 3
status: draft
title: 专科
rules:
  - {code: heart_surgery, gives: "04.06", label: 心外, when: [{fact: department.name, contains: 心血管外}]}
  - {code: cardiology, gives: "03.04", label: 心内, when: [{fact: department.name, contains: [心血管, 心内]}]}
"""
DISEASE = """
code: disease_group
version: 2
status: draft
title: 病种
several: true
rules:
  - {code: pci, gives: pci, label: 支架,
     when: [{fact: diagnosis.code, starts_with: I20-I25}, {fact: procedure.code, starts_with: "36.07"}]}
  - {code: coronary, gives: coronary, label: 冠心病, when: [{fact: diagnosis.code, starts_with: I20-I25}]}
  - {code: hypertension, gives: hypertension, label: 高血压, when: [{fact: diagnosis.code, starts_with: I10-I15}]}
  - {code: liver, gives: liver, label: 肝病, when: [{fact: diagnosis.code, starts_with: K70-K77}]}
  - {code: mental, gives: mental, label: 精神, sensitive: true, when: [{fact: diagnosis.code, starts_with: F00-F99}]}
"""
REGION = """
code: region
version: 1
status: draft
title: 区域
rules:
  - {code: county, gives: county, label: 本区, when: [{fact: region.relation, is: same_county}]}
  - {code: city, gives: city, label: 本市, when: [{fact: region.relation, is: same_city}]}
  - {code: province, gives: province, label: 本省, when: [{fact: region.relation, is: same_province}]}
  - {code: elsewhere, gives: elsewhere, label: 外省, when: [{fact: region.relation, is: other_province}]}
"""
RULES = tuple(parse_definition(AxisRules, text, "x.yaml") for text in (SPECIALTY, DISEASE, REGION))


def on(axis: Axis, facts: StayFacts) -> list[tuple[str, bool]]:
    return [(hit.code, hit.is_main) for hit in classify(facts, RULES) if hit.axis is axis]


def diseases(*codes: str, procedures: tuple[str, ...] = ()) -> list[tuple[str, bool]]:
    return on(Axis.DISEASE_GROUP, StayFacts(diagnosis_codes=codes, procedure_codes=procedures))


def region(there: str | None, here: str | None) -> str:
    return on(Axis.REGION, StayFacts(region_code=there, home_region=here))[0][0]


def test_the_first_rule_that_hits_wins_and_is_named_with_its_version() -> None:
    (hit, *_) = classify(StayFacts(department_name="心血管外科"), RULES)

    assert hit == Hit(Axis.SPECIALTY, "04.06", "心外", "heart_surgery", 3)


def test_a_stay_no_rule_knows_is_unclassified_on_every_axis() -> None:
    hits = classify(StayFacts(), RULES)

    assert [(hit.axis, hit.code, hit.label, hit.rule_version) for hit in hits] == [
        (Axis.SPECIALTY, "unclassified", "未分类", 3),
        (Axis.DISEASE_GROUP, "unclassified", "未分类", 2),
        (Axis.REGION, "unclassified", "未分类", 1),
    ]


def test_the_main_group_is_that_of_the_main_diagnosis() -> None:
    assert diseases("I25.103", "I10.x00") == [("coronary", True), ("hypertension", False)]
    assert diseases("I10.x00", "I25.103") == [("hypertension", True), ("coronary", False)]


def test_an_operation_makes_the_narrower_group_the_main_one() -> None:
    assert diseases("I25.103", procedures=("36.0701",)) == [("pci", True), ("coronary", False)]


def test_groups_of_other_diagnoses_do_not_stand_in_for_the_main_one() -> None:
    assert diseases("S72.000", "I25.103", procedures=("36.0701",)) == [
        ("unclassified", True),
        ("pci", False),
        ("coronary", False),
    ]


def test_both_halves_of_a_dual_code_count_as_the_main_diagnosis() -> None:
    assert diseases("A01.001+K77.0*", "I10") == [("liver", True), ("hypertension", False)]


@pytest.mark.parametrize(
    "code", ["I10.x00", "I10", "i10.X00", "Ｉ１０．ｘ００", " I10.x00 ", "I10。x00", "I10x00"]
)
def test_one_disease_is_found_however_it_is_written(code: str) -> None:
    assert diseases(code) == [("hypertension", True)]


@pytest.mark.parametrize("code", ["", "IO1", "I1", "B45678", "422504002", "BNF010", "十"])
def test_what_is_not_of_the_group_stays_out(code: str) -> None:
    assert diseases(code) == [("unclassified", True)]


@pytest.mark.parametrize(
    ("raw", "codes"),
    [
        ("A00.000x001", ("A00000X001",)),
        ("a01.001＋k77.0*", ("A01001", "K770")),
        ("A01.001†+K77.0*", ("A01001", "K770")),
        ("+", ()),
        ("", ()),
    ],
)
def test_codes_become_comparable(raw: str, codes: tuple[str, ...]) -> None:
    assert normal_codes(raw) == codes


def test_a_sensitive_group_is_marked_also_where_it_is_not_the_main_one() -> None:
    hits = classify(StayFacts(diagnosis_codes=("I10", "F32.900")), RULES)

    assert {hit.code: hit.is_sensitive for hit in hits if hit.axis is Axis.DISEASE_GROUP} == {
        "hypertension": False,
        "mental": True,
    }


@pytest.mark.parametrize(
    ("there", "here", "found"),
    [
        ("330106", "330106", "county"),
        ("330106001001", "330106", "county"),
        ("330108", "330106", "city"),
        ("330100", "330106", "city"),
        ("330203", "330106", "province"),
        ("330000", "330106", "province"),
        ("310101", "330106", "elsewhere"),
        ("500240", "500103", "city"),  # 重庆: counties stand under 5002, districts under 5001
        ("429004", "429005", "province"),  # 仙桃 and 潜江: counties directly under the province are no city
        ("429004", "429004", "county"),
        ("3301", "330106", "unclassified"),
        ("杭州市西湖", "330106", "unclassified"),
        (None, "330106", "unclassified"),
        ("330106", None, "unclassified"),
    ],
)
def test_the_region_is_told_from_where_the_hospital_lies(
    there: str | None, here: str | None, found: str
) -> None:
    assert region(there, here) == found


def test_protocols_see_the_classes_of_a_stay() -> None:
    facts = StayFacts(
        department_name="心内二科",
        diagnosis_codes=("A01.001+K77.0*", "I10"),
        region_code="330108",
        home_region="330106",
    )

    seen = add_hits(facts, classify(facts, RULES))

    assert (seen.specialty, seen.region) == ("03.04", "city")
    assert (seen.main_disease_group, seen.disease_groups) == ("liver", ("liver", "hypertension"))
    assert seen.main_diagnosis == facts.main_diagnosis


CODES = st.lists(
    st.sampled_from(["I25.103", "I10.x00", "F32.900", "K70.3", "S72.000", "A01.001+K77.0*", ""]), max_size=4
)


@given(CODES)
def test_every_axis_has_exactly_one_main_class_and_it_comes_first(codes: list[str]) -> None:
    hits = classify(StayFacts(diagnosis_codes=tuple(codes)), RULES)

    for axis in Axis:
        mains = [hit.is_main for hit in hits if hit.axis is axis]
        assert mains == [True] + [False] * (len(mains) - 1)
    assert len({(hit.axis, hit.code) for hit in hits}) == len(hits)


@given(CODES)
def test_the_way_codes_are_written_changes_nothing(codes: list[str]) -> None:
    full_width = {ord(char): ord(char) + 0xFEE0 for char in "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+*abcdefx"}
    restyled = tuple(f" {code.lower().translate(full_width)}　" for code in codes)

    assert classify(StayFacts(diagnosis_codes=restyled), RULES) == classify(
        StayFacts(diagnosis_codes=tuple(codes)), RULES
    )


def rules_refusal(folder: Path, text: str) -> str:
    for name, body in (("specialty", text), ("disease_group", DISEASE), ("region", REGION)):
        (folder / f"{name}.yaml").write_text(body, encoding="utf-8")
    with pytest.raises(HcrmError) as caught:
        load_rules(folder)
    assert f"{folder.name}/specialty.yaml" in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("heart_surgery", "cardiology", "规则“cardiology”重复"),
        ("label: 心内", "label: 心内, colour: red", "不认识“colour”"),
        ("[心血管, 心内]", "[]", "不能为空"),
        ("when: [{fact: department.name, contains: 心血管外}]", "when: []", "不能为空"),
        ('gives: "03.04"', 'gives: "04.06"', "类别“04.06”有不同的名称"),
        ('gives: "03.04"', "gives: 03.04", "请加引号"),
        ('gives: "03.04"', "gives: unclassified", "留给没有规则命中的情形"),
        ("fact: department.name, contains: 心血管外", "fact: region, is: city", "不能依据分类结果“region”"),
    ],
)
def test_wrong_rules_are_refused_by_file_in_chinese(
    tmp_path: Path, right: str, wrong: str, said: str
) -> None:
    assert right in SPECIALTY
    assert said in rules_refusal(tmp_path, SPECIALTY.replace(right, wrong))


def test_an_axis_without_rules_is_refused(tmp_path: Path) -> None:
    (tmp_path / "specialty.yaml").write_text(SPECIALTY, encoding="utf-8")

    with pytest.raises(HcrmError, match=r"缺少 disease_group\.yaml（病种）"):
        load_rules(tmp_path)
