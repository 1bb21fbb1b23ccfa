from datetime import timedelta

import pytest
import sqlalchemy as sa

from hcrm.audit.models import AuditSubject
from hcrm.centre.models import IS_OPEN, Instruction, InstructionState
from hcrm.centre.queries import (
    InstructionFilter,
    count_by_assignee,
    count_instructions,
    get_instruction,
    list_assignable,
    list_instructions,
)
from hcrm.core.clock import local_date
from hcrm.core.db import Database
from hcrm.core.errors import DeniedError
from hcrm.core.work import Work
from tests.support.builders import (
    actor_of,
    make_department,
    make_encounter,
    make_instruction,
    make_patient,
    make_practitioner,
)

S = InstructionState


def shown(page) -> list[str]:
    return [row.Instruction.id for row in page.items]


def test_the_list_runs_by_due_date_and_pages_by_key(work: Work):
    today = local_date(work.clock.now())
    third, first, second = (make_instruction(work, due_on=today + timedelta(days=n)) for n in (3, 1, 2))

    page = list_instructions(work, size=2)
    rest = list_instructions(work, size=2, key=page.next_key)

    assert shown(page) == [first.id, second.id]
    assert shown(rest) == [third.id]


def test_a_row_names_patient_department_and_owner(work: Work):
    ward, doctor = make_department(work, name="心内科"), make_practitioner(work, name="李大夫")
    stay = make_encounter(work, patient=make_patient(work, name="王五"), department=ward)
    make_instruction(work, encounter=stay, assignee=doctor)

    (row,) = list_instructions(work).items

    assert (row.patient_name, row.department_name, row.assignee_name) == ("王五", "心内科", "李大夫")
    assert row.discharged_at == stay.discharged_at


@pytest.mark.parametrize("narrowed", ["overdue", "exception", "state", "assignee", "department", "patient"])
def test_each_filter_keeps_what_it_names(work: Work, narrowed):
    today = local_date(work.clock.now())
    ward, doctor = make_department(work), make_practitioner(work)
    stay = make_encounter(work, department=ward)
    owned = {"assignee": doctor}
    rows = {
        "overdue": make_instruction(work, due_on=today - timedelta(days=1), **owned),
        "exception": make_instruction(work),
        "state": make_instruction(work, state=S.COMPLETED, **owned),
        "assignee": make_instruction(work, assignee=make_practitioner(work)),
        "department": make_instruction(work, encounter=stay, **owned),
    }
    rows["patient"] = rows["department"]
    wanted = {
        "overdue": InstructionFilter(is_overdue=True),
        "exception": InstructionFilter(is_exception=True),
        "state": InstructionFilter(states=[S.COMPLETED]),
        "assignee": InstructionFilter(assignee_id=rows["assignee"].assignee_id),
        "department": InstructionFilter(department_id=ward.id),
        "patient": InstructionFilter(patient_id=stay.patient_id, encounter_id=stay.id),
    }[narrowed]

    assert shown(list_instructions(work, wanted=wanted)) == [rows[narrowed].id]
    assert count_instructions(work, wanted=wanted) == 1


def test_what_was_returned_is_an_exception_whoever_owned_it(work: Work):
    returned = make_instruction(work, state=S.RETURNED, assignee=make_practitioner(work))

    assert shown(list_instructions(work, wanted=InstructionFilter(is_exception=True))) == [returned.id]


def test_lists_and_records_keep_to_the_departments_and_note_who_was_seen(work: Work):
    mine, other = make_department(work), make_department(work)
    seen = make_instruction(work, encounter=make_encounter(work, department=mine))
    hidden = make_instruction(work, encounter=make_encounter(work, department=other))
    work.actor = actor_of(make_practitioner(work), mine)

    assert shown(list_instructions(work)) == [seen.id]
    assert get_instruction(work, instruction_id=seen.id).Patient.id == seen.patient_id
    with pytest.raises(DeniedError):
        get_instruction(work, instruction_id=hidden.id)

    work.flush()
    assert set(work.scalars(sa.select(AuditSubject.subject_patient_id))) == {seen.patient_id}


def test_the_board_counts_per_physician(work: Work):
    today = local_date(work.clock.now())
    doctor = make_practitioner(work, name="李大夫")
    for state, due in (
        (S.ISSUED, 0),
        (S.ACCEPTED, -1),
        (S.IN_REVIEW, -1),
        (S.COMPLETED, -1),
        (S.RETURNED, 0),
    ):
        make_instruction(work, assignee=doctor, state=state, due_on=today + timedelta(days=due))

    (row,) = count_by_assignee(work)

    assert (row.assignee_name, row.open, row.overdue, row.in_review, row.returned) == ("李大夫", 2, 1, 1, 1)


def test_only_those_with_an_account_in_my_departments_can_be_chosen(work: Work):
    ward, other = make_department(work), make_department(work)
    mine = make_practitioner(work, department=ward)
    make_practitioner(work, department=ward, has_account=False)
    make_practitioner(work, department=other)
    work.actor = actor_of(mine, ward)

    assert [one.id for one in list_assignable(work)] == [mine.id]


def test_open_instructions_of_a_physician_are_found_by_their_partial_index(sqlite_databases, tmp_path, keys):
    """SQLite uses a partial index only where the statement says the very words of its condition."""
    with sqlite_databases.fresh(tmp_path) as url:
        database = Database(url, keys)
        statement = sa.select(Instruction.id).where(IS_OPEN, Instruction.assignee_id == "x")
        text = statement.compile(database.main, compile_kwargs={"literal_binds": True})

        with database.main.connect() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}").all()
        database.dispose()

    assert "ix_instruction_assignee" in str(plan)
