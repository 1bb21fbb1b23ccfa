"""What goes on after the simulated days, and the messages of load tests."""

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from adapters.his.simulator import Simulator, bench_messages, live_messages
from tests.support.simulated import START, segments

NOW = datetime(2026, 11, 22, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def ended() -> Simulator:
    return Simulator(5, START, 365, 800)


def test_live_traffic_goes_on_from_the_last_day_and_discharges_who_is_still_there(ended: Simulator) -> None:
    open_before = set(ended.end_state().open)
    messages = list(islice(live_messages(ended, now=NOW, per_minute=10), 2000))
    discharged = {message.visit for message in messages if message.event == "A03"}

    assert messages[0].event == "A03"
    assert messages[0].at - NOW < timedelta(minutes=2)
    assert open_before
    assert discharged >= open_before
    assert 8 < len(messages) / ((messages[-1].at - NOW) / timedelta(minutes=1)) < 12
    assert {message.event for message in messages} >= {"A01", "A03", "A04", "A08", "A13", "A28", "A31"}


def test_live_traffic_opens_and_closes_visits_in_order_and_never_reuses_a_number(ended: Simulator) -> None:
    seeded = {message.visit for message in ended.messages() if message.visit}
    is_open = dict.fromkeys(ended.end_state().open, True)
    control_ids = set()
    for message in islice(live_messages(ended, now=NOW), 1500):
        control_ids.add(segments(message, "MSH")[0][9])
        if message.event in ("A01", "A04"):
            assert message.visit not in seeded
            assert message.visit not in is_open
            is_open[message.visit] = True
        elif message.event in ("A03", "A13"):
            assert is_open[message.visit] == (message.event == "A03")
            is_open[message.visit] = message.event == "A13"

    assert len(control_ids) == 1500


def test_live_traffic_leaves_alone_what_the_archive_has_closed(ended: Simulator) -> None:
    known = sorted(ended.end_state().open)
    kept = set(known[::2])
    messages = islice(live_messages(ended, now=NOW, open_visits=kept), 1500)

    assert {message.visit for message in messages if message.event == "A03"} & set(known) == kept


def test_live_traffic_does_not_begin_before_the_last_day_has_ended(ended: Simulator) -> None:
    with pytest.raises(ValueError, match="simulated days"):
        live_messages(ended, now=NOW - timedelta(days=1))


def test_live_traffic_of_an_empty_hospital_consists_of_newcomers() -> None:
    messages = list(islice(live_messages(Simulator(1, START, 1, 0), now=NOW), 200))

    assert {message.patient for message in messages} == {
        message.patient for message in messages if message.event == "A28"
    }


def test_bench_messages_are_discharges_of_new_patients_each() -> None:
    messages = list(bench_messages(9, 400))

    assert len({message.patient for message in messages}) == 400
    assert len({message.visit for message in messages}) == 400
    assert len({segments(message, "MSH")[0][9] for message in messages}) == 400
    assert {message.event for message in messages} == {"A03"}
    assert all(2 <= len(segments(message, "DG1")) <= 3 and segments(message, "PR1") for message in messages)
    assert 700 < sum(len(message.raw) for message in messages) / 400 < 1000


def test_bench_messages_go_on_after_those_already_sent() -> None:
    whole = list(bench_messages(9, 300))

    assert list(bench_messages(9, 100, already=200)) == whole[200:]
