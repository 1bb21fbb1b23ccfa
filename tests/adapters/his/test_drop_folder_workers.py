"""Drop folders across failures: a store that is away, killed processes, second workers, the collector's turns."""

import signal
import threading
from datetime import UTC, datetime, timedelta

import pytest

from adapters.his.drop_folder import Taken
from hcrm.app.collector import Collector
from hcrm.core.actor import system_actor
from hcrm.core.work import open_work
from hcrm.inbox.cursor_models import SourceCursor
from hcrm.inbox.intake import StoreUnavailable
from tests.support.drop_folder import (
    NAMES,
    ROWS,
    Taker,
    csv_text,
    drop,
    names,
    source_of,
    sources_of,
    take,
    take_apart,
    taker,
)
from tests.support.listener import adt, stored

__all__ = ["drop", "take", "taker"]


def test_while_the_store_is_away_the_file_stays_and_is_taken_later(take, database, drop):
    (drop / "a.hl7").write_bytes(adt("1"))

    def away(_items):
        raise StoreUnavailable

    with pytest.raises(StoreUnavailable):
        take(away)
    assert "_work/a.hl7" in names(drop)
    assert take.folder.has_left_over()
    assert take() == [Taken(1, 1)]
    assert names(drop) == ["_archive/20261122/a.hl7"]


@pytest.mark.parametrize("point", ["before_commit", "after_commit_before_ack"])
def test_a_process_killed_on_the_way_loses_nothing_and_doubles_nothing(
    taker, database, database_url, drop, point
):
    for n in range(3):
        (drop / f"{n}.hl7").write_bytes(adt(str(n)))
    for nth in (1, 2):
        assert take_apart(taker, database_url, drop, fault=f"{point}:{nth}") == -signal.SIGKILL
    assert take_apart(taker, database_url, drop) == 0

    assert sorted(control_id for control_id, _ in stored(database)) == ["0", "1", "2"]
    assert len(names(drop)) == 3
    assert all(name.startswith("_archive/") for name in names(drop))


def test_two_workers_never_take_one_file(database, clock, drop):
    for n in range(40):
        (drop / f"{n}.hl7").write_bytes(adt(str(n)))
    takers = [Taker(database, clock, source_of(drop)) for _ in range(3)]
    threads = [threading.Thread(target=taker) for taker in takers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(stored(database)) == 40
    assert sum(taken.new for taker in takers for taken in taker.taken) == 40
    assert len(names(drop)) == 40


def test_the_collector_takes_in_and_says_how_it_went(database, clock, drop):
    source = source_of(drop)
    collector = Collector(database, sources_of(source), clock)
    (channel,) = collector.channels
    assert channel.is_idle()
    (drop / "a.hl7").write_bytes(adt("1"))
    (drop / "b.csv").write_text(csv_text(NAMES, *ROWS), encoding="utf-8")
    assert not channel.is_idle()
    assert collector.turn(channel)
    with open_work(database, actor=system_actor("test"), clock=clock, write=False) as work:
        cursor = work.one(SourceCursor)
    assert (cursor.source, cursor.channel, cursor.rows_last, cursor.rows_total) == (
        "his_files",
        "folder",
        3,
        3,
    )
    assert cursor.last_error is None


def test_a_folder_that_is_away_is_told_and_tried_again(database, clock, drop):
    source = source_of(drop / "gone")
    collector = Collector(database, sources_of(source), clock)
    (channel,) = collector.channels
    for expected in ("FileNotFoundError", None):
        assert not channel.is_idle() or expected is None
        collector.turn(channel)
        with open_work(database, actor=system_actor("test"), clock=clock, write=False) as work:
            assert work.one(SourceCursor).last_error == expected
        (drop / "gone").mkdir(exist_ok=True)
        clock.move(seconds=5)


def test_a_collector_in_its_threads_goes_on_until_it_is_told_to_stop(database, clock, drop):
    source = source_of(drop, every_seconds=1)
    stop = threading.Event()
    collector = Collector(database, sources_of(source), clock)
    collector.run(stop)
    for n in range(2):
        (drop / f"{n}.hl7").write_bytes(adt(str(n)))
        deadline = datetime.now(UTC) + timedelta(seconds=15)
        while len(stored(database)) <= n and datetime.now(UTC) < deadline:
            stop.wait(0.1)
    stop.set()
    collector.join(10)
    assert [control_id for control_id, _ in stored(database)] == ["0", "1"]


def test_a_store_that_is_away_counts_against_no_file(take, database, drop):
    (drop / "a.csv").write_text(csv_text(NAMES, *ROWS), encoding="utf-8")

    def away(_items):
        raise StoreUnavailable

    for _ in range(5):
        with pytest.raises(StoreUnavailable):
            take(away)
    assert take() == [Taken(2, 2)]
