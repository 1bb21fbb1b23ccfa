"""What one row of a file of archives tells, cleaned once, with the fingerprints it is compared by."""

from dataclasses import dataclass
from datetime import date

from hcrm.archive.imports.people import NAME, RECORD_NO
from hcrm.archive.terms import NO_BIRTH_DATE, is_birth_date
from hcrm.core.crypto import KeyRing
from hcrm.core.importing import Given, Problem
from hcrm.core.text import clean_id_number, clean_name, clean_phone, is_id_number

_SHORTEST_PHONE = 5
_PHONES = ("phone", "phone2", "related_phone")


@dataclass(frozen=True, slots=True)
class ToldPhone:
    """A number, its fingerprint, and how it is written."""

    value: str
    index: str


@dataclass(frozen=True, slots=True)
class Told:
    """One row. What it does not tell is empty or None."""

    number: str
    name: str
    citizen: str
    citizen_index: str | None
    phones: dict[str, ToldPhone]  # by column
    problems: tuple[Problem, ...]  # with single cells, beyond how they are written


def read_told(given: Given, keys: KeyRing, today: date) -> Told:
    """What the row tells. Nobody is born after `today`."""
    name = clean_name(given.text(NAME.code))
    citizen = clean_id_number(given.text("id_number"))
    phones: dict[str, ToldPhone] = {}
    problems: list[Problem] = []
    if citizen and not is_id_number(citizen):
        problems.append(Problem("id_number", "身份证号不对：应为 18 位且校验位相符"))
    elif citizen and (born := given.get("birth_date")) and citizen[6:14] != born.strftime("%Y%m%d"):
        problems.append(Problem("birth_date", "与身份证号中的出生日期不同"))
    if (born := given.get("birth_date")) and not is_birth_date(born, today):
        problems.append(Problem("birth_date", NO_BIRTH_DATE))
    for code in _PHONES:
        if written := given.text(code):
            value = clean_phone(written)
            if len(value) < _SHORTEST_PHONE:
                problems.append(Problem(code, "电话号码不对"))
            else:
                phones[code] = ToldPhone(value, keys.blind("phone", value))
    if not name:
        problems.append(Problem(NAME.code, "此项必填"))
    return Told(
        number=given.text(RECORD_NO.code), name=name, citizen=citizen,
        citizen_index=keys.blind("id", citizen) if citizen else None, phones=phones, problems=tuple(problems),
    )  # fmt: skip
