"""A merge with oneself, a reversed one, a circle of three: from the socket to the archive (mechanisms 5.2)."""

from typing import Any

import pytest

from hcrm.archive.models import PatientMerge
from hcrm.core.sources import Source, Sources
from hcrm.inbox.models import ApplicationState
from tests.support.adt import adt as as_usual
from tests.support.hospital import Hospital
from tests.support.truth_table import evening

__all__ = ["evening"]

SOURCES = Sources([Source(code="default", title="default", ack_mode="application")])


def adt(event: str, **fields: Any) -> bytes:
    """A message that asks for the application's answer."""
    return as_usual(event, MSH_16="AL", **fields)


KNOWN = tuple(adt("A01", c=number, p=number, v=f"V{number}") for number in (100, 200, 300))


@pytest.fixture
def his(database, evening):
    """A HIS that waits for the application's word."""
    with Hospital(database, evening, sources=SOURCES) as hospital:
        hospital.receive(*KNOWN)
        yield hospital


def err_of(ack: bytes) -> str:
    return next((line for line in ack.decode().split("\r") if line.startswith("ERR")), "")


def test_a_merge_with_oneself_is_answered_with_the_place_and_changes_nothing(his):
    before = his.snapshot()
    ack = his.receive(adt("A40", c=9, p=100, mrg=100, m="16:00"))

    assert b"MSA|AE|9" in ack
    assert err_of(ack).startswith("ERR||MRG^1^1|204^")
    assert (his.application().state, his.application().reason) == (ApplicationState.IGNORED, "merge_self")
    assert his.application().detail == "MRG-1"
    assert his.snapshot() == before


def test_a_circle_within_one_message_is_answered_with_the_place_and_changes_nothing(his):
    circle = [
        "PID|1||300^^^H1^MR||张^三||19900307|M", "MRG|200^^^H1^MR",
        "PID|1||100^^^H1^MR||张^三||19900307|M", "MRG|300^^^H1^MR",
    ]  # fmt: skip
    before = his.snapshot()
    ack = his.receive(adt("A40", c=9, p=200, mrg=100, m="16:00", segments=circle))

    assert b"MSA|AE|9" in ack
    assert err_of(ack).startswith("ERR||MRG^1^1|204^")
    assert (his.application().state, his.application().reason) == (ApplicationState.PARKED, "merge_cycle")
    assert his.snapshot() == before


@pytest.mark.parametrize(
    "merges",
    [[(200, 100), (100, 200)], [(200, 100), (300, 200), (100, 300)]],
    ids=["reversed", "circle of three"],
)
def test_what_only_the_archive_knows_is_parked_with_the_place_and_changes_nothing(his, merges):
    *done, (survivor, retired) = merges
    for number, (into, gone) in enumerate(done, start=10):
        his.receive(adt("A40", c=number, p=into, mrg=gone, m=f"16:{number}"))
    before = his.snapshot()

    ack = his.receive(adt("A40", c=30, p=survivor, mrg=retired, m="16:30"))

    assert (
        b"MSA|AA|30" in ack
    )  # the listener does not know the archive: the message is kept, a person is shown why
    parked = his.application()
    assert (parked.state, parked.reason, parked.detail) == (ApplicationState.PARKED, "merge_cycle", "MRG-1")
    assert his.snapshot() == before
    assert his.count(PatientMerge) == len(done)
