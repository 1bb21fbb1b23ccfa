"""What the simulated laboratory, pharmacy, ward and booking desk tell, and that nothing else changes for it."""

from collections import Counter
from datetime import UTC, date, datetime

import pytest

from adapters.his.mapping import map_message
from adapters.his.simulator import Shares, Simulator, live_messages
from adapters.his.simulator.clinical import KINDS
from hcrm.archive.clinical.terms import CRITICAL_FLAGS
from hcrm.archive.records import Change
from hcrm.core.paths import config_path
from hcrm.core.sources import load_sources

START = date(2026, 1, 5)


@pytest.fixture(scope="module")
def told():
    return list(Simulator(4, START, 120, 900, shares=Shares(clinical=1.0)).messages())


@pytest.fixture(scope="module")
def changes(told):
    sources = load_sources(config_path("sources"))
    found = []
    for message in told:
        if message.event in KINDS:
            result = map_message(message.raw, sources, datetime(2027, 1, 1, tzinfo=UTC)).result
            assert isinstance(result, Change), (message.event, result)
            assert result.flags == ()
            found.append((message, result.clinical))
    return found


def test_without_the_share_not_a_byte_differs():
    plain = list(Simulator(4, START, 60, 400).messages())
    none = list(Simulator(4, START, 60, 400, shares=Shares(clinical=0.0)).messages())

    assert plain == none
    assert not {message.event for message in plain} & KINDS.keys()


def test_the_same_seed_tells_the_same_twice(told):
    again = list(Simulator(4, START, 120, 900, shares=Shares(clinical=1.0)).messages())

    assert [message.raw for message in again] == [message.raw for message in told]


def test_every_kind_is_told_and_at_most_four_a_stay(told):
    stays: Counter[str] = Counter(
        message.raw.split(b"PV1|")[1].split(b"|")[18].decode()
        for message in {message.raw: message for message in told}.values()
        if message.event in KINDS and b"PV1|" in message.raw
    )

    assert {message.event for message in told} >= KINDS.keys()
    assert max(stays.values()) <= 4


def test_they_are_read_as_what_they_are(changes):
    kinds: Counter[str] = Counter()
    for _, record in changes:
        kinds["reports"] += len(record.reports)
        kinds["critical"] += any(
            one.flag in CRITICAL_FLAGS for report in record.reports for one in report.observations
        )
        kinds["orders"] += sum(order.ends_on is not None for order in record.medications)
        kinds["herbal"] += sum(order.is_herbal is True and order.doses == 7 for order in record.medications)
        kinds["charges"] += sum((charge.amount_fen or 0) > 0 for charge in record.charges)
        kinds["documents"] += sum(bool(document.text) for document in record.documents)
        kinds["bookings"] += sum(booking.starts_at is not None for booking in record.appointments)

    assert all(
        kinds[name] > 0
        for name in ("reports", "critical", "orders", "herbal", "charges", "documents", "bookings")
    )
    assert 0.01 < kinds["critical"] / kinds["reports"] < 0.12


def test_who_does_not_come_had_a_booking(changes):
    booked = {one.appointments[0].number for message, one in changes if message.event == "S12"}
    missed = {one.appointments[0].number for message, one in changes if message.event == "S26"}

    assert missed
    assert missed <= booked


def test_live_traffic_tells_them_too():
    simulator = Simulator(4, START, 60, 400, shares=Shares(clinical=1.0))
    stream = live_messages(simulator, now=datetime(2026, 6, 1, 2, tzinfo=UTC), per_minute=12)
    events = {next(stream).event for _ in range(600)}

    assert events >= KINDS.keys() - {"S26"}
