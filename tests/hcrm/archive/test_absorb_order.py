"""Absorbing in any interleaving: a batch is what its messages are one by one, and clocks decide, not arrival."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcrm.archive.arrivals import Arrival, visits_told
from hcrm.archive.records import AbsorbOutcome, OutcomeState, VisitNumber
from hcrm.archive.service import absorb_records
from hcrm.archive.visit import CANCELS
from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.work import open_work
from tests.support.adt import NULL
from tests.support.changes import EVENING, change
from tests.support.portrait import portrait_of

CLOCK = FixedClock(EVENING)
START = datetime(2026, 11, 22, 1, tzinfo=UTC)


class _Undo(Exception):
    pass


def portrait(database: Database, batches: Sequence[Sequence[Arrival]]) -> dict[str, Any]:
    """What absorbing these batches leaves, without the keys it was given; then it is undone."""
    found: dict[str, Any] = {}
    try:
        with open_work(database, actor=system_actor("test"), clock=CLOCK) as work:
            for batch in batches:
                absorb_records(work, arrivals=batch)
                work.flush()
            found = portrait_of(work)
            raise _Undo
    except _Undo:
        return found


PATIENTS = (100, 200, 300)
EVENTS_OF_A_VISIT = (
    "A01", "A02", "A03", "A04", "A05", "A06", "A07", "A11", "A12", "A13", "A21", "A22", "A23", "A38",
)  # fmt: skip
moments = st.integers(0, 40)
phones = st.sampled_from(["", NULL, "13800000001", "13800000002~13900000001"])
kin = st.sampled_from([[], ["NK1|1|王芳|2"], [f"NK1|1|{NULL}"]])
diagnoses = st.sampled_from([[], ["DG1|1||I10^高血压", "DG1|2||E11^糖尿病"], ["DG1|1||I63^脑梗死"]])


Told = tuple[str, dict[str, Any]]
"""An event and the fields of its message."""


@st.composite
def messages(draw: st.DrawFn, events: Sequence[str], told: int) -> Told:
    event = draw(st.sampled_from(events))
    patient = draw(st.sampled_from(PATIENTS))
    sent = START + timedelta(minutes=told)
    fields: dict[str, Any] = {
        "p": patient, "v": f"V{patient}{draw(st.sampled_from('ab'))}",
        "name": draw(st.sampled_from(["张^三", "张^叁"])), "phone": draw(phones),
        "loc": draw(st.sampled_from(["W1^1^1", "W2^2^2", ""])), "m": f"{sent:%Y%m%d%H%M%S}+0000",
        "segments": [*draw(kin), *(draw(diagnoses) if event in EVENTS_OF_A_VISIT else [])],
    }  # fmt: skip
    if event == "A03":
        fields["PV1_36"] = draw(st.sampled_from(["", "1", "2"]))
    if event in ("A01", "A03", "A08"):
        fields |= {"PV1_44": draw(st.sampled_from(["", "20261122083000", "20261122084500"])),
                   "PV1_45": draw(st.sampled_from(["", "20261122091500", "20261122093000"]))}  # fmt: skip
    if event in ACTS:
        other = draw(st.sampled_from([one for one in PATIENTS if one != patient]))
        fields |= {"mrg": other, "segments": []}
        if event in ("A42", "A45"):
            fields["mrg"] = (
                f"{other}^^^H1^MR||||V{other}a" if event == "A45" else f"{patient}^^^H1^MR||||V{patient}a"
            )
            fields["v"] = f"V{other}a" if event == "A45" else f"V{patient}b"
        if event in ("A24", "A37"):
            fields |= {"mrg": "", "segments": [f"PID|2||{other}^^^H1^MR"]}
        if event == "A29":
            fields["mrg"] = ""
    return event, fields


@st.composite
def feeds(draw: st.DrawFn, events: Sequence[str], *, distinct: bool = False) -> list[Told]:
    times = draw(st.lists(moments, min_size=2, max_size=8, unique=distinct))
    return [draw(messages(events, told)) for told in times]


def arriving(feed: Sequence[Told]) -> list[Arrival]:
    return [Arrival(seq, change(event, **fields)) for seq, (event, fields) in enumerate(feed, start=1)]


ACTS = ("A24", "A29", "A37", "A40", "A42", "A45", "A47")
whole_feeds = feeds((*ACTS, *EVENTS_OF_A_VISIT, "A08", "A28", "A31"))
on_one_database = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@on_one_database
@given(feed=whole_feeds)
def test_a_batch_leaves_what_its_messages_leave_one_by_one(database, feed):
    arrivals = arriving(feed)

    assert portrait(database, [arrivals]) == portrait(database, one_by_one(arrivals))


@on_one_database
@given(feed=whole_feeds)
def test_absorbing_everything_again_changes_nothing(database, feed):
    once = one_by_one(arriving(feed))

    assert portrait(database, [*once, *once]) == portrait(database, once)


@on_one_database
@given(data=st.data(), feed=feeds((*EVENTS_OF_A_VISIT, "A08", "A28", "A31"), distinct=True))
def test_with_distinct_times_the_order_of_arrival_does_not_matter(database, data, feed):
    found = [
        portrait(database, one_by_one(arriving(one))) for one in (feed, data.draw(st.permutations(feed)))
    ]
    for one in found:
        del one["history"]  # of what came late some was never current

    assert found[0] == found[1]


MAN = {"name": "张^三", "sex": "M", "dob": "19900307"}
WOMAN = {"name": "李^四", "sex": "F", "dob": "19550102"}
ONE_STORY: dict[str, tuple[Told, ...]] = {
    "parted": (("A37", {"p": 200, "m": "13:00", "segments": ["PID|2||100^^^H1^MR||张^三"], **WOMAN}),),
    "moved": (("A45", {"p": 200, "v": "V2", "mrg": "300^^^H1^MR||||V3", "m": "13:00", **WOMAN}),),
    "renamed": (("A47", {"p": 201, "mrg": 200, "m": "13:00", **WOMAN}),),
}
"""What may follow a merge of 100 into 200."""


@on_one_database
@given(data=st.data())
def test_who_is_who_after_a_merge_does_not_depend_on_the_order_of_arrival(database, data):
    """Unless one of the messages had to wait for a person: he is told which."""
    further = data.draw(st.sets(st.sampled_from(sorted(ONE_STORY)), min_size=1))
    told: list[Told] = [
        ("A01", {"p": 100, "v": "V1", "m": "10:00", "PID_30": data.draw(st.sampled_from(["", "Y"])), **MAN}),
        ("A01", {"p": 200, "v": "V2", "m": "10:10", **WOMAN}),
        ("A40", {"p": 200, "mrg": 100, "m": "12:00", **WOMAN}),
        *(message for name in sorted(further) for message in ONE_STORY[name]),
    ]
    if data.draw(st.booleans()):
        told.append(
            ("A08", {"p": 100, "v": "V1", "m": data.draw(st.sampled_from(["11:00", "14:00"])), **MAN})
        )
    if "moved" in further:
        told.append(("A01", {"p": 300, "v": "V3", "m": "10:20", **WOMAN}))
    found = [who_is_who(database, one) for one in (told, data.draw(st.permutations(told)))]

    if not any(waiting for *_, waiting in found):
        assert found[0] == found[1]


def who_is_who(database: Database, feed: Sequence[Told]) -> tuple[Any, Any, list[str | None]]:
    """Whom each number finds and whether they live, whose each visit is, and why anything waits for a person."""
    waiting: list[str | None] = []
    try:
        with open_work(database, actor=system_actor("test"), clock=CLOCK) as work:
            outcomes: dict[int, AbsorbOutcome] = {}
            for batch in one_by_one(arriving(feed)):
                batch_outcomes = absorb_records(work, arrivals=batch)
                outcomes |= {one.seq: told for one, told in zip(batch, batch_outcomes, strict=True)}
                work.flush()
            waiting = [one.reason for one in outcomes.values() if one.state is OutcomeState.PARKED]
            found = portrait_of(work)
            raise _Undo
    except _Undo:
        people = sorted(
            (names, lives) for names, _, _, _, lives, _, _ in found["patients"] if names != "merged"
        )
        return people, [visit[:2] for visit in found["visits"]], waiting


def one_by_one(arrivals: Sequence[Arrival]) -> list[list[Arrival]]:
    """Each in a batch of its own; what may have come before its visit goes with what opens it, as the inbox does it."""
    batches: list[list[Arrival]] = []
    early: dict[VisitNumber, list[Arrival]] = {}
    for arrival in arrivals:
        told, event = visits_told(arrival.change), arrival.change.event
        if event is not None and event.kind not in CANCELS:
            waiting = {one.seq: one for number in told for one in early.get(number, ())}
            batches.append([*(waiting[seq] for seq in sorted(waiting)), arrival])
            continue
        batches.append([arrival])
        for number in told:
            early.setdefault(number, []).append(arrival)
    return batches
