"""Which numbers are offered to be dialled: `config/phones.yaml`. Any other stays text, with the reason beside it."""

import re
from functools import cache
from pathlib import Path

import phonenumbers
from pydantic import BaseModel, ConfigDict, Field

from hcrm.core.config_file import read_config_file
from hcrm.core.errors import HcrmError
from hcrm.core.paths import config_path

_HOME = "CN"
_LOCAL = re.compile(r"[2-8]\d{6,7}", re.ASCII)  # a number of this town, without its area code


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Blocked(_Strict):
    """Numbers that begin so, of that length where one is given, are not dialled."""

    prefix: str = Field(pattern=r"^\d{2,10}$")
    length: int | None = Field(default=None, ge=3, le=15)
    reason: str = Field(min_length=1, max_length=40)


class DialRules(_Strict):
    """The file."""

    countries: tuple[str, ...] = ("86",)
    blocked: tuple[Blocked, ...] = ()
    short: frozenset[str] = frozenset()


@cache
def load_dial_rules(path: Path | None = None) -> DialRules:
    """What the hospital decided; no file means this country's complete numbers only."""
    path = path or config_path("phones.yaml")
    if not path.exists():
        return DialRules()
    return read_config_file(
        DialRules, path, lambda sentence: HcrmError("phones.invalid", f"config/phones.yaml 有误：{sentence}")
    )


def dial_link(number: str) -> str:
    """The number as a phone takes it (RFC 3966), empty where it is not dialled."""
    return "" if why_not_dialled(number) else _digits(number)


def why_not_dialled(number: str) -> str:
    """Why a number is not dialled, in words for the page; empty where it is."""
    rules = load_dial_rules()
    digits = _digits(number)
    if not digits:
        return "不是电话号码"
    if digits in rules.short:
        return ""
    try:
        plan = phonenumbers.parse(digits, _HOME)
    except phonenumbers.NumberParseException:
        return "号码不完整"
    is_complete = phonenumbers.is_valid_number(plan)
    if str(plan.country_code) not in rules.countries:
        return "境外号码"
    if plan.country_code == phonenumbers.country_code_for_region(_HOME):
        home = _at_home(plan) if is_complete else re.sub(r"^(\+|00)86", "", digits)
        if reason := _blocked(home, rules):
            return reason
        is_complete = is_complete or bool(_LOCAL.fullmatch(home))
    if not is_complete:
        return "短号或号码不完整"
    is_charged = phonenumbers.number_type(plan) == phonenumbers.PhoneNumberType.PREMIUM_RATE
    return "收费号码" if is_charged else ""


def _digits(number: str) -> str:
    """Digits with a leading plus where there is one; empty for anything else, as an e-mail address."""
    digits = re.sub(r"[\s()-]", "", number)
    return digits if re.fullmatch(r"\+?\d{3,20}", digits, re.ASCII) else ""


def _at_home(plan: phonenumbers.PhoneNumber) -> str:
    """As it is dialled inside the country: 0571 87654321 with its zero, so that no area code looks like a prefix."""
    return re.sub(r"\D", "", phonenumbers.format_number(plan, phonenumbers.PhoneNumberFormat.NATIONAL))


def _blocked(home: str, rules: DialRules) -> str:
    """The reason of the first prefix it begins with, also behind an area code."""
    for number in (home, *_behind_area_code(home)):
        for one in rules.blocked:
            if number.startswith(one.prefix) and one.length in (None, len(number)):
                return one.reason
    return ""


def _behind_area_code(home: str) -> list[str]:
    """A service number of five or six digits behind 010 or 0571; a subscriber has seven or eight."""
    if not home.startswith("0"):
        return []
    rest = home[3:] if home[1] in "12" else home[4:]
    return [rest] if 5 <= len(rest) <= 6 else []
