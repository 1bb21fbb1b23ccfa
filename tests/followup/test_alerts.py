from datetime import timedelta

import pytest

from followup.alerts import acknowledge_alert, count_open, handle_alert, list_for_instruction, list_open
from followup.models import Alert, AlertState
from hcrm.archive.models import TimelineEntry
from hcrm.core.errors import ConflictError, DeniedError, HcrmError
from hcrm.core.work import Work
from hcrm.forms.models import Response, ResponseState
from tests.support.builders import actor_of, make_department, make_practitioner


@pytest.fixture
def raised(work: Work, station):
    """Makes an alert of a level, raised so many minutes ago."""

    def raised(level: str = "R2", minutes_ago: int = 0, **values) -> Alert:
        instruction = station.instruction(**values)
        now = work.clock.now()
        response = Response(
            id=work.new_id(), patient_id=instruction.patient_id, encounter_id=instruction.encounter_id,
            subject_type="instruction", subject_id=instruction.id, form_code="test.call", form_version=1,
            state=ResponseState.SUBMITTED, answers={}, author_id="a", author_name="李大夫", saved_at=now,
        )  # fmt: skip
        work.add(response)
        alert = Alert(
            id=work.new_id(), patient_id=instruction.patient_id, encounter_id=instruction.encounter_id,
            instruction_id=instruction.id, response_id=response.id, department_id=instruction.department_id,
            level=level, flag_code="fever", evidence="体温：39 ℃", says="当日联系医师", state=AlertState.OPEN,
            raised_at=now - timedelta(minutes=minutes_ago),
        )  # fmt: skip
        work.add(alert)
        return alert

    return raised


def test_the_most_urgent_comes_first_and_of_those_the_oldest(work: Work, raised):
    later, urgent, older = raised("R2"), raised("R1"), raised("R2", minutes_ago=5)

    assert [row.Alert.id for row in list_open(work).items] == [urgent.id, older.id, later.id]
    assert count_open(work) == 3


def test_mine_are_those_of_my_instructions(work: Work, raised):
    mine = raised()
    raised(assignee=make_practitioner(work))

    assert [row.Alert.id for row in list_open(work, mine=True).items] == [mine.id]
    assert (count_open(work, mine=True), count_open(work)) == (1, 2)


def test_acknowledging_keeps_the_first_who_knew(work: Work, raised):
    alert = raised()
    acknowledge_alert(work, alert_id=alert.id)
    at = work.clock.now()
    work.clock.move(minutes=5)
    acknowledge_alert(work, alert_id=alert.id)

    assert (alert.state, alert.acknowledged_at, alert.acknowledged_by) == (
        AlertState.ACKNOWLEDGED,
        at,
        "李大夫",
    )
    assert count_open(work) == 1


def test_handling_needs_what_was_done_and_closes_it(work: Work, raised):
    alert = raised()
    with pytest.raises(HcrmError, match="处置情况"):
        handle_alert(work, alert_id=alert.id, handling=" ")

    handle_alert(work, alert_id=alert.id, handling="已电话通知来院")
    work.flush()

    assert (alert.state, alert.handling, alert.handled_by) == (AlertState.CLOSED, "已电话通知来院", "李大夫")
    assert alert.acknowledged_at == work.clock.now()
    assert count_open(work) == 0
    assert work.one(TimelineEntry).title == "预警已处置：当日联系医师"
    assert [one.id for one in list_for_instruction(work, instruction_id=alert.instruction_id)] == [alert.id]


def test_what_is_closed_is_not_closed_again(work: Work, raised):
    alert = raised()
    handle_alert(work, alert_id=alert.id, handling="已处理")

    with pytest.raises(ConflictError, match="李大夫已处置"):
        handle_alert(work, alert_id=alert.id, handling="又一次")


def test_another_department_s_alert_is_not_there(work: Work, raised):
    alert = raised()
    work.actor = actor_of(make_practitioner(work), make_department(work))

    assert list_open(work).items == []
    with pytest.raises(DeniedError):
        handle_alert(work, alert_id=alert.id, handling="x")
