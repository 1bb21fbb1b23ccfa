from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcrm.archive.visit_models import DischargeWay, EncounterClass
from hcrm.audit.models import AuditEvent
from hcrm.centre.measures import DONE_IN_WINDOW, FOLLOWUP_RATIO, FOLLOWUP_RATIO_ALIVE, MEASURES, OVERDUE
from hcrm.centre.models import InstructionState
from hcrm.contact_log.models import Channel, ContactResult
from hcrm.contact_log.service import record_contact
from hcrm.core.clock import local_date
from hcrm.core.work import Work
from hcrm.statistics.period import Month, Period
from hcrm.statistics.queries import DENOMINATOR, NUMERATOR, PARTS, REST, list_rows
from hcrm.statistics.service import run_measure
from tests.support.builders import (
    actor_of,
    make_department,
    make_encounter,
    make_instruction,
    make_practitioner,
)

NOVEMBER = Period(Month(2026, 11), Month(2026, 11))
YEAR = Period(Month(2026, 1), Month(2026, 12))
NOON = datetime(2026, 11, 20, 4, tzinfo=UTC)


def number(work: Work, measure, period=NOVEMBER, department_id=None) -> tuple[int, int]:
    figure = run_measure(work, measure, period=period, department_id=department_id).total
    return figure.numerator, figure.denominator


def call(work: Work, stay, result=ContactResult.REACHED) -> None:
    record_contact(
        work, patient_id=stay.patient_id, encounter_id=stay.id, channel=Channel.PHONE, result=result
    )


# ── follow-up ratio ─────────────────────────────────────────────────────────


def test_a_stay_counts_once_however_often_the_patient_was_called(work: Work):
    called = make_encounter(work, discharged_at=NOON)
    make_encounter(work, discharged_at=NOON)
    call(work, called)
    call(work, called, ContactResult.RELATIVE)

    assert number(work, FOLLOWUP_RATIO) == (1, 2)


@pytest.mark.parametrize(
    "result", sorted(set(ContactResult) - {ContactResult.REACHED, ContactResult.RELATIVE})
)
def test_only_a_patient_or_relative_who_was_reached_was_followed_up(work: Work, result):
    call(work, make_encounter(work, discharged_at=NOON), result)

    assert number(work, FOLLOWUP_RATIO) == (0, 1)


def test_the_dead_stay_in_the_official_ratio_and_leave_the_second_figure(work: Work):
    make_encounter(work, discharged_at=NOON, way=DischargeWay.DIED)
    make_encounter(work, discharged_at=NOON)

    assert number(work, FOLLOWUP_RATIO) == (0, 2)
    assert number(work, FOLLOWUP_RATIO_ALIVE) == (0, 1)


def test_discharges_are_finished_inpatient_stays(work: Work):
    make_encounter(work, discharged_at=NOON)
    make_encounter(work, discharged_at=None)
    make_encounter(work, discharged_at=NOON, encounter_class=EncounterClass.EMERGENCY)

    assert number(work, FOLLOWUP_RATIO) == (0, 1)


@pytest.mark.parametrize(
    ("discharged_at", "month"),
    [
        (datetime(2026, 10, 31, 15, 59, 59, tzinfo=UTC), "2026-10"),  # 23:59:59 in Shanghai
        (datetime(2026, 10, 31, 16, 0, 0, tzinfo=UTC), "2026-11"),  # midnight
    ],
)
def test_a_month_is_a_month_of_the_hospital(work: Work, discharged_at, month):
    make_encounter(work, discharged_at=discharged_at)

    result = run_measure(work, FOLLOWUP_RATIO, period=YEAR)

    assert [list(row.by_month) for row in result.departments] == [[month]]
    alone = Month.parse(month)
    assert number(work, FOLLOWUP_RATIO, Period(alone, alone)) == (0, 1)


# ── done in window ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(("days", "in_window"), [(-3, 0), (-2, 1), (0, 1), (5, 1), (6, 0)])
def test_done_in_window_is_from_the_first_day_to_the_last(work: Work, days, in_window):
    due = date(2026, 11, 10)
    make_instruction(
        work, due_on=due, opens_before=2, closes_after=5, state=InstructionState.COMPLETED,
        done_on=due + timedelta(days=days), done_at=work.clock.now(),
    )  # fmt: skip

    assert number(work, DONE_IN_WINDOW) == (in_window, 1)


def test_what_was_missed_counts_as_not_done_and_never_as_overdue(work: Work):
    today = local_date(work.clock.now())
    make_instruction(work, due_on=today - timedelta(days=1), closes_after=0, state=InstructionState.MISSED)
    make_instruction(
        work, due_on=today, state=InstructionState.COMPLETED, done_on=today, done_at=work.clock.now()
    )

    assert number(work, DONE_IN_WINDOW) == (1, 2)
    assert number(work, OVERDUE) == (0, 0)


def test_what_was_withdrawn_or_is_not_due_yet_is_not_asked_for(work: Work):
    today = local_date(work.clock.now())
    make_instruction(work, due_on=today)
    make_instruction(work, due_on=today, state=InstructionState.WITHDRAWN)
    make_instruction(work, due_on=today + timedelta(days=1))
    make_instruction(work, due_on=today - timedelta(days=1), state=InstructionState.EXPIRED)

    assert number(work, DONE_IN_WINDOW) == (0, 2)


# ── overdue ─────────────────────────────────────────────────────────────────


def test_overdue_is_open_and_after_the_due_date(work: Work):
    today = local_date(work.clock.now())
    make_instruction(work, due_on=today)
    make_instruction(work, due_on=today - timedelta(days=1))
    make_instruction(work, due_on=today - timedelta(days=1), state=InstructionState.IN_PROGRESS)
    make_instruction(work, due_on=today - timedelta(days=1), state=InstructionState.IN_REVIEW)

    assert number(work, OVERDUE) == (2, 2)


# ── departments, scope, rows ────────────────────────────────────────────────


def test_the_table_holds_a_figure_for_each_department_and_month_with_rows(work: Work):
    one, other = make_department(work, name="内科"), make_department(work, name="外科")
    call(work, make_encounter(work, department=one, discharged_at=NOON))
    make_encounter(work, department=one, discharged_at=NOON)
    make_encounter(work, department=other, discharged_at=NOON - timedelta(days=40))
    make_encounter(work, discharged_at=NOON)

    result = run_measure(work, FOLLOWUP_RATIO, period=YEAR)

    found = {
        (row.name, month): (figure.numerator, figure.denominator)
        for row in result.departments
        for month, figure in row.by_month.items()
    }
    assert found == {
        ("内科", "2026-11"): (1, 2), ("外科", "2026-10"): (0, 1), ("未登记科室", "2026-11"): (0, 1),
    }  # fmt: skip


def test_nobody_counts_or_opens_what_lies_outside_their_departments(work: Work):
    mine, other = make_department(work), make_department(work)
    stay = make_encounter(work, department=mine, discharged_at=NOON)
    make_encounter(work, department=other, discharged_at=NOON)
    make_encounter(work, discharged_at=NOON)
    work.actor = actor_of(make_practitioner(work), mine)

    assert number(work, FOLLOWUP_RATIO) == (0, 1)
    assert number(work, FOLLOWUP_RATIO, department_id=other.id) == (0, 0)
    assert [row.key for row in run_measure(work, FOLLOWUP_RATIO, period=YEAR).departments] == [mine.id]
    assert [row.row_id for row in list_rows(work, FOLLOWUP_RATIO, period=YEAR).items] == [stay.id]


def test_opening_a_number_is_noted_as_a_read_of_the_patients_shown(work: Work):
    make_encounter(work, discharged_at=NOON)

    list_rows(work, FOLLOWUP_RATIO, period=NOVEMBER)
    work.flush()

    assert work.scalars(sa.select(AuditEvent.action).where(AuditEvent.action == "statistics.open"))


DAYS = st.integers(-70, 40)
STAYS = st.lists(
    st.tuples(
        st.integers(0, 2),  # department, 2: none
        DAYS,
        st.sampled_from([DischargeWay.BY_ORDER, DischargeWay.DIED]),
        st.lists(st.sampled_from(ContactResult), max_size=2),
        st.lists(
            st.tuples(st.sampled_from(InstructionState), DAYS, st.none() | st.integers(-9, 9)), max_size=3
        ),
    ),
    max_size=8,
)


AUTUMN = Period(Month(2026, 9), Month(2026, 12))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stays=STAYS)
def test_every_number_is_the_number_of_the_rows_it_opens(work: Work, stays):
    example = work.session.begin_nested()
    today = local_date(work.clock.now())
    departments = [make_department(work), make_department(work), None]
    for place, day, way, results, instructions in stays:
        stay = make_encounter(
            work, department=departments[place], discharged_at=NOON + timedelta(days=min(day, 1)), way=way
        )
        for result in results:
            call(work, stay, result)
        for state, due, late in instructions:
            due_on = today + timedelta(days=due)
            done_on = None if late is None else due_on + timedelta(days=late)
            make_instruction(work, encounter=stay, state=state, due_on=due_on, done_on=done_on)
    for measure in MEASURES:
        for row in run_measure(work, measure, period=AUTUMN).departments:
            for month, figure in row.by_month.items():
                opened = {part: opens(work, measure, month, row.key, part) for part in PARTS}
                shown = (len(opened[NUMERATOR]), len(opened[DENOMINATOR]))
                assert shown == (figure.numerator, figure.denominator)
                assert sorted(opened[NUMERATOR] + opened[REST]) == sorted(set(opened[DENOMINATOR]))
    work.take_deferred()  # lines of the timeline of patients who never were
    example.rollback()


def opens(work: Work, measure, month: str, department_id: str, part: str) -> list[str]:
    period = Period(Month.parse(month), Month.parse(month))
    page = list_rows(work, measure, period=period, part=part, department_id=department_id, size=500)
    return [row.row_id for row in page.items]
