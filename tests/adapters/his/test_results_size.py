"""Results beyond what anyone sends: read without delay, applied, or parked (C15)."""

from collections.abc import Iterator

import pytest

from adapters.his.mapping import map_message
from hcrm.archive.clinical.models import Observation
from hcrm.archive.records import Change, Unmapped
from hcrm.core.paths import config_path
from hcrm.core.sources import load_sources
from tests.support.adt import adt
from tests.support.clinical import clinical, obr, obx
from tests.support.effort import LINEAR, growth
from tests.support.hospital import Hospital
from tests.support.truth_table import EVENING, evening

__all__ = ["evening"]

SOURCES = load_sources(config_path("sources"))
ADMITTED = adt("A01", c=1, m="09:00")


def mapped(raw: bytes) -> Change | Unmapped:
    return map_message(raw, SOURCES, EVENING).result


def results(number: int) -> bytes:
    return clinical("ORU^R01", obr(), *(obx(n, f"C{n}^项目", flag="H") for n in range(number)))


def repeats(number: int) -> bytes:
    return clinical("ORU^R01", obr(), obx(value="~".join(["1^2&3"] * number), kind="ST"))


def test_five_thousand_results_are_read_without_delay():
    result = mapped(results(5_000))

    assert isinstance(result, Change)
    assert len(result.clinical.reports[0].observations) == 5_000
    assert growth(mapped, results(625), results(5_000)) < LINEAR


def test_twenty_thousand_repeats_are_read_without_delay():
    assert isinstance(mapped(repeats(20_000)), Change)
    assert growth(mapped, repeats(2_500), repeats(20_000)) < LINEAR


def test_more_rows_than_anyone_sends_are_parked():
    result = mapped(clinical("ORU^R01", obr(), *(obx(number) for number in range(10_001))))

    assert result == Unmapped("budget", "OBX")


def test_a_code_longer_than_any_is_parked():
    assert mapped(clinical("ORU^R01", obr(), obx(code="C" * 300))) == Unmapped("budget", "OBX-3")


@pytest.fixture
def plain(database, evening) -> Iterator[Hospital]:
    """Without everything said again at the end."""
    with Hospital(database, evening) as hospital:
        yield hospital


def test_two_thousand_results_of_one_message_are_applied(plain):
    lines = [obx(number, f"C{number}^项目", str(number)) for number in range(2_000)]
    plain.receive(ADMITTED, clinical("ORU^R01", obr(), *lines))

    assert plain.count(Observation) == 2_000
