"""The shipped table of regions (GB/T 2260)."""

import csv
from functools import cache

import pytest

from hcrm.core.paths import config_path


@cache
def regions() -> list[dict[str, str]]:
    with config_path("regions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_region_stands_once_under_a_parent_of_the_level_above() -> None:
    levels = {row["code"]: row["level"] for row in regions()}
    above = {"city": "province", "county": "city"}

    assert len(levels) == len(regions())
    assert list(levels) == sorted(levels)
    for row in regions():
        assert row["name"]
        assert levels.get(row["parent"]) == above.get(row["level"])


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("330113", "临平区"),
        ("330114", "钱塘区"),
        ("659012", "白杨市"),
        ("540581", "错那市"),
        ("653228", "和康县"),
        ("441900", "东莞市"),
    ],
)
def test_the_regions_are_recent(code: str, name: str) -> None:
    assert {row["code"]: row["name"] for row in regions()}[code] == name


def test_invented_codes_of_towns_are_left_out() -> None:
    counties = [row["code"] for row in regions() if row["level"] == "county"]

    assert not [code for code in counties if code.startswith(("4419", "4420", "4604", "6202"))]
