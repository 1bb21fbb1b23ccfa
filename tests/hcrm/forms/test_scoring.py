import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcrm.core.definition_file import parse_definition
from hcrm.forms.answers import AnswerValue, read_answers
from hcrm.forms.definition import FlagLevel, Questionnaire
from hcrm.forms.scoring import raise_flags

FORM = parse_definition(
    Questionnaire,
    """
code: test.flags
version: 1
status: draft
title: 预警
items:
  - {code: glucose, type: number, unit: mmol/L, minimum: 1, maximum: 60, decimals: 1, label: 血糖, text: 血糖多少}
  - {code: pain, type: scale, text: 疼吗}
  - {code: on_warfarin, type: yes_no, text: 吃华法林吗}
  - {code: head_injury, type: yes_no, text: 撞到头了吗, enable_when: {item: on_warfarin, is: true}}
  - code: signs
    type: multi_choice
    text: 有哪些
    options: [{code: cough, label: 咳嗽}, {code: blood, label: 咳血}, {code: fever, label: 发热}]
  - code: medicine
    type: choice
    text: 药
    options: [{code: taken, label: 在吃}, {code: missed, label: 漏吃}, {code: stopped, label: 停了}]
flags:
  - {code: low, level: R2, when: {item: glucose, at_most: 3.9}, says: 吃糖}
  - {code: very_low, level: R1, when: {item: glucose, below: 3}, says: 打 120}
  - {code: high, level: R2, when: {item: glucose, at_least: 16.7}, says: 就诊}
  - {code: bad_pain, level: R3, when: {item: pain, above: 6}, says: 复诊}
  - {code: head_injury, level: R1, when: {item: head_injury, is: true}, says: 打 120}
  - {code: blood, level: R1, when: {item: signs, is: blood}, says: 打 120}
  - {code: medicine, level: R2, when: {item: medicine, in: [missed, stopped]}, says: 问明原因}
""",
    "test_flags.yaml",
)


def raised(answers: dict[str, AnswerValue]) -> list[str]:
    return [hit.flag.code for hit in raise_flags(FORM, answers)]


@pytest.mark.parametrize(
    ("answers", "codes"),
    [
        ({"glucose": "4"}, []),
        ({"glucose": "3.9"}, ["low"]),
        ({"glucose": "3"}, ["low"]),
        ({"glucose": "2.9"}, ["very_low", "low"]),
        ({"glucose": "16.6"}, []),
        ({"glucose": "16.7"}, ["high"]),
        ({"pain": 6}, []),
        ({"pain": 7}, ["bad_pain"]),
        ({"signs": ["cough", "fever"]}, []),
        ({"signs": ["cough", "blood"]}, ["blood"]),
        ({"medicine": "taken"}, []),
        ({"medicine": "missed"}, ["medicine"]),
        ({"on_warfarin": True, "head_injury": False}, []),
        ({"on_warfarin": True, "head_injury": True}, ["head_injury"]),
    ],
)
def test_a_flag_is_raised_at_its_limit_and_not_before(
    answers: dict[str, AnswerValue], codes: list[str]
) -> None:
    assert raised(answers) == codes


def test_no_answer_is_neither_low_nor_no() -> None:
    assert raised({}) == []


def test_a_draft_raises_what_it_can() -> None:
    draft = read_answers(FORM, {"glucose": "２．５", "pain": "eleven"}, draft=True)

    assert raised(draft.values) == ["very_low", "low"]


def test_an_answer_to_a_question_that_is_no_longer_asked_raises_nothing() -> None:
    assert raised({"on_warfarin": False, "head_injury": True}) == []


def test_the_most_urgent_comes_first() -> None:
    levels = [
        hit.flag.level for hit in raise_flags(FORM, {"pain": 9, "medicine": "missed", "signs": ["blood"]})
    ]

    assert levels == [FlagLevel.R1, FlagLevel.R2, FlagLevel.R3]


def test_the_evidence_names_question_answer_and_limit() -> None:
    low, pain = raise_flags(FORM, {"glucose": "3.5", "pain": 8})

    assert low.evidence == "血糖：3.5 mmol/L（界值 ≤ 3.9 mmol/L）"
    assert pain.evidence == "疼吗：8 分（界值 ＞ 6）"
    assert low.item_code == "glucose"


ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "glucose": st.integers(10, 600).map(lambda tenths: f"{tenths // 10}.{tenths % 10}"),
        "pain": st.integers(0, 10),
        "on_warfarin": st.booleans(),
        "head_injury": st.booleans(),
        "signs": st.lists(st.sampled_from(["cough", "blood", "fever"]), min_size=1, unique=True),
        "medicine": st.sampled_from(["taken", "missed", "stopped"]),
    },
)


@given(ANSWERS, st.sets(st.sampled_from(sorted(FORM.by_code))))
def test_leaving_answers_out_never_raises_a_flag(answers: dict[str, AnswerValue], left_out: set[str]) -> None:
    fewer = {code: value for code, value in answers.items() if code not in left_out}

    assert set(raised(fewer)) <= set(raised(answers))
