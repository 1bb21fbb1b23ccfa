"""Which numbers are offered to be dialled (`config/phones.yaml`)."""

from pathlib import Path

import pytest

from hcrm.core import dialling
from hcrm.core.dialling import DialRules, dial_link, load_dial_rules, why_not_dialled
from hcrm.core.errors import HcrmError
from hcrm.core.text import clean_phone, national_phone

DIALLED = [
    "13812345678", "19912345678", "010-61234567", "0571 87654321", "+86 951 2188888", "09512188888", "87654321",
    "+861069012345", "0755-26012345",
]  # fmt: skip
REASONS = {
    "16812345": "声讯收费号码", "160123456": "声讯收费号码", "95598": "企业服务号码", "021-95588": "企业服务号码",
    "+86 95013123456": "企业服务号码", "96123": "地方服务或收费号码", "010-96123": "地方服务或收费号码",
    "106901234567": "短信端口号", "400-800-1234": "服务热线", "10106666": "服务热线", "+85221234567": "境外号码",
    "0044 20 7946 0958": "境外号码", "+1 900 555 1234": "境外号码", "110": "短号或号码不完整",
    "12320": "短号或号码不完整", "1381234567": "短号或号码不完整", "a@b.cn": "不是电话号码", "": "不是电话号码",
    "12": "不是电话号码", "tel:110": "不是电话号码",
}  # fmt: skip


@pytest.mark.parametrize("number", DIALLED)
def test_a_person_s_number_is_dialled_as_it_came_and_as_it_is_kept(number):
    for one in (number, clean_phone(number), national_phone(clean_phone(number))):
        assert why_not_dialled(one) == ""
        assert dial_link(one)


@pytest.mark.parametrize("number", REASONS)
def test_any_other_is_not_and_the_reason_is_said(number):
    for one in (number, clean_phone(number)):
        assert dial_link(one) == ""
    assert why_not_dialled(number) == REASONS[number]


def rules(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    monkeypatch.setattr(dialling, "load_dial_rules", lambda: DialRules.model_validate(changes))


def test_a_hospital_may_dial_a_neighbouring_country_and_its_own_extensions(monkeypatch):
    rules(monkeypatch, countries=["86", "852"], short=["6688"])

    assert dial_link("+852 2123 4567") == "+85221234567"
    assert dial_link("6688") == "6688"
    assert why_not_dialled("+852 900 123") == "短号或号码不完整"
    assert why_not_dialled("+81 3 1234 5678") == "境外号码"


def test_without_the_file_only_complete_numbers_of_this_country_are_dialled(tmp_path):
    assert load_dial_rules(tmp_path / "none.yaml") == DialRules()


@pytest.mark.parametrize(
    "text", ["blocked: [{prefix: x, reason: y}]", "unknown: 1", "blocked: [{prefix: '95'}]", "a: ["]
)
def test_a_mistake_in_the_file_is_said_and_not_passed_over(tmp_path: Path, text: str):
    path = tmp_path / "phones.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(HcrmError, match=r"config/phones\.yaml"):
        load_dial_rules(path)
