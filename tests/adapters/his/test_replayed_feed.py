"""A sender that sends everything again, byte for byte: the same answers, and no new effect (A4)."""

from collections.abc import Sequence
from datetime import date
from itertools import islice

import pytest
import sqlalchemy as sa

from adapters.his.simulator import Simulator
from hcrm.core.clock import FixedClock
from hcrm.core.db import Base, Database
from hcrm.inbox.models import InboxMessage
from tests.support.changes import EVENING
from tests.support.hospital import Hospital
from tests.support.listener import Peer
from tests.support.portrait import portrait_of

MESSAGES = {"small": 300, "large": 10_000}
PIECE = 100
FIRST_DAY = date(2026, 10, 1)  # near enough for instructions whose window is open
_GROWS = ("audit_",)  # that somebody reads or stores is noted each time


def send_all(peer: Peer, raws: Sequence[bytes]) -> list[bytes]:
    """Their answers, in order."""
    answers = []
    for start in range(0, len(raws), PIECE):
        piece = raws[start : start + PIECE]
        peer.send(b"".join(b"\x0b" + raw + b"\x1c\r" for raw in piece))
        answers += [peer.answer() for _ in piece]
    return answers


def count_rows(hospital: Hospital) -> dict[str, int]:
    with hospital.look() as work:
        return {
            table.name: work.scalar(sa.select(sa.func.count()).select_from(table))
            for table in Base.metadata.sorted_tables
            if not table.name.startswith(_GROWS)
        }


def prove(database: Database, number: int) -> str:
    raws = [m.raw for m in islice(Simulator(20261122, FIRST_DAY, 52, number).messages(), number)]
    assert len(raws) == number
    with Hospital(database, FixedClock(EVENING)) as hospital:
        answers = send_all(hospital.connect(), raws)
        hospital.settle()
        rows, outcomes = count_rows(hospital), hospital.outcomes()
        with hospital.look() as work:
            portrait = portrait_of(work)
        assert rows[InboxMessage.__tablename__] == len(set(raws)), "the feed itself sends some twice"
        assert portrait["visits"]
        assert portrait["instructions"]

        for again in (raws, list(reversed(raws))):
            wanted = answers if again is raws else list(reversed(answers))
            assert send_all(hospital.connect(), again) == wanted
            hospital.settle()
            assert count_rows(hospital) == rows
        assert hospital.outcomes() == outcomes
        with hospital.look() as work:
            assert portrait_of(work) == portrait
    return f"{number} messages sent three times: {sum(rows.values())} rows, as after the first time"


def test_a_feed_sent_again_gets_the_same_answers_and_changes_nothing(database: Database):
    prove(database, MESSAGES["small"])


@pytest.mark.proof("kill")
def test_ten_thousand_messages_sent_again_get_the_same_answers_and_change_nothing(database: Database, capsys):
    said = prove(database, MESSAGES["large"])
    with capsys.disabled():
        print(f"\n{said}")  # noqa: T201  what the run is asked for
