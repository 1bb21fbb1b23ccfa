"""What the bench makes of what it measured: ratios, slopes, verdicts, and when a figure may not be given."""

import json
import os
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench import main
from bench.accept import Bare, accept_aims
from bench.burst import AIM_SECONDS, BURST, lag_of
from bench.client import LoadClient, Sent
from bench.end_to_end import CASES
from bench.memory import Sample, slope, slope_per_thousand
from bench.places import DATABASE, sqlite_place
from bench.processes import Memory, memory_of
from bench.reading_asks import House, segments
from bench.report import Aim
from bench.runs import Run
from bench.setting import Setting
from bench.slow_senders import slow_senders
from hcrm.segments.filters import SegmentFilter

SENT = Sent(1000, 0, 500.0, 1.0, 2.0, 3.0, 2.0, 0.0, {})
NONE_LEFT = {"ignored": 0, "held": 0, "parked": 0, "not delivered": 0}
RUN = Run(1000, 1000, 4.0, 2.0, 200, 410, SENT, 1000.0, NONE_LEFT)


# ── a run ───────────────────────────────────────────────────────────────────


def test_the_rate_of_a_run_is_what_was_applied_over_all_the_time_it_took() -> None:
    assert RUN.per_second == 250
    assert RUN.complaint == ""
    assert replace(RUN, applied=800).per_second == 200


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"applied": 999}, "999 applied"),
        ({"sent": replace(SENT, acked=998)}, "998 acknowledged"),
        ({"sent": replace(SENT, errors=1)}, "1000 acknowledged"),
        ({"left": NONE_LEFT | {"parked": 3}}, "3 parked"),
        ({"left": NONE_LEFT | {"ignored": 2}}, "2 ignored"),
        ({"left": NONE_LEFT | {"not delivered": 1}}, "1 not delivered"),
        ({"instructions": 199}, "199 instructions for 200 discharges"),
    ],
)
def test_a_run_in_which_something_did_not_go_its_whole_way_says_so(change: dict, words: str) -> None:
    assert words in replace(RUN, **change).complaint


def test_the_lag_of_a_smaller_burst_decides_only_when_it_is_too_long_already() -> None:
    whole = replace(RUN, count=BURST, applied=BURST, sent=replace(SENT, acked=BURST))

    assert lag_of(whole) == whole.drain_seconds
    assert lag_of(RUN) is None
    assert lag_of(replace(RUN, drain_seconds=AIM_SECONDS + 1.0)) == AIM_SECONDS + 1.0
    assert lag_of(replace(whole, applied=BURST - 1)) is None


# ── ratios and verdicts ─────────────────────────────────────────────────────


def test_the_accept_rate_is_held_against_the_best_peer_and_the_bare_limits_of_the_same_run() -> None:
    rates = {
        "HCRM": [6000.0, 5000.0],
        "HCRM, PostgreSQL": [90_000.0],
        "python-hl7": [500.0],
        "simple-hl7": [900.0, 1100.0],
        "node-hl7-server": [1000.0, 1200.0],
        "echo": [90_000.0],
    }

    aims = {aim.what: aim for aim in accept_aims(rates, Bare([2750.0], [22_000.0], [9000.0]))}

    what = "accept at 32 connections /"
    assert aims[f"{what} best of the peers (node-hl7-server)"].measured == 5
    assert aims[f"{what} best of the peers (node-hl7-server)"].verdict == "pass"
    assert aims[f"{what} SQLite's bare group commit"].measured == 0.25
    assert aims[f"{what} SQLite's bare group commit"].verdict == "below"
    assert aims[f"{what} fdatasync"].measured == 2
    assert aims[f"{what} fdatasync"].verdict == "pass"
    assert {aim.issue for aim in aims.values()} == {2, 3}


def test_without_peers_or_without_us_nothing_is_judged() -> None:
    bare = Bare([1.0], [1.0], [])

    assert {aim.verdict for aim in accept_aims({}, bare)} == {"not measured"}
    assert [aim.verdict for aim in accept_aims({"HCRM": [5.0]}, bare)].count("not measured") == 3


def test_an_aim_is_reached_or_not_at_its_very_figure() -> None:
    assert Aim(3, "rate", 2.0, at_least=2).verdict == "pass"
    assert Aim(3, "rate", 1.99, at_least=2).verdict == "below"
    assert Aim(3, "lag", 15.0, below=15).verdict == "below"
    assert Aim(3, "lag", 14.9, below=15).verdict == "pass"
    assert Aim(3, "lag", None, below=15).row() == ["3  lag", "-", "< 15", "not measured"]


# ── memory ──────────────────────────────────────────────────────────────────


def test_the_slope_is_that_of_the_line_through_the_points() -> None:
    assert slope([(0, 5), (1, 7), (2, 9)]) == pytest.approx(2)
    assert slope([(0, 5), (1, 5), (2, 5)]) == 0
    assert slope([(0, 0), (1, 3), (2, 0), (3, 3)]) == pytest.approx(0.6)
    assert slope([(4, 1)]) == 0


def test_memory_is_given_for_each_thousand_messages_and_each_kind() -> None:
    samples = [
        Sample(number * 2500, {"worker": Memory(90_000 + number * 25, 50_000 + number * 5)})
        for number in range(8)
    ]

    assert slope_per_thousand(samples, "worker", "resident") == pytest.approx(10)
    assert slope_per_thousand(samples, "worker", "anonymous") == pytest.approx(2)


def test_memory_of_a_process_is_read_and_one_that_has_ended_holds_nothing() -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc here")
    held = bytearray(40_000_000)
    whole = memory_of([os.getpid(), 2**30])

    assert whole.resident > whole.anonymous > len(held) / 1024
    assert memory_of([2**30]) == (0, 0)


# ── slow senders ────────────────────────────────────────────────────────────


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

    def __init__(self, hangs_up_after: int) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.hangs_up_after = hangs_up_after
        self.received: list[bytearray] = []


class _Conversation(socketserver.BaseRequestHandler):
    server: _Listener

    def handle(self) -> None:
        received = bytearray()
        self.server.received.append(received)
        while data := self.request.recv(100):
            received += data
            if len(received) >= self.server.hangs_up_after:
                return


@pytest.fixture(params=[1000, 1])
def listener(request: pytest.FixtureRequest) -> Iterator[_Listener]:
    with _Listener(request.param) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


def test_slow_senders_send_a_byte_each_a_second_and_notice_who_was_hung_up_on(listener: _Listener) -> None:
    with slow_senders(listener.server_address[1], b"MSH|^~\\&|", count=5) as senders:
        time.sleep(1.4)
        alive, sent = senders.alive, senders.bytes_each

    assert sent == 1
    assert alive == (5 if listener.hangs_up_after > 1 else 0)
    assert len(listener.received) == 5
    assert all(b"\x0bMSH".startswith(bytes(each)) and each for each in listener.received)


# ── the whole ───────────────────────────────────────────────────────────────


def test_a_section_leaves_their_time_to_those_that_follow(tmp_path: Path) -> None:
    setting = Setting(tmp_path, tmp_path, LoadClient.interpreted(), 100_000, time.monotonic() + 100)
    setting.reserved = 60

    assert 39 < setting.seconds_left() <= 40
    assert sum(main.SECTIONS.values()) <= main.RUN_SECONDS
    assert main.SECTIONS.keys() == main.SENDING.keys()


def test_every_feed_is_measured_on_both_databases_and_postgresql_with_two_workers() -> None:
    told = {(case.feed, case.on_postgresql, case.workers) for case in CASES if not case.is_full}

    assert told == {(feed, *kind) for feed in main.FEEDS for kind in ((False, 1), (True, 1), (True, 2))}
    assert {case.feed for case in CASES if case.is_full} == {"adt", "discharges"}
    assert len({case.name(100_000) for case in CASES}) == len(CASES)


def test_a_template_is_copied_not_used(tmp_path: Path) -> None:
    template = tmp_path / "template"
    template.mkdir()
    (template / DATABASE).write_bytes(b"as it was")

    place = sqlite_place(tmp_path / "copy", template)
    (place.folder / DATABASE).write_bytes(b"changed")

    assert (template / DATABASE).read_bytes() == b"as it was"
    assert place.is_sqlite


def test_no_lock_of_the_npm_peers_names_an_address() -> None:
    lock = (Path(main.__file__).parent / "peers" / "node" / "package-lock.json").read_text()
    named = json.loads(lock)["packages"]

    assert {"node_modules/simple-hl7", "node_modules/node-hl7-server"} <= named.keys()
    assert not any("resolved" in package for package in named.values())


def test_what_section_reading_asks_of_segments_is_a_filter() -> None:
    house = House(["d1"], ["p1"], [], [], [], [], [], [])

    for raw in segments(house).values():
        assert SegmentFilter.model_validate(raw).groups
