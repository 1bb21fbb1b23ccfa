"""What a visit's log amounts to: whatever arrived first, and whatever was taken back."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcrm.archive.terms import EncounterStatus, VisitEventKind
from hcrm.archive.visit import CANCELS, LoggedEvent, VisitState, find_reversals, fold

K = VisitEventKind
START = datetime(2026, 11, 22, 2, tzinfo=UTC)


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


def event(
    kind: VisitEventKind, told: int, *, seq: int | None = None, happened: int | None = None
) -> LoggedEvent:
    """Told and arrived at that minute, and happened then, unless said otherwise."""
    seq = told if seq is None else seq
    return LoggedEvent(
        f"{kind.value}-{told}", kind, at(told if happened is None else happened), at(told), seq
    )


@st.composite
def logs(draw: st.DrawFn, *, least: int = 1) -> list[LoggedEvent]:
    """Events told at different moments, in the order they were told; each happened then or before."""
    told = draw(st.lists(st.integers(0, 60), min_size=least, max_size=8, unique=True).map(sorted))
    return [
        event(draw(st.sampled_from(list(K))), minute, happened=minute - draw(st.integers(0, 20)))
        for minute in told
    ]


def arriving(log: Sequence[LoggedEvent]) -> list[LoggedEvent]:
    """The same events, having arrived in the order given."""
    return [replace(one, seq=seq) for seq, one in enumerate(log, start=1)]


def standing(state: VisitState, log: Sequence[LoggedEvent]) -> list[LoggedEvent]:
    return [one for one in log if one.id not in state.reversed_by and one.kind not in CANCELS]


# ── laws ────────────────────────────────────────────────────────────────────


@given(st.data(), logs())
def test_a_visit_does_not_depend_on_the_order_of_arrival(data, log):
    in_order, shuffled = fold(arriving(log)), fold(arriving(data.draw(st.permutations(log))))

    # Which of several discharges follow-up hangs on is the one that arrived first: all else is the same.
    assert replace(shuffled, discharge_id=None) == replace(in_order, discharge_id=None)
    assert (shuffled.discharge_id is None) == (in_order.discharge_id is None)


@given(logs())
def test_an_event_is_taken_back_only_by_a_later_cancel_of_its_kind(log):
    by_id = {one.id: one for one in log}
    for reversed_id, cancel_id in find_reversals(log).items():
        reversed_one, cancel = by_id[reversed_id], by_id[cancel_id]
        assert reversed_one.kind in CANCELS[cancel.kind]
        assert reversed_one.told < cancel.told


@given(logs(), st.sampled_from([kind for kind in CANCELS if kind is not K.CANCEL_TRANSFER]))
def test_after_a_cancel_nothing_of_what_it_cancels_stands(log, kind):
    log = [*log, event(kind, 99)]

    assert not [one for one in standing(fold(log), log) if one.kind in CANCELS[kind]]


@given(logs())
def test_cancelling_a_transfer_takes_back_the_last_one_only(log):
    before = [one for one in standing(fold(log), log) if one.kind is K.TRANSFER]
    log = [*log, event(K.CANCEL_TRANSFER, 99)]
    after = [one for one in standing(fold(log), log) if one.kind is K.TRANSFER]

    assert after == before[:-1]


@given(logs(), st.sampled_from(list(CANCELS)))
def test_a_cancel_told_before_everything_takes_nothing_back(log, kind):
    assert find_reversals([event(kind, -1), *log]) == find_reversals(log)


@given(logs(), st.sampled_from(list(CANCELS)))
def test_the_same_cancel_twice_is_once(log, kind):
    if kind is K.CANCEL_TRANSFER:  # each takes one step back
        return
    once = [*log, event(kind, 98)]

    assert fold([*once, event(kind, 99)]) == fold(once)


@given(logs())
def test_what_is_told_after_every_cancel_stands(log):
    log = [*log, event(K.ADMIT, 98), event(K.DISCHARGE, 99)]

    assert fold(log).status is EncounterStatus.FINISHED


@given(logs())
def test_a_visit_is_finished_exactly_while_a_discharge_stands(log):
    state = fold(log)
    discharges = [one.id for one in standing(state, log) if one.kind is K.DISCHARGE]

    assert (state.status is EncounterStatus.FINISHED) == bool(discharges)
    assert state.discharge_id in (discharges or [None])
    assert (state.discharged_at is None) == (not discharges)


# ── cases ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kinds", "status"),
    [
        ([K.PREADMIT], EncounterStatus.PLANNED),
        ([K.PREADMIT, K.CANCEL_PREADMIT], EncounterStatus.CANCELLED),
        ([K.PREADMIT, K.ADMIT], EncounterStatus.IN_PROGRESS),
        ([K.PREADMIT, K.ADMIT, K.CANCEL_ADMIT], EncounterStatus.PLANNED),
        ([K.REGISTER], EncounterStatus.IN_PROGRESS),
        ([K.ADMIT, K.LEAVE], EncounterStatus.ON_LEAVE),
        ([K.ADMIT, K.LEAVE, K.RETURN], EncounterStatus.IN_PROGRESS),
        ([K.ADMIT, K.DISCHARGE], EncounterStatus.FINISHED),
        ([K.DISCHARGE], EncounterStatus.FINISHED),
        ([K.DISCHARGE, K.CANCEL_DISCHARGE], EncounterStatus.IN_PROGRESS),
        ([K.ADMIT, K.DISCHARGE, K.CANCEL_ADMIT], EncounterStatus.CANCELLED),
        ([K.ADMIT, K.CANCEL_ADMIT, K.ADMIT], EncounterStatus.IN_PROGRESS),
        ([K.ADMIT, K.DISCHARGE, K.ADMIT], EncounterStatus.FINISHED),
        ([K.ADMIT, K.DELETE], EncounterStatus.CANCELLED),
    ],
)
def test_events_one_after_the_other_leave_this_status(kinds, status):
    assert fold([event(kind, minute) for minute, kind in enumerate(kinds)]).status is status


def test_follow_up_hangs_on_the_first_telling_and_a_later_one_corrects_the_time():
    first = event(K.DISCHARGE, 10, happened=5)
    again = replace(event(K.DISCHARGE, 20, happened=5), discharged_at=at(7))

    state = fold([first, again])

    assert (state.discharge_id, state.discharged_at) == (first.id, at(7))


def test_a_time_of_admission_in_the_message_counts_before_the_events_own():
    admitted = replace(event(K.ADMIT, 10), admitted_at=at(3))

    assert fold([admitted]).admitted_at == at(3)
    assert fold([event(K.ADMIT, 10, happened=8), event(K.ADMIT, 20, happened=2)]).admitted_at == at(2)


def test_between_events_told_at_the_same_moment_the_order_of_arrival_decides():
    admission, cancel = event(K.ADMIT, 0, seq=1), event(K.CANCEL_ADMIT, 0, seq=2)

    assert fold([admission, cancel]).status is EncounterStatus.CANCELLED
    assert fold([replace(admission, seq=3), cancel]).status is EncounterStatus.IN_PROGRESS


def test_what_happened_after_a_cancel_was_told_is_not_taken_back_by_it():
    """Its message's own clock says earlier, and cannot be right: B7 as the table writes it."""
    log = [event(K.DISCHARGE, 20), event(K.CANCEL_DISCHARGE, 30), event(K.DISCHARGE, 0, seq=99, happened=40)]

    assert fold(log).discharged_at == at(40)
