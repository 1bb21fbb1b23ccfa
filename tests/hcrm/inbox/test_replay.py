"""Messages that go their way again, and messages no index can take."""

from collections.abc import Iterator

import pytest

from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock
from hcrm.core.crypto import KeyRing
from hcrm.core.db import Database
from hcrm.core.work import open_work
from hcrm.inbox.models import ApplicationState, InboxApplication
from hcrm.inbox.service import replay_messages
from hcrm.inbox.take_up import NO_LANE
from tests.support.adt import adt
from tests.support.hospital import Hospital


@pytest.fixture
def hospital(database: Database, clock: FixedClock, keys: KeyRing) -> Iterator[Hospital]:
    with Hospital(database, clock) as hospital:
        yield hospital


@pytest.mark.parametrize(
    "huge",
    [{"p": "9" * 9000 + "^^^H1^MR"}, {"v": "V" * 9000}, {"loc": "W" * 9000}],
    ids=["record number", "visit number", "department"],
)
def test_a_number_no_index_can_take_is_parked_and_stops_nobody(hospital: Hospital, huge: dict[str, str]):
    hospital.send(adt("A01", c=1, **huge))
    hospital.send(adt("A01", c=2, p=200, v="V2"))
    hospital.settle()

    first, second = hospital.application(1), hospital.application(2)
    assert (first.state, first.reason) == (ApplicationState.PARKED, "budget")
    assert second.state is ApplicationState.APPLIED


def test_a_replayed_message_gets_the_lane_of_the_patient_it_names(hospital: Hospital):
    hospital.send(adt("A01", c=1))
    hospital.settle()
    before = hospital.application(1)
    with open_work(hospital.database, actor=system_actor("test"), clock=hospital.clock) as work:
        assert replay_messages(work, seqs=[before.seq]) == 1
        assert work.one(InboxApplication, InboxApplication.seq == before.seq).lane == NO_LANE
    hospital.settle()

    after = hospital.application(1)
    assert (after.lane, after.state) == (before.lane, ApplicationState.APPLIED)


def test_more_messages_than_one_statement_takes_are_replayed(hospital: Hospital):
    hospital.send(adt("A01", c=1))
    hospital.settle()
    with open_work(hospital.database, actor=system_actor("test"), clock=hospital.clock) as work:
        assert replay_messages(work, seqs=[1, *range(2, 70_000)]) == 1
    hospital.settle()
    assert hospital.application(1).state is ApplicationState.APPLIED
