"""The feeds of `bench/`: every message is new and goes its whole way, else a rate would count what was not done."""

from collections import Counter
from pathlib import Path

import pytest

from bench.client import write_frames
from bench.main import FEEDS, SENDING
from bench.messages import MAKERS, Feed, make_messages, read_frames
from hcrm.app import wiring
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.paths import config_path
from hcrm.core.sources import load_sources
from hcrm.inbox.models import ApplicationState
from tests.support.messages import applications, store, work_off

MESSAGES = 450


@pytest.mark.parametrize("name", MAKERS)
def test_every_message_of_a_feed_is_applied_and_none_parked(
    database: Database, clock: FixedClock, name: str
) -> None:
    store(database, clock, *make_messages(name, MESSAGES))

    work_off(database, wiring.intake(load_sources(config_path("sources")), clock))

    rows = applications(database)
    assert Counter(row.state for row in rows) == {ApplicationState.APPLIED: MESSAGES}
    assert {row.reason for row in rows} == {None}


@pytest.mark.parametrize("name", MAKERS)
def test_a_feed_repeats_no_message_and_the_file_holds_it_as_it_is(tmp_path: Path, name: str) -> None:
    messages = list(make_messages(name, MESSAGES))
    path = tmp_path / "frames"

    assert write_frames(path, messages) == MESSAGES
    assert list(read_frames(path)) == messages
    assert len({message.split(b"|", 10)[9] for message in messages}) == MESSAGES


@pytest.mark.parametrize(("name", "discharges"), [("discharges", 100), ("adt", 20), ("oru", 0)])
def test_the_discharges_among_the_messages_sent_are_counted(
    tmp_path: Path, name: str, discharges: int
) -> None:
    path = tmp_path / "frames"
    write_frames(path, make_messages(name, 700))

    assert Feed(name, path, 700).discharges(500, 100) == discharges


def test_every_section_names_feeds_there_are() -> None:
    assert {feed for feeds in SENDING.values() for feed in feeds} <= FEEDS.keys() == MAKERS.keys()
