"""The centre's workbench and the department's board: numbers that equal the lists they open, and recent discharges."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
import sqlalchemy as sa

from followup.models import Alert, AlertState
from hcrm.audit.models import AuditEvent
from hcrm.centre.models import Classification, Instruction, InstructionState, Outcome
from hcrm.core import limits
from hcrm.core.clock import local_date
from hcrm.core.work import open_work
from hcrm.desk.board import load_board
from hcrm.desk.today import RECENT, count_centre, list_recent
from hcrm.directory.models import Department, Practitioner
from hcrm.forms.models import Response, ResponseState
from tests.support.builders import (
    actor_of,
    cancel_discharge,
    centre_actor,
    make_department,
    make_encounter,
    make_instruction,
    make_patient,
    make_practitioner,
)

NOW = datetime(2026, 11, 22, 2, tzinfo=UTC)


@pytest.fixture
def read(database, clock):
    def run(actor, query, **values):
        with open_work(database, actor=actor, clock=clock, write=False) as work:
            return query(work, **values)

    return run


def raise_alert(work, instruction, state=AlertState.OPEN):
    stamp = {"patient_id": instruction.patient_id, "encounter_id": instruction.encounter_id}
    now = work.clock.now()
    response = Response(
        id=work.new_id(), subject_type="instruction", subject_id=instruction.id, form_code="test.call", form_version=1,
        state=ResponseState.SUBMITTED, answers={}, author_id="a", author_name="李", saved_at=now, **stamp,
    )  # fmt: skip
    work.add(response)
    work.add(
        Alert(
            id=work.new_id(),
            instruction_id=instruction.id,
            response_id=response.id,
            level="R2",
            flag_code="fever",
            department_id=instruction.department_id,
            evidence="体温 39",
            says="当日联系",
            state=state,
            raised_at=now,
            **stamp,
        )
    )


# ── the centre ──────────────────────────────────────────────────────────────


def test_the_numbers_count_what_needs_a_hand(write, read):
    def add(work):
        physician = make_practitioner(work)
        today = local_date(work.clock.now())
        make_instruction(work)  # nobody's
        make_instruction(work, assignee=physician, state=InstructionState.RETURNED)
        make_instruction(work, assignee=physician, due_on=today - timedelta(days=1))
        make_instruction(work, assignee=physician, due_on=today + timedelta(days=1))
        make_instruction(work, assignee=physician, state=InstructionState.COMPLETED)
        due = make_instruction(work, assignee=physician, state=InstructionState.ACCEPTED)
        raise_alert(work, due)
        raise_alert(work, due, AlertState.CLOSED)

    write(add)
    numbers = read(centre_actor(), count_centre)

    assert (numbers.exceptions, numbers.overdue, numbers.due_today, numbers.alerts, numbers.parked) == (
        2,
        1,
        2,
        1,
        0,
    )


def test_an_empty_hospital_counts_zero(read):
    numbers = read(centre_actor(), count_centre)

    assert (numbers.exceptions, numbers.overdue, numbers.due_today, numbers.alerts, numbers.parked) == (
        0,
        0,
        0,
        0,
        0,
    )


def test_every_number_opens_a_list_of_that_length(ward, browser_of, write):
    def add(work):
        for shift in (-9, 0, 0):
            make_instruction(
                work, due_on=local_date(work.clock.now()) + timedelta(days=shift), opens_before=0
            )

    write(add)
    centre = browser_of("wang")
    page = centre.get("/workbench").text
    numbers = re.findall(
        r'<a class="stat [^"]*" href="(/instructions[^"]+)">.*?stat-value">([\d,]+)<', page, re.DOTALL
    )

    assert [int(value) for _, value in numbers] == [3, 2, 3]
    for address, value in numbers:
        assert f"共 {value} 条" in centre.get(unescape(address)).text


# ── recent discharges ───────────────────────────────────────────────────────


def test_the_stay_whose_message_came_last_stands_first(write, read):
    def add(work):
        for name, hours in (("甲", 1), ("乙", 3), ("丙", 2), ("丁", 30)):
            make_encounter(
                work, patient=make_patient(work, name=name), discharged_at=NOW - timedelta(hours=hours)
            )
        make_encounter(work, patient=make_patient(work, name="戊"), discharged_at=None)
        back = make_encounter(work, patient=make_patient(work, name="己"), discharged_at=NOW)
        cancel_discharge(work, back)

    write(add)
    recent = read(centre_actor(), list_recent)

    assert [stay.patient_name for stay in recent.stays] == ["丙", "乙", "甲"]


def test_no_more_are_shown_than_fit(write, read):
    write(lambda work: [make_encounter(work, discharged_at=NOW) for _ in range(RECENT + 3)] and None)

    assert len(read(centre_actor(), list_recent).stays) == RECENT


def test_a_line_tells_what_was_instructed_and_for_whom(write, read):
    def add(work):
        physician = make_practitioner(work, name="李大夫")
        stay = make_encounter(work, discharged_at=NOW)
        for shift, values in ((7, {}), (30, {}), (1, {"state": InstructionState.WITHDRAWN})):
            due_on = local_date(NOW) + timedelta(days=shift)
            make_instruction(work, encounter=stay, assignee=physician, due_on=due_on, **values)
        for rank, (label, is_sensitive) in enumerate((("糖尿病", False), ("精神障碍", True))):
            work.add(
                Classification(
                    id=work.new_id(),
                    encounter_id=stay.id,
                    axis="disease_group",
                    code=f"c{rank}",
                    label=label,
                    rank=rank,
                    rule_code="r",
                    rule_version=1,
                    is_sensitive=is_sensitive,
                    classified_at=NOW,
                )
            )

    write(add)
    stay = read(centre_actor(), list_recent).stays[0]

    assert (stay.issued, stay.owner, stay.without_owner) == (2, "李大夫", 0)
    assert stay.first_due == local_date(NOW) + timedelta(days=7)
    assert list(stay.groups) == ["糖尿病"]  # the sensitive one is not named


def test_instructions_that_were_withdrawn_are_told_and_not_that_no_protocol_fits(ward, browser_of, write):
    def add(work):
        stay = make_encounter(work, discharged_at=NOW)
        make_instruction(work, encounter=stay, state=InstructionState.WITHDRAWN)
        work.add(Classification(
            id=work.new_id(), encounter_id=stay.id, axis="disease_group", code="c", label="糖尿病", rank=0,
            rule_code="r", rule_version=1, is_sensitive=False, classified_at=NOW,
        ))  # fmt: skip
        return stay.id

    stay_id = write(add)
    centre = browser_of("wang")
    page = centre.get("/workbench").text

    assert "1 条已撤回" in page
    assert "无适用方案" not in page
    assert "已撤回" in centre.get(f"/instructions?encounter={stay_id}").text  # the link shows them


def test_the_list_comes_again_only_when_something_in_it_changed(ward, browser_of, write):
    centre = browser_of("wang")
    write(lambda work: make_encounter(work, patient=make_patient(work, name="刚出院甲"), discharged_at=NOW))
    page = centre.get("/workbench").text
    address = re.search(r'hx-get="([^"]+)"', page)[1]
    reads = sa.select(sa.func.count()).where(AuditEvent.action == "encounter.list")
    noted = write(lambda work: work.scalar(reads))

    assert "刚出院甲" in page
    assert centre.get(address).status_code == 204
    assert write(lambda work: work.scalar(reads)) == noted  # nobody was shown, nothing is noted
    write(lambda work: make_encounter(work, patient=make_patient(work, name="刚出院乙"), discharged_at=NOW))
    fresh = centre.get(address)
    assert fresh.status_code == 200
    assert fresh.text.index("刚出院乙") < fresh.text.index("刚出院甲")
    assert "<html" not in fresh.text
    assert write(lambda work: work.scalar(reads)) == noted + 1


def test_a_page_that_refreshes_itself_does_not_keep_the_session_awake(ward, browser_of, clock):
    centre = browser_of("wang")
    address = re.search(r'hx-get="([^"]+)"', centre.get("/workbench").text)[1]
    for _ in range(4):
        clock.move(seconds=limits.SESSION_IDLE_SECONDS / 4)
        answer = centre.get(address, headers={"HX-Request": "true", "X-Refresh": "1"})

    assert answer.status_code == 401


# ── the board ───────────────────────────────────────────────────────────────


@pytest.fixture
def head(write):
    """A department with two physicians and every kind of instruction; the head as actor."""

    def add(work):
        department, other = make_department(work, name="心内科"), make_department(work, name="外科")
        li, wang = (
            make_practitioner(work, name=name, department=department) for name in ("李大夫", "王大夫")
        )
        stay = make_encounter(work, department=department)
        today = local_date(work.clock.now())

        def add_one(assignee, shift, **values):
            due_on = today + timedelta(days=shift)
            return make_instruction(work, encounter=stay, assignee=assignee, due_on=due_on, **values)

        add_one(
            li,
            -3,
            state=InstructionState.COMPLETED,
            outcome=Outcome.REACHED,
            done_on=today - timedelta(days=3),
        )
        add_one(
            li, -10, state=InstructionState.COMPLETED, outcome=Outcome.LOST, done_on=today
        )  # after the window
        late = add_one(li, -2)
        raise_alert(work, late)
        add_one(li, 40)  # open, but not of the period
        add_one(li, -40, state=InstructionState.EXPIRED)
        add_one(li, -4, state=InstructionState.WITHDRAWN)
        add_one(wang, -1, state=InstructionState.RETURNED)
        add_one(None, 0)
        make_instruction(work, encounter=make_encounter(work, department=other), assignee=wang, due_on=today)
        return actor_of(li, department)

    return write(add)


def test_the_board_counts_per_physician_within_the_department(head, read):
    board = read(head, load_board, days=30)
    lines = {line.name: line for line in board.lines}
    li, wang, nobody = lines["李大夫"], lines["王大夫"], lines[None]

    assert (li.due, li.in_window, li.lost, li.open, li.overdue, li.returned, li.alerts) == (
        3,
        1,
        1,
        2,
        1,
        0,
        1,
    )
    assert (wang.due, wang.open, wang.returned) == (1, 0, 1)
    assert (nobody.due, nobody.open, nobody.assignee_id) == (1, 1, None)
    assert board.lines[0] is nobody  # exceptions first
    assert board.ratio == pytest.approx(1 / 5)


def test_an_empty_period_has_no_ratio(read):
    board = read(centre_actor(), load_board, days=7)

    assert list(board.lines) == []
    assert board.ratio is None


def test_every_figure_of_the_board_opens_a_list_of_that_length(ward, browser_of, write):
    def add(work):
        physician = work.one(Practitioner, Practitioner.name == "李大夫")
        department = work.one(Department, Department.name == "心内科")
        stay = make_encounter(work, department=department)
        today = local_date(work.clock.now())
        for shift, values in (
            (-4, {"state": InstructionState.COMPLETED, "outcome": Outcome.REACHED, "done_on": today}),
            (-5, {"state": InstructionState.IN_REVIEW, "outcome": Outcome.LOST, "done_on": today}),
            (-6, {"state": InstructionState.RETURNED}),
            (-7, {"state": InstructionState.WITHDRAWN, "done_on": None}),
        ):
            make_instruction(
                work, encounter=stay, assignee=physician, due_on=today + timedelta(days=shift), **values
            )

    write(add)
    head = browser_of("zhao")
    page = head.get("/workbench?days=30").text
    cells = re.findall(r'<td class="num [^"]*"><a[^>]* href="([^"]+)">(\d+)</a>', page)

    line = [5, 2, 1, 2, 1, 1]  # due, in window, lost, open, overdue, returned
    assert [int(value) for _, value in cells] == [*line, *line]  # the physician's, and 合计
    for address, value in cells:
        assert f"共 {value} 条" in head.get(unescape(address)).text


def test_a_physician_of_another_department_sees_none_of_it(ward, browser_of):
    page = browser_of("qian").get("/workbench").text

    assert "科室看板" in page
    assert "李大夫" not in page
    assert "本科室还没有随访指令" in page


def test_the_board_keeps_its_period_in_the_address(ward, browser_of):
    head = browser_of("zhao")

    assert "10-24 至 11-22" in head.get("/workbench").text
    assert "11-16 至 11-22" in head.get("/workbench?days=7").text
    assert head.get("/workbench?days=0").status_code == 422


def test_numbers_are_read_in_few_statements_whatever_their_size(head, read, write, database):
    def count(query, **values):
        statements = []

        def note(*arguments):
            statements.append(arguments[2])

        sa.event.listen(database.main, "before_cursor_execute", note)
        read(centre_actor(), query, **values)
        sa.event.remove(database.main, "before_cursor_execute", note)
        return len(statements)

    write(lambda work: make_encounter(work, discharged_at=NOW))
    queries = ((count_centre, {}), (list_recent, {}), (load_board, {"days": 30}))
    before = [count(query, **values) for query, values in queries]
    instructions = write(lambda work: work.scalar(sa.select(sa.func.count()).select_from(Instruction)))

    def add(work):
        for number in range(15):
            physician = make_practitioner(work, name=f"医师{number}")
            make_instruction(
                work,
                encounter=make_encounter(work, discharged_at=NOW),
                assignee=physician,
                state=InstructionState.ISSUED,
            )

    write(add)
    assert write(lambda work: work.scalar(sa.select(sa.func.count()).select_from(Instruction))) > instructions
    assert [count(query, **values) for query, values in queries] == before
