from dataclasses import replace
from datetime import timedelta

from followup.station import record_attempt, record_followup
from followup.worklist import MISSED_DAYS, Section, count_due, list_due
from hcrm.archive.models import Patient
from hcrm.centre.models import InstructionState, Outcome
from hcrm.contact_log.models import Channel, ContactResult
from hcrm.core.clock import local_date
from hcrm.core.work import Work
from tests.support.builders import make_encounter, make_practitioner

SECTIONS = list(Section)


def sections(page) -> list[tuple[Section, str]]:
    return [(SECTIONS[row.rank], row.Instruction.id) for row in page.items]


def due(station, days: int, **values):
    today = local_date(station.work.clock.now())
    return station.instruction(due_on=today + timedelta(days=days), **values)


def test_red_flags_come_first_then_overdue_then_due(work: Work, station):
    later, overdue, today = due(station, 1), due(station, -1), due(station, 0)
    red = due(station, 2)
    flagged = station.instruction(
        encounter=make_encounter(work, patient=patient_of(work, red), department=station.ward)
    )
    record_followup(
        work, instruction_id=flagged.id, record_id=work.new_id(), outcome=Outcome.REACHED,
        result=ContactResult.REACHED, channel=Channel.PHONE, answers={"pain": "1", "temperature": "40"},
    )  # fmt: skip

    assert sections(list_due(work)) == [
        (Section.RED, red.id), (Section.OVERDUE, overdue.id), (Section.DUE, today.id), (Section.DUE, later.id),
    ]  # fmt: skip
    assert count_due(work) == {Section.RED: 1, Section.OVERDUE: 1, Section.DUE: 2, Section.MISSED: 0}


def patient_of(work: Work, instruction):
    return work.get(Patient, instruction.patient_id)


def test_a_red_flag_of_another_department_is_told_to_whom_it_is(work: Work, station):
    mine = due(station, 0)
    theirs = station.instruction(
        encounter=make_encounter(work, patient=patient_of(work, mine)), assignee=None
    )
    physician, work.actor = work.actor, replace(work.actor, department_ids=None)
    record_followup(
        work, instruction_id=theirs.id, record_id=work.new_id(), outcome=Outcome.REACHED,
        result=ContactResult.REACHED, channel=Channel.PHONE, answers={"pain": "1", "temperature": "40"},
    )  # fmt: skip
    everywhere = sections(list_due(work))
    work.actor = physician

    assert everywhere == [(Section.RED, mine.id)]
    assert sections(list_due(work)) == [(Section.DUE, mine.id)]
    assert count_due(work)[Section.RED] == 0
    assert list_due(work, section=Section.RED).items == []


def test_what_has_not_opened_yet_does_not_stand_in_the_list(work: Work, station):
    due(station, 3, opens_before=2)
    opening = due(station, 2, opens_before=2)

    assert sections(list_due(work)) == [(Section.DUE, opening.id)]


def test_mine_is_what_is_assigned_to_me_the_department_s_is_all(work: Work, station):
    mine, colleague_s = due(station, 0), due(station, 0, assignee=make_practitioner(work))
    due(station, 0, encounter=make_encounter(work), assignee=None)  # another department

    assert [key for _, key in sections(list_due(work))] == [mine.id]
    assert {key for _, key in sections(list_due(work, mine=False))} == {mine.id, colleague_s.id}


def test_what_expired_is_offered_for_a_late_record_where_asked_for(work: Work, station):
    missed = due(station, -10, state=InstructionState.EXPIRED)
    due(station, -MISSED_DAYS - 6, state=InstructionState.EXPIRED, closes_after=5)

    assert list_due(work).items == []
    assert [row.Instruction.id for row in list_due(work, section=Section.MISSED).items] == [missed.id]
    assert count_due(work)[Section.MISSED] == 1


def test_what_was_told_too_late_stands_in_nobody_s_list(work: Work, station):
    due(station, -10, state=InstructionState.MISSED)
    due(station, -10, state=InstructionState.MISSED, assignee=None)

    for section in (None, *Section):
        assert list_due(work, section=section, mine=False).items == []
    assert sum(count_due(work).values()) == 0


def test_one_section_alone_pages_by_key(work: Work, station):
    first, second, third = (due(station, days) for days in (-3, -2, -1))
    due(station, 0)

    page = list_due(work, section=Section.OVERDUE, size=2)
    rest = list_due(work, section=Section.OVERDUE, size=2, key=page.next_key)

    assert [row.Instruction.id for row in page.items] == [first.id, second.id]
    assert [row.Instruction.id for row in rest.items] == [third.id]


def test_a_row_tells_what_one_must_know_before_calling(work: Work, station):
    stay = make_encounter(work, department=station.ward, diagnoses=["I63.900", "I10"])
    instruction = station.instruction(encounter=stay)
    record_attempt(
        work, instruction_id=instruction.id, record_id=work.new_id(), result=ContactResult.BUSY,
        channel=Channel.PHONE,
    )  # fmt: skip

    (row,) = list_due(work).items

    assert (row.patient_name, row.department_name, row.assignee_name) == ("张三", "心内科", "李大夫")
    assert (row.main_diagnosis, row.attempts) == ("诊断 I63.900", 1)
    assert row.Instruction.state is InstructionState.IN_PROGRESS


def test_who_is_no_practitioner_has_nothing_of_their_own_not_everything_without_an_owner(work: Work, station):
    due(station, 0, encounter=make_encounter(work), assignee=None)
    work.actor = replace(work.actor, practitioner_id=None)

    assert sections(list_due(work)) == []
    assert sum(count_due(work).values()) == 0
