"""The shipped protocols and rules: they load, name only what exists, and take in whom domain section 6 says."""

from collections.abc import Iterator
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import pytest
import yaml

from hcrm.centre.classification_rules import Axis, AxisRules, add_hits, classify, load_rules
from hcrm.centre.facts import FACTS, FactKind, StayFacts
from hcrm.centre.protocols import Protocols, load_protocols, require_known_codes
from hcrm.core.definition_file import DefinitionStatus
from hcrm.core.paths import config_path
from hcrm.forms.definition import Questionnaire, load_questionnaires

FORMS = ("cardiology.pci", "endocrine.type2_diabetes", "generic.discharge", "neurology.stroke")
DISCHARGED = date(2026, 11, 22)


@cache
def forms() -> dict[str, Questionnaire]:
    return load_questionnaires(config_path("forms"))


@cache
def protocols() -> Protocols:
    return load_protocols(config_path("protocols"))


@cache
def rules() -> tuple[AxisRules, ...]:
    return load_rules(config_path("classification"))


def classified(**facts: object) -> StayFacts:
    known = StayFacts(**facts)  # type: ignore[arg-type]
    return add_hits(known, classify(known, rules()))


def definition_files() -> Iterator[Path]:
    for folder in ("classification", "forms", "protocols"):
        yield from sorted(config_path(folder).glob("*.yaml"))


# ── all of them ─────────────────────────────────────────────────────────────


def test_every_shipped_definition_loads() -> None:
    assert sorted(forms()) == sorted(FORMS)
    assert sorted(protocol.code for protocol in protocols()) == sorted(FORMS)
    assert [axis.code for axis in rules()] == list(Axis)


def test_every_code_a_definition_names_exists() -> None:
    require_known_codes(protocols(), forms=forms(), classes={axis.code: axis.classes for axis in rules()})


def test_every_form_is_used_by_a_protocol() -> None:
    assert {step.form for protocol in protocols() for step in protocol.steps} == set(forms())


def test_clinical_content_is_a_draft_until_it_is_signed() -> None:
    for definition in (*forms().values(), *protocols(), *rules()):
        assert definition.status is DefinitionStatus.DRAFT
    for path in definition_files():
        assert "草案" in path.read_text(encoding="utf-8"), (
            f"{path.name} does not say in a comment that it is a draft"
        )


# ── protocols ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("code", "days"),
    [
        ("generic.discharge", [7, 30]),
        ("neurology.stroke", [7, 21, 90, 180, 365]),
        ("cardiology.pci", [7, 30, 90, 180, 365]),
        ("endocrine.type2_diabetes", [10, 30, 90, 180, 270, 365]),
    ],
)
def test_steps_are_due_on_the_days_of_the_schedule(code: str, days: list[int]) -> None:
    protocol = protocols().get(code)

    assert protocol is not None
    assert [step.window(DISCHARGED)["due_on"] for step in protocol.steps] == [
        DISCHARGED + timedelta(days=day) for day in days
    ]


@pytest.mark.parametrize("code", FORMS)
def test_a_protocol_walked_day_by_day_has_one_open_step_at_a_time(code: str) -> None:
    protocol = protocols().get(code)
    assert protocol is not None
    windows = [step.window(DISCHARGED) for step in protocol.steps]
    seen = []

    for after in range(500):
        today = DISCHARGED + timedelta(days=after)
        opened = [n for n, window in enumerate(windows) if window["opens_on"] <= today <= window["closes_on"]]
        assert len(opened) <= 1
        seen += [n for n in opened if n not in seen]

    assert seen == list(range(len(windows)))
    assert all(window["opens_on"] <= window["due_on"] <= window["closes_on"] for window in windows)


def test_the_first_contact_is_due_within_a_week_and_closed_after_a_fortnight_for_the_generic_protocol() -> (
    None
):
    protocol = protocols().get("generic.discharge")
    assert protocol is not None

    assert protocol.steps[0].window(DISCHARGED) == {
        "opens_on": date(2026, 11, 25),
        "due_on": date(2026, 11, 29),
        "closes_on": date(2026, 12, 6),
    }


@pytest.mark.parametrize(
    ("diagnoses", "procedures", "entered"),
    [
        (["I63.900"], [], ["neurology.stroke"]),
        (["i60.x00"], [], ["neurology.stroke"]),
        (["Ｇ４５．９００"], [], ["neurology.stroke"]),
        (["I69.300"], [], ["generic.discharge"]),  # an old stroke is no new one
        (["S72.000", "I63.900"], [], ["generic.discharge"]),
        (["I21.900"], ["36.0701"], ["cardiology.pci"]),
        (["I25.103"], ["36.0600x004"], ["cardiology.pci"]),
        (["I25.103"], ["00.6600x008"], ["generic.discharge"]),  # a balloon without a stent
        (["E11.900"], [], ["endocrine.type2_diabetes"]),
        (["E11.900x001"], [], ["endocrine.type2_diabetes"]),
        (["E10.900"], [], ["generic.discharge"]),
        (["I63.900", "I25.103"], ["36.0701"], ["cardiology.pci", "neurology.stroke"]),
        ([], [], ["generic.discharge"]),
        (["422504002"], ["76164006"], ["generic.discharge"]),
        (["O03.900"], [], []),
        (["O80.000", "Z37.100"], [], []),
        (["O80.000", "Z37.000"], [], ["generic.discharge"]),
    ],
)
def test_an_inpatient_enters_the_protocols_of_their_disease(
    diagnoses: list[str], procedures: list[str], entered: list[str]
) -> None:
    facts = classified(
        encounter_class="inpatient", diagnosis_codes=tuple(diagnoses), procedure_codes=tuple(procedures)
    )

    assert sorted(protocol.code for protocol in protocols().applying_to(facts)) == entered


@pytest.mark.parametrize("encounter_class", ["outpatient", "emergency", "checkup", None])
def test_any_other_class_with_a_discharge_enters_the_generic_protocol(encounter_class: str | None) -> None:
    facts = classified(encounter_class=encounter_class, diagnosis_codes=("I63.900",))

    assert [protocol.code for protocol in protocols().applying_to(facts)] == ["generic.discharge"]


@pytest.mark.parametrize(
    ("way", "followed"),
    [("1", True), ("2", False), ("3", True), ("4", True), ("5", False), ("9", True), (None, True)],
)
def test_the_way_of_leaving_decides_whether_we_follow_up(way: str | None, followed: bool) -> None:
    for codes in (("I63.900",), ("E11.900",), ("J18.900",)):
        facts = classified(encounter_class="inpatient", discharge_way=way, diagnosis_codes=codes)
        assert bool(protocols().applying_to(facts)) is followed


# ── classification ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("code", "group", "sensitive"),
    [
        ("I63.900", "stroke", False),
        ("I69.300", "stroke", False),
        ("G45.900", "stroke", False),
        ("I10.x00", "hypertension", False),
        ("I20.000", "coronary", False),
        ("I48.x00", "heart_failure_af", False),
        ("E14.900", "diabetes", False),
        ("E05.900", "thyroid", False),
        ("C97.x00", "tumour", False),
        ("Z51.103", "tumour", False),
        ("J44.100", "airway", False),
        ("J30.400", "airway", False),
        ("J18.900", "pneumonia", False),
        ("B18.100", "liver", False),
        ("K29.500", "digestive", False),
        ("K61.000", "anorectal", False),
        ("I84.201", "anorectal", False),
        ("K64.900", "anorectal", False),
        ("N18.900", "kidney", False),
        ("Z99.200", "kidney", False),
        ("M51.202", "joint", False),
        ("Z96.600", "joint", False),
        ("T14.900", "injury", False),
        ("O80.000", "pregnancy", False),
        ("O02.100", "pregnancy", False),
        ("O08.900", "abortive_outcome", True),
        ("A53.900", "sti_hiv", True),
        ("B24.x00", "sti_hiv", True),
        ("F32.900", "mental", True),
        ("N97.900", "infertility", True),
        ("G47.000", "sleep", False),
        ("L40.000", "skin", False),
        ("R50.900", "unclassified", False),
    ],
)
def test_a_main_diagnosis_has_its_disease_group(code: str, group: str, sensitive: bool) -> None:
    hits = [
        hit for hit in classify(StayFacts(diagnosis_codes=(code,)), rules()) if hit.axis is Axis.DISEASE_GROUP
    ]

    assert [(hit.code, hit.is_sensitive) for hit in hits] == [(group, sensitive)]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("心血管内科", "03.04"),
        ("心内科二病区", "03.04"),
        ("CCU", "03.04"),
        ("心血管外科", "04.06"),
        ("胸外科", "04.05"),
        ("神经内科", "03.03"),
        ("脑病科", "03.03"),
        ("神经外科", "04.02"),
        ("血液内科", "03.05"),
        ("血液透析室", "03.06"),
        ("肾内科", "03.06"),
        ("内分泌科", "03.07"),
        ("呼吸与危重症医学科", "03.01"),
        ("重症医学科", "28"),
        ("脾胃病科", "03.02"),
        ("胃肠外科", "04.01"),
        ("骨伤科", "50.10"),
        ("骨科", "04.03"),
        ("小儿骨科", "08"),
        ("儿科", "07"),
        ("新生儿科", "07.01"),
        ("妇产科", "05"),
        ("产科", "05.02"),
        ("肛肠科", "50.11"),
        ("普外肛肠科", "04.01"),
        ("针灸推拿科", "50.13"),
        ("治未病中心", "50.17"),
        ("中医内科", "50.01"),
        ("中西医结合科", "52"),
        ("耳鼻咽喉头颈外科", "11"),
        ("口腔颌面外科", "12"),
        ("肿瘤内科", "19"),
        ("普通外科", "04.01"),
        ("全科医学科", "02"),
        ("ＩＣＵ", "28"),
        ("物业处", "unclassified"),
    ],
)
def test_a_department_has_its_national_specialty_by_name(name: str, code: str) -> None:
    assert classified(department_name=name).specialty == code


def test_what_the_directory_says_of_a_department_goes_before_its_name() -> None:
    assert classified(department_name="内科", department_specialty="03.07").specialty == "03.07"


def test_every_specialty_stands_in_the_national_list_under_the_same_name() -> None:
    listed = yaml.safe_load(config_path("departments.yaml").read_text(encoding="utf-8"))["specialties"]
    names = {row["code"]: row["name"] for row in listed}

    assert len(names) == len(listed)
    assert rules()[0].classes == names


@pytest.mark.parametrize(
    ("code", "region"),
    [
        ("330106", "same_county"),
        ("330113", "same_city"),
        ("330782", "same_province"),
        ("320505", "other_province"),
        ("810001", "hmt"),
        (None, "unclassified"),
    ],
)
def test_an_address_has_its_region(code: str | None, region: str) -> None:
    assert classified(region_code=code, home_region="330106").region == region


# ── the vocabulary ──────────────────────────────────────────────────────────


def test_every_fact_of_the_vocabulary_can_be_read_from_a_stay() -> None:
    for fact in FACTS.values():
        value = getattr(StayFacts(), fact.attribute)
        assert value == (() if fact.many else None)
        assert not (fact.words and fact.kind is not FactKind.WORD)
