"""What goes on after the simulated days, and the messages of load tests."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest

from adapters.his.simulator import Simulator, bench_messages, bench_results, bench_stays, live_messages
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


@pytest.mark.parametrize("feed", [bench_messages, bench_stays, bench_results])
def test_a_load_feed_gives_the_same_bytes_each_time_however_many_are_asked_for(feed) -> None:
    whole = list(feed(9, 900, already=50))

    assert list(feed(9, 650, already=50)) == whole[:650]
    assert len({segments(message, "MSH")[0][9] for message in whole}) == 900
    assert len({message.raw for message in feed(10, 900, already=50)} & {each.raw for each in whole}) == 0


def test_bench_stays_tell_each_stay_whole_and_in_order_200_messages_apart() -> None:
    places: dict[str, list[int]] = {}
    messages = list(bench_stays(9, 3000))
    for place, message in enumerate(messages):
        places.setdefault(message.visit, []).append(place)
    events = {visit: [messages[place].event for place in found] for visit, found in places.items()}
    whole = [visit for visit, told in events.items() if len(told) == 5]

    assert len({message.patient for message in messages}) == len(events)
    assert all(told == ["A01", "A08", "A08", "A02", "A03"][: len(told)] for told in events.values())
    assert len(whole) > 400
    for visit in whole:
        if places[visit][0] >= 400:  # before, the first stays lead up to the mixture
            assert all(195 <= later - sooner <= 205 for sooner, later in pairwise(places[visit]))
    steady = Counter(message.event for message in messages[400:2400])
    assert steady == {"A01": 400, "A08": 800, "A02": 400, "A03": 400}


def test_bench_stays_move_the_patient_to_another_bed_and_end_before_they_are_told() -> None:
    messages = [message for message in bench_stays(9, 1200) if message.visit == "B0000000001"]
    beds = [segments(message, "PV1")[0][3] for message in messages]
    happened = [segments(message, "EVN")[0][6] for message in messages]

    assert beds[0] == beds[1] == beds[2] != beds[3] == beds[4]
    assert happened == sorted(set(happened))
    assert happened[-1] < segments(messages[0], "MSH")[0][6]


def test_bench_results_are_fifteen_reports_of_20_results_for_each_new_patient() -> None:
    messages = list(bench_results(9, 1200, already=7))
    reports = Counter(message.patient for message in messages)

    assert {message.event for message in messages} == {"R01"}
    assert set(reports.values()) == {15}
    assert len(reports) == 80
    assert all(len(segments(message, "OBX")) == 20 for message in messages)
    assert len({segments(message, "OBR")[0][3] for message in messages}) == 1200
    for message in messages[:40]:
        measured = segments(message, "OBR")[0][7]
        assert segments(message, "PV1")[0][44] < measured < segments(message, "MSH")[0][6]
