"""All archives compared for pairs: asked for once, worked on by one process, gone on from where one died."""

import pytest

from hcrm.archive.identity.full_scan import continue_full_scan, scan_all, start_full_scan
from hcrm.archive.identity.models import IdentityScan
from hcrm.archive.identity.scan import FULL
from hcrm.audit.models import AuditEvent
from hcrm.core import limits
from hcrm.core.errors import ConflictError
from tests.support.pair_house import ACTOR, house

__all__ = ["house"]


@pytest.fixture
def asked(house, monkeypatch):
    """Five alike, in batches of two; somebody has asked for all to be compared."""
    monkeypatch.setattr(limits, "PAIR_BATCH", 2)
    for _ in range(5):
        house.person()
    house.write(start_full_scan)
    return house


def scan_of(house) -> IdentityScan:
    return house.write(lambda work: work.get(IdentityScan, FULL))


def test_what_somebody_asked_for_the_scheduler_does_and_says_how_far_it_is(asked):
    scan = scan_of(asked)
    assert (scan.finished_at, scan.handled, bool(scan.started_by_name)) == (None, 0, True)

    assert continue_full_scan(asked.database, ACTOR, asked.clock) == 3

    scan = scan_of(asked)
    assert (scan.finished_at, scan.handled, scan.found) == (asked.clock.now(), 5, 10)
    assert scan.lease is None
    assert len(asked.pairs()) == 10
    assert continue_full_scan(asked.database, ACTOR, asked.clock) == 0
    assert (
        asked.write(lambda work: work.one(AuditEvent, AuditEvent.action == "identity.scan")).subject_id
        == FULL
    )


def test_asked_twice_it_runs_once(asked):
    with pytest.raises(ConflictError, match="正在进行"):
        asked.write(start_full_scan)

    continue_full_scan(asked.database, ACTOR, asked.clock)
    asked.write(start_full_scan)

    assert scan_of(asked).handled == 0


def test_while_one_process_works_on_it_another_does_not_until_that_one_is_dead(asked):
    told: list[int] = []

    def meanwhile(done: int, *_: int) -> None:
        told.append(done)
        assert continue_full_scan(asked.database, ACTOR, asked.clock) == 0
        with pytest.raises(ConflictError, match="正在进行"):
            scan_all(asked.database, ACTOR, asked.clock, progress=meanwhile, afresh=True)

    scan_all(asked.database, ACTOR, asked.clock, progress=meanwhile)
    assert told == [2, 4, 5]

    asked.write(start_full_scan)
    died = {"lease": "dead", "leased_until": asked.clock.now()}
    asked.write(lambda work: work.update_rows(IdentityScan, [{"kind": FULL, **died}], key="kind"))
    assert continue_full_scan(asked.database, ACTOR, asked.clock) == 3


def test_a_long_run_leaves_the_scheduler_to_others_between_its_turns(asked, monkeypatch):
    turns = iter(range(0, 1_000, int(limits.PAIR_TURN_SECONDS / 2)))  # each batch takes half a turn
    monkeypatch.setattr("hcrm.archive.identity.full_scan.time.monotonic", lambda: next(turns))

    assert continue_full_scan(asked.database, ACTOR, asked.clock) == 1
    assert (scan_of(asked).handled, scan_of(asked).lease) == (2, None)
    assert continue_full_scan(asked.database, ACTOR, asked.clock) == 1
    assert scan_of(asked).handled == 4


def test_who_lost_the_run_to_another_writes_nothing_more_of_it(asked):
    told: list[int] = []

    def taken_over(done: int, *_: int) -> None:
        told.append(done)
        asked.clock.move(seconds=limits.PAIR_LEASE_SECONDS + 1)
        continue_full_scan(asked.database, ACTOR, asked.clock)

    with pytest.raises(ConflictError, match="另一个进程"):  # not that all were compared
        scan_all(asked.database, ACTOR, asked.clock, progress=taken_over)

    assert told == [2]
    assert (scan_of(asked).handled, scan_of(asked).found) == (5, 10)
