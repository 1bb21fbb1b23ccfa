"""DFT^P03 through the socket: lines of a bill, and totals by cost class."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from hcrm.archive.clinical.models import ChargeItem
from hcrm.archive.clinical.terms import ChargeKind
from hcrm.core.paths import config_path
from hcrm.core.sources import Source, Sources, load_sources
from hcrm.inbox.models import ApplicationState
from tests.support.adt import adt
from tests.support.clinical import clinical
from tests.support.hospital import Hospital
from tests.support.truth_table import evening, hospital

__all__ = ["evening", "hospital"]

ADMITTED = adt("A01", c=1, m="09:00")


def ft1(
    number: str = "T1",
    code: str = "250403^血常规",
    amount: str = "25.50",
    *,
    kind: str = "CG",
    count: str = "1",
) -> str:
    return f"FT1|1|{number}||20261122|20261122|{kind}|{code}|||{count}|{amount}|"


def live(hospital: Hospital) -> list[ChargeItem]:
    rows = hospital.all(ChargeItem, ChargeItem.ended_at.is_(None))
    return sorted(rows, key=lambda row: (row.number, row.code))


def test_every_line_is_kept_in_fen(hospital):
    hospital.receive(ADMITTED, clinical("DFT^P03", ft1(), ft1("T2", "310^床位费", "40&CNY", count="2")))

    first, second = live(hospital)
    assert (first.text, first.amount_fen, first.quantity) == ("血常规", 2550, Decimal(1))
    assert (second.amount_fen, second.quantity) == (4000, Decimal(2))
    assert first.encounter_id == hospital.visit("V1").id


@pytest.mark.parametrize(
    ("fields", "fen", "flags"),
    [
        ("2||0.105", 21, ""), ("3|10.005|", 1001, ""), ("||", None, ""), ("1|abc|", None, "bad_number:FT1-11"),
        ("1|1E999|", None, "bad_number:FT1-11"), ("1|-12.30|", -1230, ""), ("1|NaN|", None, "bad_number:FT1-11"),
    ],
)  # fmt: skip
def test_amounts_are_counted_exactly_or_not_at_all(hospital, fields, fen, flags):
    hospital.receive(ADMITTED, clinical("DFT^P03", f"FT1|1|T1||20261122||CG|A^甲|||{fields}"))

    assert live(hospital)[0].amount_fen == fen
    assert hospital.application().flags == flags


def test_money_given_back_counts_against(hospital):
    hospital.receive(ADMITTED, clinical("DFT^P03", ft1(kind="CD")))

    (row,) = live(hospital)
    assert (row.kind, row.amount_fen) == (ChargeKind.CREDIT, -2550)


def test_lines_without_a_number_are_known_by_what_they_say(hospital):
    lines = (ft1(""), ft1(""), ft1("", "310^床位费", "40"))
    hospital.receive(ADMITTED, clinical("DFT^P03", *lines))

    assert len(live(hospital)) == 3


def test_a_line_told_anew_is_corrected(hospital):
    hospital.receive(
        ADMITTED, clinical("DFT^P03", ft1()), clinical("DFT^P03", ft1(amount="20.00"), c=51, m="12:00")
    )

    assert [row.amount_fen for row in live(hospital)] == [2000]
    assert hospital.count(ChargeItem) == 2


@pytest.fixture
def totals(database, evening) -> Iterator[Hospital]:
    """A sender that tells what each cost class comes to by now."""
    shipped = load_sources(config_path("sources")).by_code.values()
    his = Source(
        code="his",
        title="HIS",
        sender="HIS",
        charge_totals=True,
        cost_classes={"01": "西药费", "02": "床位费"},
    )
    with Hospital(database, evening, sources=Sources([*shipped, his])) as hospital:
        yield hospital
        hospital.assert_repeats_change_nothing()


def test_a_newer_total_of_a_class_takes_the_place_of_the_older(totals):
    day = (ft1("", "01^西药", "100.00"), ft1("", "02^床位", "40.00"))
    next_day = (ft1("", "01^西药", "180.00"), ft1("", "02^床位", "80.00"))
    totals.receive(ADMITTED, clinical("DFT^P03", *day), clinical("DFT^P03", *next_day, c=51, m="12:00"))

    assert [(row.cost_class, row.amount_fen, row.is_total) for row in live(totals)] == [
        ("西药费", 18000, True), ("床位费", 8000, True)]  # fmt: skip


def test_a_late_total_changes_nothing(totals):
    totals.receive(
        ADMITTED,
        clinical("DFT^P03", ft1("", "01^西药", "180.00"), m="12:00"),
        clinical("DFT^P03", ft1("", "01^西药", "100.00"), c=51, m="11:00"),
    )

    assert [row.amount_fen for row in live(totals)] == [18000]


def test_a_bill_without_lines_is_parked(hospital):
    hospital.receive(clinical("DFT^P03"))

    row = hospital.application()
    assert (row.state, row.reason, row.detail) == (ApplicationState.PARKED, "no_charge", "FT1")
