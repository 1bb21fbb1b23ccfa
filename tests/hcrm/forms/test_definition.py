import pytest

from hcrm.core.definition_file import parse_definition
from hcrm.core.errors import HcrmError
from hcrm.forms.definition import Questionnaire

HEAD = "code: a.form\nversion: 1\nstatus: draft\ntitle: 表\n"
GOOD = (
    HEAD
    + """items:
  - {code: pain, type: scale, text: 疼吗}
  - {code: pulse, type: number, unit: 次/分, minimum: 20, maximum: 250, text: 心率}
  - {code: swollen, type: yes_no, text: 肿吗}
  - {code: colour, type: choice, text: 颜色, options: [{code: red, label: 红}, {code: blue, label: 青}]}
"""
)


def refusal(text: str) -> str:
    with pytest.raises(HcrmError) as caught:
        parse_definition(Questionnaire, text, "forms/a_form.yaml")
    assert "forms/a_form.yaml" in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ("items: []", "不能为空"),
        ("items: [{code: a, type: display, text: 您好}]", "没有可以回答的题目"),
        ("items: [{code: a, type: yes_no, text: 一}, {code: a, type: text, text: 二}]", "题目“a”重复"),
        ("items: [{code: a, type: colour, text: 一}]", "只能是"),
        ("items: [{code: a, type: number, text: 一, minimum: 1, maximum: 9}]", "数值题须写明 unit"),
        (
            "items: [{code: a, type: number, text: 一, unit: 次, minimum: 9, maximum: 1}]",
            "minimum 须小于 maximum",
        ),
        (
            "items: [{code: a, type: number, text: 一, unit: 次, minimum: 0.5, maximum: 9}]",
            "小数位多于 decimals",
        ),
        ("items: [{code: a, type: yes_no, text: 一, unit: 次}]", "只有数值题可以写 unit"),
        ("items: [{code: a, type: text, text: 一, minimum: 1}]", "只有数值题和评分题"),
        ("items: [{code: a, type: choice, text: 一}]", "选择题须写 options"),
        ("items: [{code: a, type: choice, text: 一, options: [{code: x, label: 甲}]}]", "至少要有两个选项"),
        (
            "items: [{code: a, type: choice, text: 一, options: [{code: x, label: 甲}, {code: x, label: 乙}]}]",
            "选项“x”重复",
        ),
        (
            "items: [{code: a, type: display, text: 一, required: true}, {code: b, type: text, text: 二}]",
            "不能必填",
        ),
    ],
)
def test_an_item_that_does_not_fit_its_type_is_refused(items: str, said: str) -> None:
    assert said in refusal(HEAD + items + "\n")


def test_a_question_can_only_hang_on_an_earlier_one() -> None:
    text = GOOD.replace("text: 疼吗", "text: 疼吗, enable_when: {item: swollen, is: true}")

    assert "题目“pain”的条件：之前没有题目“swollen”" in refusal(text)


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("{item: absent, is: true}", "没有题目“absent”"),
        ("{item: pulse}", "写且只写一个"),
        ("{item: pulse, at_least: 50, at_most: 60}", "写且只写一个"),
        ("{item: pulse, at_least: 300}", "界值 300 不在“pulse”的范围 20～250 之内"),
        ("{item: pulse, is: fast}", "不能作为条件"),
        ("{item: swollen, is: red}", "只能写 is: true 或 is: false"),
        ("{item: swollen, at_least: 1}", "不是数值题"),
        ("{item: colour, in: [red, green]}", "没有选项“green”"),
    ],
)
def test_a_flag_has_exactly_one_condition_that_can_come_true(when: str, said: str) -> None:
    assert said in refusal(f"{GOOD}flags: [{{code: f, level: R2, when: {when}, says: 处理}}]\n")


def test_a_flag_has_exactly_one_level() -> None:
    text = GOOD + "flags: [{code: f, level: R1/R2, when: {item: pain, at_least: 7}, says: 处理}]\n"

    assert "只能是 R1、R2、R3" in refusal(text)


def test_a_flag_says_what_will_happen() -> None:
    assert "缺少“says”" in refusal(GOOD + "flags: [{code: f, level: R1, when: {item: pain, at_least: 7}}]\n")


def test_a_scale_runs_from_nought_to_ten_unless_told_otherwise() -> None:
    form = parse_definition(Questionnaire, GOOD, "a_form.yaml")

    assert form.by_code["pain"].bounds == (0, 10)
