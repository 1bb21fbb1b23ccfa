"""Test patients: judged by rules when an archive is absorbed, by a person's mark against any rule; in no list."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from followup.worklist import list_due
from hcrm.archive.arrivals import Arrival
from hcrm.archive.base_data import BaseData, edit_base
from hcrm.archive.events import PatientMarkedTest, PatientUnmarkedTest
from hcrm.archive.identity.service import end_number
from hcrm.archive.models import Patient, PatientIdentifier, PatientMark
from hcrm.archive.register import Entry, register_patient
from hcrm.archive.search.patients import search_patients
from hcrm.archive.service import absorb_records
from hcrm.archive.test_patients.rules import TestPatientRules, parse_test_rules
from hcrm.archive.test_patients.service import (
    apply_test_rules,
    count_test_patients,
    follow_test_rules,
    list_test_patients,
    mark_test_patient,
    may_send_test,
    preview_test_rules,
    review_test_patients,
    unmark_test_patient,
)
from hcrm.centre.measures import MEASURES
from hcrm.centre.models import InstructionState, Withdrawal
from hcrm.centre.queries import count_by_assignee, count_by_state, list_instructions
from hcrm.centre.replanning import withdraw_for_test
from hcrm.centre.restoring import restore_for_unmarked
from hcrm.core.definitions import publish_definition
from hcrm.core.errors import ConflictError, HcrmError
from hcrm.core.events import Event
from hcrm.core.paths import config_path
from hcrm.core.work import Work
from hcrm.desk.today import count_centre, list_loads, list_recent
from hcrm.statistics.period import Month, Period
from hcrm.statistics.queries import list_rows
from hcrm.statistics.service import run_measure
from tests.support.builders import (
    centre_actor,
    make_department,
    make_encounter,
    make_instruction,
    make_patient,
    make_practitioner,
    publish_form,
    publish_matching,
    publish_rules,
)
from tests.support.changes import change
from tests.support.stays import instructions, issued_stay, protocols

__all__ = ["protocols"]

NOON = datetime(2026, 11, 20, 4, tzinfo=UTC)


def rules_of(names: str = "", numbers: str = "", version: int = 1) -> TestPatientRules:
    return parse_test_rules(
        f"code: test_patients\nversion: {version}\nstatus: signed\ntitle: 规则\n"
        f"names: [{names}]\nrecord_numbers: [{numbers}]"
    )


@pytest.fixture
def shipped(work: Work) -> TestPatientRules:
    body = (config_path("test_patients.yaml")).read_text(encoding="utf-8")
    publish_definition(work, kind="test_patients", code="test_patients", version=1, body=body)
    return parse_test_rules(body)


@pytest.fixture
def definitions(work: Work) -> None:
    publish_rules(work)
    publish_form(work)


def absorb(work: Work, *changes, first: int = 1) -> Patient:
    absorb_records(work, arrivals=[Arrival(seq, one) for seq, one in enumerate(changes, start=first)])
    work.flush()
    work.session.expire_all()
    return work.one(Patient)


# ── rules ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "is_test"),
    [
        ("张三测试", True), ("测试0001", True), ("Zhang TEST", True), ("TEST01", True), ("ｔｅｓｔ", True),
        ("TESTA MARIO", False), ("PROTESTER", False), ("张三", False), ("试", False), ("", False),
    ],
)  # fmt: skip
def test_the_shipped_rules_find_what_people_call_a_test_and_no_patient(shipped_text, name, is_test):
    assert (shipped_text.reason(name, ()) is not None) is is_test


@pytest.fixture(scope="module")
def shipped_text() -> TestPatientRules:
    return parse_test_rules((config_path("test_patients.yaml")).read_text(encoding="utf-8"))


@given(st.integers(min_value=0, max_value=10**9))
def test_a_range_of_numbers_compares_numbers_of_its_own_length(number):
    written = str(number)
    inside = len(written) == 4 and 9900 <= number <= 9950
    found = rules_of(numbers="{from: '9900', to: '9950'}").reason("张三", (written,))
    assert (found is not None) is inside


@pytest.mark.parametrize(
    ("names", "numbers", "says"),
    [
        ("{contains: 测}", "", "至少 2 个字"),
        ("{contains: 测试, is: 测试}", "", "只写一个"),
        ("{word: 测试}", "", "西文字母"),
        ("", "{from: '99', to: '100'}", "等长"),
        ("", "{from: '99'}", "同时写"),
        ("{like: 测试}", "", "like"),
    ],
)
def test_a_rule_that_would_hit_patients_or_is_mistyped_is_refused(names, numbers, says):
    with pytest.raises(HcrmError, match=says):
        rules_of(names, numbers)


def test_messages_for_test_patients_go_to_numbers_of_the_settings_only():
    assert may_send_test("138-0013-8000", ["13800138000"])
    assert may_send_test("+8613800138000", ["13800138000"])
    assert not may_send_test("13900139000", ["13800138000"])
    assert not may_send_test("", [""])


# ── absorbing ───────────────────────────────────────────────────────────────


def test_an_archive_becomes_a_test_patient_by_its_name_and_ceases_to_be_one(work: Work, shipped):
    patient = absorb(work, change("A01", name="张^三测试"))
    assert (patient.is_test, patient.test_reason) == (True, "姓名含“测试”")
    assert work.scalars(sa.select(Event.kind).where(Event.kind == "PatientMarkedTest"))

    patient = absorb(work, change("A08", name="张^三", m="12:40"), first=2)
    assert (patient.is_test, patient.test_reason) == (False, None)
    (event,) = work.all(Event, Event.kind == "PatientUnmarkedTest")
    assert event.payload["patient_id"] == patient.id


def test_people_who_name_or_number_an_archive_are_judged_like_messages(work: Work, shipped):
    """A new archive, a corrected name, a number that ends, a file that named many: whichever way it came."""
    publish_matching(work)
    key = register_patient(work, entry=Entry(name="测试甲", phone="13912345678"))
    assert work.get(Patient, key).is_test

    seen = BaseData("测试甲", work.get(Patient, key).sex, None)
    edit_base(work, patient_id=key, seen=seen, wanted=replace(seen, name="赵甲"))
    work.session.expire_all()
    assert not work.get(Patient, key).is_test

    absorb_records(work, arrivals=[Arrival(7, change("A01", p="TEST007^^^H1^MR~200^^^H1^MR"))])
    work.session.expire_all()
    patient = work.one(Patient, Patient.id != key)
    assert patient.is_test
    number = next(row for row in work.all(PatientIdentifier) if row.value == "TEST007")
    end_number(work, patient_id=patient.id, identifier_id=number.id, reason="发错了号")
    assert not work.get(Patient, patient.id).is_test

    work.execute(sa.update(Patient).where(Patient.id == key).values(name="测试乙"))
    review_test_patients(work, [key, patient.id])
    work.session.expire_all()
    assert (work.get(Patient, key).is_test, work.get(Patient, patient.id).is_test) == (True, False)


def test_a_persons_mark_wins_over_the_rules_until_it_is_taken_back(work: Work, shipped):
    patient = absorb(work, change("A01", name="测^试"))
    mark_test_patient(work, patient_id=patient.id, mark=PatientMark.REAL, reason="真的姓测")
    assert not absorb(work, change("A08", name="测^试", m="12:40"), first=2).is_test
    with pytest.raises(ConflictError):
        mark_test_patient(work, patient_id=patient.id, mark=PatientMark.REAL, reason="又一次")

    unmark_test_patient(work, patient_id=patient.id)
    assert work.get(Patient, patient.id).is_test
    with pytest.raises(ConflictError):
        unmark_test_patient(work, patient_id=patient.id)


def test_a_mark_needs_a_reason(work: Work):
    with pytest.raises(HcrmError, match="原因"):
        mark_test_patient(work, patient_id=make_patient(work).id, mark=PatientMark.TEST, reason=" ")


# ── new rules ───────────────────────────────────────────────────────────────


def test_new_rules_say_whom_they_would_change_and_change_just_those(work: Work, shipped):
    old = make_patient(work, name="旧测试")
    old.is_test = True
    kept = make_patient(work, name="演练甲")
    mark_test_patient(work, patient_id=kept.id, mark=PatientMark.REAL, reason="真名")
    new = make_patient(work, name="演练乙")
    make_patient(work, name="王五")
    rules = rules_of("{starts: 演练}", version=2)

    preview = preview_test_rules(work, rules)
    assert [one.id for one in preview.become] == [new.id]
    assert [one.id for one in preview.cease] == [old.id]
    assert preview.marked == 1

    apply_test_rules(work, rules)
    work.session.expire_all()
    assert {row.name for row in work.all(Patient, Patient.is_test)} == {"演练乙"}
    assert count_test_patients(work) == 1
    assert [row.Patient.id for row in list_test_patients(work).items] == [new.id]
    assert preview_test_rules(work, rules).total == 0


NAMES = (
    "测试",
    "李测试",
    "Test",
    "tEsT9",
    "TESTA",
    "a test",
    "À TEST",
    "100%",
    "a_b",
    "王五",
    "ÉCOLE",
    "école",
)


@pytest.mark.parametrize(
    "names",
    ["{contains: 测试}, {word: test}", "{starts: '10'}", "{contains: a_}, {is: école}"],
)
def test_the_preview_finds_what_the_rules_find_in_each_name(work: Work, names):
    rules = rules_of(names, "{starts: ab}, {from: '0010', to: '0020'}")
    people = {make_patient(work, name=name).id: name for name in NAMES}
    found = {one.id for one in preview_test_rules(work, rules).become}
    assert found == {key for key, name in people.items() if rules.reason(name, ())}
    assert found


# ── what follows ────────────────────────────────────────────────────────────


def test_a_test_patient_has_no_open_instruction_and_has_them_again_afterwards(work: Work, protocols):
    stay = issued_stay(work, diagnoses=["I63.9"], attending=make_practitioner(work))
    done = make_instruction(work, encounter=stay, state=InstructionState.COMPLETED)
    mark_test_patient(work, patient_id=stay.patient_id, mark=PatientMark.TEST, reason="接口联调")
    withdraw_for_test(work, [PatientMarkedTest(patient_id=stay.patient_id)])
    rows = instructions(work)
    assert {row.withdrawal for row in rows if row.id != done.id} == {Withdrawal.TEST_PATIENT}
    assert {row.state for row in rows if row.id == done.id} == {InstructionState.COMPLETED}

    unmark_test_patient(work, patient_id=stay.patient_id)
    fact = PatientUnmarkedTest(patient_id=stay.patient_id, noted_at=work.clock.now().isoformat())
    assert restore_for_unmarked(work, [fact]) == 2
    assert restore_for_unmarked(work, [fact]) == 0


def test_a_discharge_of_a_test_patient_is_classified_and_instructs_nobody(work: Work, protocols):
    patient = make_patient(work, name="张三测试")
    patient.is_test = True
    work.session.flush()

    issued_stay(work, patient=patient)

    assert instructions(work) == []


def figures(work: Work) -> list[object]:
    """Everything that lists or counts patients, as the service centre sees it."""
    work.actor = centre_actor()
    period = Period(Month(2026, 10), Month(2026, 12))
    recent = list_recent(work)
    return [
        [line.id for line in search_patients(work).items],
        [line.id for line in search_patients(work, "zs").items],
        [row.Instruction.id for row in list_instructions(work).items],
        [row.Instruction.id for row in list_due(work, mine=False).items],
        count_by_state(work), count_by_assignee(work), count_centre(work), list_loads(work),
        [stay.encounter_id for stay in recent.stays] if recent else None,
        [
            ([(row.key, row.by_month) for row in run_measure(work, measure, period=period).departments],
             [row.row_id for row in list_rows(work, measure, period=period).items])
            for measure in MEASURES
        ],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "state", [InstructionState.ISSUED, InstructionState.COMPLETED, InstructionState.RETURNED]
)
def test_no_list_and_no_measure_changes_by_adding_test_patients(work: Work, definitions, state):
    department = make_department(work)
    for _ in range(3):
        make_instruction(work, encounter=make_encounter(work, department=department, discharged_at=NOON))
    before = figures(work)

    for _ in range(2):
        patient = make_patient(work)
        mark_test_patient(work, patient_id=patient.id, mark=PatientMark.TEST, reason="试运行")
        stay = make_encounter(work, patient=patient, department=department, discharged_at=NOON)
        make_instruction(work, encounter=stay, state=state)

    assert figures(work) == before


def test_whom_the_rules_missed_is_judged_the_next_night_and_a_mark_still_stands(work: Work, shipped):
    missed = make_patient(work, name="测试甲")  # absorbed while the rules were being published
    real = make_patient(work, name="测试乙")
    mark_test_patient(work, patient_id=real.id, mark=PatientMark.REAL, reason="真有其人")
    work.flush()

    assert follow_test_rules(work) == 1
    work.session.expire_all()
    assert (missed.is_test, real.is_test) == (True, False)
    assert follow_test_rules(work) == 0
