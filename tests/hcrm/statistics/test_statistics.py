from datetime import UTC, date, datetime, timedelta
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcrm.archive.visit_models import DischargeWay, EncounterClass
from hcrm.centre.measures import (
    FOLLOWUP_RATIO,
    FOLLOWUP_RATIO_ALIVE,
    IN_WINDOW_RATIO,
    MEASURES,
    OVERDUE_COUNT,
    followup_ratio,
)
from hcrm.centre.models import InstructionState, Outcome
from hcrm.core.clock import local_date
from hcrm.core.errors import NotFoundError
from hcrm.core.measure import Part, Period
from hcrm.core.work import Work
from hcrm.statistics.queries import list_rows
from hcrm.statistics.service import by_department_and_month, find_measure, run_measure
from tests.support.builders import (
    actor_of,
    make_department,
    make_encounter,
    make_instruction,
    make_practitioner,
)

NOVEMBER = Period.of_month(date(2026, 11, 15))
YEAR = Period(date(2026, 1, 1), date(2027, 1, 1))
NOON = datetime(2026, 11, 20, 4, tzinfo=UTC)


def number(work: Work, measure, period=NOVEMBER, department_id=None) -> tuple[int, int | None]:
    result = run_measure(work, measure=measure, period=period, department_id=department_id)
    return result.numerator, result.denominator


def done(work: Work, **values):
    """An instruction that was carried out today."""
    now = work.clock.now()
    return make_instruction(
        work, **{"state": InstructionState.COMPLETED, "outcome": Outcome.REACHED, "done_at": now,
                 "done_on": local_date(now), **values},
    )  # fmt: skip


# ── follow-up ratio ─────────────────────────────────────────────────────────


def test_a_stay_counts_once_however_often_the_patient_was_called(work: Work):
    called, not_called = make_encounter(work, discharged_at=NOON), make_encounter(work, discharged_at=NOON)
    done(work, encounter=called)
    done(work, encounter=called)
    make_instruction(work, encounter=not_called)

    assert number(work, FOLLOWUP_RATIO) == (1, 2)


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.REFUSED, Outcome.DIED])
def test_only_a_patient_who_was_reached_was_followed_up(work: Work, outcome):
    done(work, encounter=make_encounter(work, discharged_at=NOON), outcome=outcome)

    assert number(work, FOLLOWUP_RATIO) == (0, 1)


def test_a_contact_that_waits_for_review_has_taken_place(work: Work):
    stay = make_encounter(work, discharged_at=NOON)
    done(work, encounter=stay, state=InstructionState.IN_REVIEW)

    assert number(work, FOLLOWUP_RATIO) == (1, 1)


def test_the_dead_stay_in_the_official_ratio_and_leave_the_second_figure(work: Work):
    make_encounter(work, discharged_at=NOON, way=DischargeWay.DIED)
    make_encounter(work, discharged_at=NOON)

    assert number(work, FOLLOWUP_RATIO) == (0, 2)
    assert number(work, FOLLOWUP_RATIO_ALIVE) == (0, 1)


def test_discharges_are_finished_inpatient_stays_unless_a_hospital_names_more(work: Work):
    make_encounter(work, discharged_at=NOON)
    make_encounter(work, discharged_at=None)
    make_encounter(work, discharged_at=NOON, encounter_class=EncounterClass.EMERGENCY)
    wider = followup_ratio(code="x", title="x", classes=[EncounterClass.INPATIENT, EncounterClass.EMERGENCY])

    assert number(work, FOLLOWUP_RATIO) == (0, 1)
    assert number(work, wider) == (0, 2)


@pytest.mark.parametrize(
    ("discharged_at", "month"),
    [
        (datetime(2026, 10, 31, 15, 59, 59, tzinfo=UTC), date(2026, 10, 1)),  # 23:59:59 in Shanghai
        (datetime(2026, 10, 31, 16, 0, 0, tzinfo=UTC), date(2026, 11, 1)),  # midnight
    ],
)
def test_a_month_is_a_month_of_the_hospital(work: Work, discharged_at, month):
    make_encounter(work, discharged_at=discharged_at)

    (cell,) = by_department_and_month(work, measure=FOLLOWUP_RATIO, period=YEAR)

    assert cell.month == month
    assert number(work, FOLLOWUP_RATIO, Period.of_month(month)) == (0, 1)


# ── done in window ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(("days", "in_window"), [(-3, 0), (-2, 1), (0, 1), (5, 1), (6, 0)])
def test_done_in_window_is_from_the_first_day_to_the_last(work: Work, days, in_window):
    due = date(2026, 11, 10)
    done(work, due_on=due, opens_before=2, closes_after=5, done_on=due + timedelta(days=days))

    assert number(work, IN_WINDOW_RATIO) == (in_window, 1)


def test_what_was_withdrawn_or_is_not_due_yet_is_not_asked_for(work: Work):
    today = local_date(work.clock.now())
    make_instruction(work, due_on=today)
    make_instruction(work, due_on=today, state=InstructionState.WITHDRAWN)
    make_instruction(work, due_on=today + timedelta(days=1))
    make_instruction(work, due_on=today - timedelta(days=1), state=InstructionState.EXPIRED)

    assert number(work, IN_WINDOW_RATIO) == (0, 2)


# ── overdue ─────────────────────────────────────────────────────────────────


def test_overdue_is_open_and_after_the_due_date(work: Work):
    today = local_date(work.clock.now())
    make_instruction(work, due_on=today)
    make_instruction(work, due_on=today - timedelta(days=1))
    make_instruction(work, due_on=today - timedelta(days=1), state=InstructionState.IN_PROGRESS)
    make_instruction(work, due_on=today - timedelta(days=1), state=InstructionState.IN_REVIEW)

    assert number(work, OVERDUE_COUNT) == (2, None)


# ── departments, scope, rows ────────────────────────────────────────────────


def test_the_table_holds_a_cell_for_each_department_and_month_with_rows(work: Work):
    one, other = make_department(work, name="内科"), make_department(work, name="外科")
    done(work, encounter=make_encounter(work, department=one, discharged_at=NOON))
    make_encounter(work, department=one, discharged_at=NOON)
    make_encounter(work, department=other, discharged_at=NOON - timedelta(days=40))
    make_encounter(work, discharged_at=NOON)

    cells = by_department_and_month(work, measure=FOLLOWUP_RATIO, period=YEAR)

    found = {(c.department_name, c.month.month): (c.result.numerator, c.result.denominator) for c in cells}
    assert found == {("内科", 11): (1, 2), ("外科", 10): (0, 1), ("未知科室", 11): (0, 1)}


def test_nobody_counts_or_opens_what_lies_outside_their_departments(work: Work):
    mine, other = make_department(work), make_department(work)
    stay = make_encounter(work, department=mine, discharged_at=NOON)
    make_encounter(work, department=other, discharged_at=NOON)
    make_encounter(work, discharged_at=NOON)
    work.actor = actor_of(make_practitioner(work), mine)

    assert number(work, FOLLOWUP_RATIO) == (0, 1)
    assert number(work, FOLLOWUP_RATIO, department_id=other.id) == (0, 0)
    assert [
        cell.department_id for cell in by_department_and_month(work, measure=FOLLOWUP_RATIO, period=YEAR)
    ] == [mine.id]
    rows = list_rows(work, measure=FOLLOWUP_RATIO, part=Part.DENOMINATOR, period=YEAR)
    assert [row.Encounter.id for row in rows.items] == [stay.id]


def test_an_unknown_measure_is_not_found():
    with pytest.raises(NotFoundError):
        find_measure("nothing")


DAYS = st.integers(-70, 40)
STAYS = st.lists(
    st.tuples(
        st.integers(0, 2),  # department, 2: none
        DAYS,
        st.sampled_from([DischargeWay.BY_ORDER, DischargeWay.DIED]),
        st.lists(
            st.tuples(
                st.sampled_from(InstructionState), st.sampled_from([*Outcome, None]), DAYS, st.integers(-9, 9)
            ),
            max_size=3,
        ),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stays=STAYS)
def test_every_number_is_the_number_of_the_rows_it_opens(work: Work, stays):
    today = local_date(work.clock.now())
    departments = [make_department(work), make_department(work), None]
    for place, day, way, instructions in stays:
        stay = make_encounter(
            work, department=departments[place], discharged_at=NOON + timedelta(days=min(day, 1)), way=way
        )
        for state, outcome, due, late in instructions:
            due_on = today + timedelta(days=due)
            done_on = due_on + timedelta(days=late) if outcome else None
            make_instruction(
                work,
                encounter=stay,
                state=state,
                outcome=outcome,
                due_on=due_on,
                done_on=done_on,
                done_at=None,
            )
    for measure, part in product(MEASURES, Part):
        cells = by_department_and_month(work, measure=measure, period=YEAR)
        whole = run_measure(work, measure=measure, period=YEAR)
        assert sum(cell.result.numerator for cell in cells) == whole.numerator
        assert sum(cell.result.denominator or 0 for cell in cells) == (whole.denominator or 0)
        for cell in cells:
            opened = list_rows(
                work, measure=measure, part=part, period=Period.of_month(cell.month),
                department_id=cell.department_id, size=500,
            ).items  # fmt: skip
            shown = (
                cell.result.numerator
                if part is Part.NUMERATOR or cell.result.denominator is None
                else cell.result.denominator
            )
            keys = {row[0].id for row in opened}
            assert len(keys) == len(opened) == shown
