import json
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcrm.core.definition_file import parse_definition
from hcrm.forms.answers import AnswerValue, Raw, display_answer, is_asked, read_answers, typed_answer
from hcrm.forms.definition import Item, ItemType, Questionnaire

FORM = parse_definition(
    Questionnaire,
    """
code: test.every_type
version: 1
status: draft
title: 各种题目
items:
  - {code: hello, type: display, text: 您好}
  - {code: fell, type: yes_no, required: true, text: 摔倒过吗}
  - {code: falls, type: number, unit: 次, minimum: 1, maximum: 99, required: true, text: 几次,
     enable_when: {item: fell, is: true}}
  - {code: hurt_head, type: yes_no, text: 撞到头了吗, enable_when: {item: falls, at_least: 3}}
  - {code: temperature, type: number, unit: ℃, minimum: 34, maximum: 43, decimals: 1, text: 体温}
  - {code: systolic, type: number, unit: mmHg, minimum: 50, maximum: 300, text: 收缩压}
  - {code: change, type: number, unit: kg, minimum: -20, maximum: 20, decimals: 2, text: 体重变化}
  - {code: pain, type: scale, text: 疼吗}
  - code: eating
    type: choice
    text: 吃饭
    options: [{code: normal, label: 正常}, {code: less, label: 少}]
  - code: helpers
    type: multi_choice
    text: 谁照顾
    options: [{code: wife, label: 妻子}, {code: child, label: 子女}, {code: nurse, label: 护工}]
  - {code: seen_on, type: date, text: 复诊日期}
  - {code: note, type: text, text: 备注}
""",
    "test_every_type.yaml",
)
MINIMUM = {"fell": "no"}


def read(code: str, raw: Raw) -> tuple[AnswerValue | None, str | None]:
    answers = read_answers(FORM, {**MINIMUM, code: raw})
    return answers.values.get(code), answers.errors.get(code)


@pytest.mark.parametrize(
    ("code", "raw", "value"),
    [
        ("fell", "yes", True),
        ("fell", " 否 ", False),
        ("systolic", "１２０", 120),
        ("systolic", " 120 mmhg", 120),
        ("systolic", "120.0", 120),
        ("systolic", "50", 50),
        ("systolic", "300", 300),
        ("temperature", "３７．５", "37.5"),
        ("temperature", "37。5", "37.5"),
        ("temperature", "37.50", "37.5"),
        ("temperature", "40", "40"),
        ("temperature", "38.6℃", "38.6"),
        ("change", "-1.25", "-1.25"),
        ("change", "-0", "0"),
        ("pain", "0", 0),
        ("pain", "10", 10),
        ("eating", "less", "less"),
        ("helpers", ["nurse", "wife"], ["wife", "nurse"]),
        ("helpers", ["wife", "", "wife"], ["wife"]),
        ("seen_on", "2026-11-22", "2026-11-22"),
        ("seen_on", "２０２６年２月３日", "2026-02-03"),
        ("seen_on", "2026/2/3", "2026-02-03"),
        ("note", " 头晕\r\n三天 ", "头晕\n三天"),
        ("note", "a\x00b", "ab"),
    ],
)
def test_what_is_typed_becomes_a_typed_answer(code: str, raw: Raw, value: AnswerValue) -> None:
    read_value, error = read(code, raw)

    assert error is None
    assert read_value == value
    assert type(read_value) is type(value)


@pytest.mark.parametrize(
    ("code", "raw", "error"),
    [
        ("fell", "maybe", "请选“是”或“否”"),
        ("systolic", "高", "请填数字，在 50～300 mmHg 之间"),
        ("systolic", "1e2", "请填数字，在 50～300 mmHg 之间"),
        ("systolic", "NaN", "请填数字，在 50～300 mmHg 之间"),
        ("systolic", "120/80", "请填数字，在 50～300 mmHg 之间"),
        ("systolic", "49", "超出范围，应在 50～300 mmHg 之间"),
        ("systolic", "301", "超出范围，应在 50～300 mmHg 之间"),
        ("systolic", "120.5", "应为整数"),
        ("temperature", "37.55", "最多 1 位小数"),
        ("pain", "11", "超出范围，应在 0～10 之间"),
        ("pain", ["3", "4"], "只能有一个答案"),
        ("eating", "a lot", "请从列出的选项中选择"),
        ("helpers", ["wife", "dog"], "请从列出的选项中选择"),
        ("seen_on", "明天", "请填日期，例如 2026-11-22"),
        ("seen_on", "2026-02-30", "请填日期，例如 2026-11-22"),
        ("seen_on", "0206-11-22", "年份不对，请核对"),
        ("note", "长" * 2001, "不能超过 2000 字，现有 2001 字"),
    ],
)
def test_what_cannot_be_taken_is_said_at_its_field(code: str, raw: Raw, error: str) -> None:
    assert read(code, raw) == (None, error)


def test_all_mistakes_are_said_at_once() -> None:
    answers = read_answers(FORM, {"pain": "99", "systolic": "高"})

    assert set(answers.errors) == {"fell", "pain", "systolic"}
    assert answers.errors["fell"] == "此题必填"
    assert not answers.complete


def test_a_draft_may_be_incomplete_but_not_wrong() -> None:
    answers = read_answers(FORM, {"pain": "99"}, draft=True)

    assert set(answers.errors) == {"pain"}
    assert answers.missing == ("fell",)
    assert not answers.complete


def test_a_draft_with_every_required_answer_is_complete() -> None:
    assert read_answers(FORM, MINIMUM, draft=True).complete


def test_what_is_no_longer_asked_is_dropped_with_all_that_hangs_on_it() -> None:
    raw = {"fell": "yes", "falls": "5", "hurt_head": "yes"}

    assert read_answers(FORM, raw).values == {"fell": True, "falls": 5, "hurt_head": True}
    assert read_answers(FORM, raw | {"falls": "2"}).values == {"fell": True, "falls": 2}
    assert read_answers(FORM, raw | {"fell": "no"}).values == {"fell": False}


def test_a_question_whose_deciding_answer_is_wrong_or_open_is_not_required() -> None:
    answers = read_answers(FORM, {"fell": "maybe"})

    assert set(answers.errors) == {"fell"}
    assert read_answers(FORM, {"fell": "yes"}).errors == {"falls": "此题必填"}


def test_fields_that_are_not_of_the_form_are_ignored() -> None:
    raw = MINIMUM | {"csrf_token": "x", "hello": "y", "role": "admin"}

    assert read_answers(FORM, raw).values == {"fell": False}


@pytest.mark.parametrize(
    ("code", "value", "shown"),
    [
        ("fell", True, "是"),
        ("fell", False, "否"),
        ("temperature", "37.5", "37.5 ℃"),
        ("systolic", 120, "120 mmHg"),
        ("pain", 0, "0 分"),
        ("eating", "less", "少"),
        ("eating", "gone_since_v2", "gone_since_v2"),
        ("helpers", ["wife", "nurse"], "妻子、护工"),
        ("seen_on", "2026-11-22", "2026-11-22"),
        ("note", "头晕", "头晕"),
    ],
)
def test_answers_are_shown_in_words(code: str, value: AnswerValue, shown: str) -> None:
    assert display_answer(FORM.by_code[code], value) == shown


def answers_to(item: Item) -> st.SearchStrategy[AnswerValue]:
    low, high = item.bounds
    if item.type is ItemType.YES_NO:
        return st.booleans()
    if item.type is ItemType.DATE:
        return st.dates(min_value=date(1900, 1, 1), max_value=date(2100, 12, 31)).map(str)
    if item.type is ItemType.CHOICE:
        return st.sampled_from(sorted(item.labels))
    if item.type is ItemType.MULTI_CHOICE:
        chosen = st.sets(st.sampled_from(sorted(item.labels)), min_size=1)
        return chosen.map(lambda codes: [code for code in item.labels if code in codes])
    if item.type is ItemType.TEXT:
        return st.text(alphabet="头晕三天 abc，。\n", min_size=1).map(str.strip).filter(bool)
    if item.decimals:
        numbers = st.decimals(low, high, places=item.decimals)
        return numbers.map(lambda number: format(number.normalize() + 0, "f"))
    return st.integers(int(low), int(high))


SUBMISSIONS = st.fixed_dictionaries({}, optional={item.code: answers_to(item) for item in FORM.questions})


@given(SUBMISSIONS)
def test_a_stored_answer_typed_again_gives_the_same_answer(given_answers: dict[str, AnswerValue]) -> None:
    stored = read_answers(
        FORM, {code: typed_answer(value) for code, value in given_answers.items()}, draft=True
    )

    assert not stored.errors
    asked = {
        code: value for code, value in given_answers.items() if is_asked(FORM.by_code[code], stored.values)
    }
    assert stored.values == asked
    assert json.loads(json.dumps(stored.values)) == stored.values


TYPED = st.text(alphabet="0123456789.．。１-+eE/年月日是否yesno 漢℃\x00\ud800\n", max_size=12)


@given(st.dictionaries(st.sampled_from(sorted(FORM.by_code)), TYPED | st.lists(TYPED, max_size=3)))
def test_whatever_is_typed_is_either_taken_or_refused_with_a_sentence(raw: dict[str, Raw]) -> None:
    answers = read_answers(FORM, raw)

    assert not set(answers.values) & set(answers.errors)
    assert all(answers.errors.values())
    for code, value in answers.values.items():
        item = FORM.by_code[code]
        assert display_answer(item, value)
        if item.type in (ItemType.NUMBER, ItemType.SCALE):
            assert item.bounds[0] <= Decimal(str(value)) <= item.bounds[1]
