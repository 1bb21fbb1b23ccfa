"""Results beyond what anyone sends: read within a second, applied, or parked (C15)."""

import time
from collections.abc import Iterator

import pytest

from adapters.his.mapping import map_message
from hcrm.archive.clinical_models import Observation
from hcrm.archive.records import Change, Unmapped
from hcrm.core.paths import config_path
from hcrm.core.sources import load_sources
from tests.support.adt import adt
from tests.support.clinical import clinical, obr, obx
from tests.support.hospital import Hospital
from tests.support.truth_table import EVENING, evening

__all__ = ["evening"]

ADMITTED = adt("A01", c=1, m="09:00")


def mapped(raw: bytes) -> Change | Unmapped:
    begun = time.perf_counter()
    result = map_message(raw, load_sources(config_path("sources")), EVENING).result
    assert time.perf_counter() - begun < 1.0
    return result


def test_five_thousand_results_are_read_within_a_second():
    raw = clinical("ORU^R01", obr(), *(obx(number, f"C{number}^项目", flag="H") for number in range(5_000)))
    result = mapped(raw)

    assert isinstance(result, Change)
    assert len(result.clinical.reports[0].observations) == 5_000


def test_twenty_thousand_repeats_are_read_within_a_second():
    result = mapped(clinical("ORU^R01", obr(), obx(value="~".join(["1^2&3"] * 20_000), kind="ST")))

    assert isinstance(result, Change)


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
