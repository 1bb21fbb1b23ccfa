"""The shipped forms: each red flag of domain section 6 at, below and above its limit; a calm call raises nothing."""

from functools import cache

import pytest

from hcrm.core.paths import config_path
from hcrm.forms.answers import AnswerValue, display_answer, read_answers
from hcrm.forms.definition import FlagLevel, ItemType, Questionnaire, load_questionnaires
from hcrm.forms.scoring import raise_flags

FORMS = ("cardiology.pci", "endocrine.type2_diabetes", "generic.discharge", "neurology.stroke")


@cache
def forms() -> dict[str, Questionnaire]:
    return load_questionnaires(config_path("forms"))


NUMBERS = [  # form, flag, level, item, answers that stay quiet, answers that raise it
    ("generic.discharge", "fever", "R2", "temperature", ["38.4"], ["38.5", "38.6"]),
    ("neurology.stroke", "systolic_high", "R2", "systolic", [179], [180, 181]),
    ("neurology.stroke", "diastolic_high", "R2", "diastolic", [109], [110, 111]),
    ("cardiology.pci", "long_chest_pain", "R1", "chest_pain_minutes", [14, 15], [16]),
    ("endocrine.type2_diabetes", "fasting_high", "R2", "fasting_glucose", ["16.6", "4"], ["16.7", "16.8"]),
    ("endocrine.type2_diabetes", "fasting_low", "R2", "fasting_glucose", ["4"], ["3.9", "3.8"]),
    ("endocrine.type2_diabetes", "after_meal_high", "R2", "glucose_2h", ["16.6"], ["16.7", "16.8"]),
    ("endocrine.type2_diabetes", "after_meal_low", "R2", "glucose_2h", ["4"], ["3.9", "3.8"]),
    ("endocrine.type2_diabetes", "systolic_high", "R2", "systolic", [179], [180, 181]),
    ("endocrine.type2_diabetes", "diastolic_high", "R2", "diastolic", [109], [110, 111]),
]
SIGNS = [  # form, flag, level, item: yes raises it, no does not
    ("generic.discharge", "heavy_bleeding", "R1", "heavy_bleeding"),
    ("generic.discharge", "no_urine_8h", "R1", "no_urine_8h"),
    ("generic.discharge", "wound_pus", "R2", "wound_pus"),
    ("neurology.stroke", "new_weakness", "R1", "new_weakness"),
    ("neurology.stroke", "new_speech", "R1", "new_speech"),
    ("neurology.stroke", "new_face", "R1", "new_face"),
    ("neurology.stroke", "new_vision", "R1", "new_vision"),
    ("neurology.stroke", "head_injury", "R1", "head_injury"),
    ("neurology.stroke", "self_harm", "R1", "self_harm"),
    ("neurology.stroke", "black_stool", "R2", "black_stool"),
    ("cardiology.pci", "syncope", "R1", "syncope"),
    ("cardiology.pci", "rest_dyspnoea", "R1", "rest_dyspnoea"),
    ("cardiology.pci", "bleeding", "R2", "bleeding"),
    ("endocrine.type2_diabetes", "drowsy", "R1", "drowsy"),
    ("endocrine.type2_diabetes", "acetone_breath", "R1", "acetone_breath"),
    ("endocrine.type2_diabetes", "foot_ulcer", "R2", "foot_ulcer"),
]
STOPPED = [
    ("cardiology.pci", "aspirin_stopped", "R2", "aspirin"),
    ("cardiology.pci", "p2y12_stopped", "R2", "p2y12"),
]
CASES = [
    *NUMBERS,
    *((form, flag, level, item, [False], [True]) for form, flag, level, item in SIGNS),
    *(
        (form, flag, level, item, ["taken", "missed", "not_prescribed"], ["stopped"])
        for form, flag, level, item in STOPPED
    ),
]


def with_what_lets_it_be_asked(form: Questionnaire, item: str, value: AnswerValue) -> dict[str, AnswerValue]:
    answers = {item: value}
    while (test := form.by_code[item].enable_when) is not None:
        item = test.item
        answers[item] = test.wanted[0]
    return answers


@pytest.mark.parametrize(
    ("form_code", "flag", "level", "item", "quiet", "raising"),
    CASES,
    ids=[f"{case[0]} {case[1]}" for case in CASES],
)
def test_a_flag_is_raised_at_its_limit_and_not_before(
    form_code: str, flag: str, level: str, item: str, quiet: list[AnswerValue], raising: list[AnswerValue]
) -> None:
    form = forms()[form_code]

    for value in quiet:
        assert raise_flags(form, with_what_lets_it_be_asked(form, item, value)) == []
    for value in raising:
        (hit,) = raise_flags(form, with_what_lets_it_be_asked(form, item, value))
        assert (hit.flag.code, hit.flag.level, hit.item_code) == (flag, FlagLevel(level), item)
        assert display_answer(form.by_code[item], value) in hit.evidence


def test_every_shipped_flag_is_tried_at_its_limit() -> None:
    shipped = {(form.code, flag.code) for form in forms().values() for flag in form.flags}

    assert {(case[0], case[1]) for case in CASES} == shipped


@pytest.mark.parametrize("code", FORMS)
def test_an_open_form_raises_nothing(code: str) -> None:
    assert raise_flags(forms()[code], {}) == []


@pytest.mark.parametrize("code", FORMS)
def test_a_call_without_findings_can_be_submitted_and_raises_nothing(code: str) -> None:
    form = forms()[code]
    calm = {"has_wound": "no", "pain": "0", "falls": "0", "hypo_times": "0"}
    typed = {}
    for item in form.questions:
        if item.required:
            first = next(iter(item.labels), "no")
            typed[item.code] = calm.get(item.code, "0" if item.type is ItemType.NUMBER else first)

    answers = read_answers(form, typed)

    assert answers.complete, answers.errors
    assert raise_flags(form, answers.values) == []


@pytest.mark.parametrize("code", FORMS)
def test_a_question_that_raises_an_emergency_must_be_answered(code: str) -> None:
    form = forms()[code]

    for flag in form.flags:
        if flag.level is FlagLevel.R1:
            assert form.by_code[flag.when.item].required, flag.code


def test_what_is_said_fits_the_level() -> None:
    for form in forms().values():
        for flag in form.flags:
            wanted = {FlagLevel.R1: "15 分钟内", FlagLevel.R2: "今天内", FlagLevel.R3: "三日内"}[flag.level]
            assert wanted in flag.says, f"{form.code} {flag.code}"
