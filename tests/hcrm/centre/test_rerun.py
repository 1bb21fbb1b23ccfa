from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from hcrm.archive.events import EncounterRevised
from hcrm.archive.visit_models import Diagnosis, Encounter, EncounterClass
from hcrm.centre.classification import classify_encounters, sort_visits
from hcrm.centre.events import EncounterClassified, EncounterReclassified
from hcrm.centre.instructions import issue_instructions
from hcrm.centre.models import Classification, Instruction, InstructionState
from hcrm.centre.replanning import replan_instructions
from hcrm.centre.rerun import apply_run, continue_runs, resume_run, start_preview, stop_run, undo_run
from hcrm.centre.rerun_models import ClassificationBefore, ClassificationChange, ClassificationRun, RunState
from hcrm.centre.rerun_queries import ChangeLine, count_changes, is_undoable, list_changes
from hcrm.core import limits
from hcrm.core.definitions import definition_body, publish_definition
from hcrm.core.errors import ConflictError, HcrmError
from hcrm.core.work import Work
from tests.support.builders import (
    classified,
    discharge,
    discharged,
    make_department,
    make_encounter,
    publish_form,
    publish_protocol,
    publish_rules,
)


@pytest.fixture
def stays(work: Work) -> list[Encounter]:
    """Ten discharged stays, three of them diabetes, sorted and with instructions; one child's outpatient visit open."""
    publish_rules(work)
    publish_form(work)
    publish_protocol(work, code="test.discharge")
    applies = [{"fact": "disease_group", "is": "diabetes"}]
    publish_protocol(work, code="test.diabetes", title="糖尿病随访", applies_when=applies)
    ward = make_department(work, name="一病区")
    found = [
        make_encounter(work, department=ward, diagnoses=["E11.9"] if number < 3 else ["E14.9"])
        for number in range(10)
    ]
    classify_encounters(work, [discharged(stay) for stay in found])
    issue_instructions(work, [classified(stay) for stay in found])
    work.flush()
    return found


def new_rules(work: Work, version: int = 2, prefix: str = "E14") -> None:
    """Diabetes is what begins so."""
    body = yaml.safe_load(definition_body(work, kind="classification", code="disease_group", version=1))
    body["version"] = version
    body["rules"][0]["when"] = [{"fact": "diagnosis.code", "starts_with": [prefix]}]
    publish_definition(
        work, kind="classification", code="disease_group", version=version, body=yaml.safe_dump(body)
    )


def run_out(work: Work) -> None:
    while continue_runs(work):
        pass


def groups(work: Work) -> dict[str, int]:
    rows = work.execute(
        sa.select(Classification.code, sa.func.count())
        .where(Classification.axis == "disease_group")
        .group_by(Classification.code)
    )
    return {row[0]: row[1] for row in rows}


def follow(work: Work) -> None:
    """What the worker does with the facts."""
    facts = [fact for fact in work.events if isinstance(fact, EncounterReclassified)]
    replan_instructions(work, facts)
    work.flush()


def standing(work: Work) -> dict[tuple[str, str], int]:
    work.session.expire_all()
    found: dict[tuple[str, str], int] = {}
    for row in work.all(Instruction):
        key = (row.protocol_code, row.state.value)
        found[key] = found.get(key, 0) + 1
    return found


def test_a_preview_says_what_would_change_and_applying_does_exactly_that(work: Work, stays: list[Encounter]):
    new_rules(work)
    before = standing(work)

    run = start_preview(work)
    run_out(work)

    assert (run.state, run.looked, run.changed) == (RunState.READY, 10, 10)
    assert count_changes(work, run.id) == [
        ChangeLine("disease_group", "unclassified", "未分类", "diabetes", "糖尿病", 7),
        ChangeLine("disease_group", "diabetes", "糖尿病", "unclassified", "未分类", 3),
    ]
    assert (run.appearing, run.missed, run.moving, run.withdrawn) == (10, 0, 0, 10)
    assert standing(work) == before  # nothing is changed by looking
    assert groups(work) == {"unclassified": 7, "diabetes": 3}
    page = list_changes(work, run_id=run.id, axis="disease_group", before="diabetes")
    assert {row.ClassificationChange.encounter_id for row in page.items} == {stay.id for stay in stays[:3]}

    apply_run(work, run_id=run.id)
    run_out(work)
    follow(work)

    assert (run.state, run.applied) == (RunState.DONE, 10)
    assert groups(work) == {"unclassified": 3, "diabetes": 7}
    appeared = {key: number for key, number in standing(work).items() if key[1] == "issued"}
    assert appeared == {("test.diabetes", "issued"): 7, ("test.discharge", "issued"): 3}
    assert sum(number for key, number in standing(work).items() if key[1] == "withdrawn") == 10


def test_it_is_stopped_goes_on_and_is_undone_to_what_stood_before(
    work: Work, stays: list[Encounter], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "CLASSIFY_BATCH", 4)
    new_rules(work)
    was = rows_of(work)
    issued = standing(work)
    run = start_preview(work)
    run_out(work)
    apply_run(work, run_id=run.id)
    continue_runs(work)
    stop_run(work, run_id=run.id)

    assert (continue_runs(work), run.applied, run.state) == (0, 4, RunState.STOPPED)
    with pytest.raises(ConflictError):
        start_preview(work)
    resume_run(work, run_id=run.id)
    run_out(work)
    assert (run.applied, run.state) == (10, RunState.DONE)
    follow(work)

    undo_run(work, run_id=run.id)
    run_out(work)
    follow(work)

    assert (run.undone, run.kept, run.state) == (10, 0, RunState.UNDONE)
    assert rows_of(work) == was
    assert {key: n for key, n in standing(work).items() if key[1] == "issued"} == issued
    assert work.all(ClassificationBefore) == []


def test_a_stay_that_moved_meanwhile_gets_its_former_classes_back_where_it_is(
    work: Work, stays: list[Encounter]
):
    new_rules(work)
    run = start_preview(work)
    run_out(work)
    apply_run(work, run_id=run.id)
    run_out(work)
    other = make_department(work, name="二病区")
    stays[0].department_id = other.id
    undo_run(work, run_id=run.id)
    run_out(work)

    classes = work.all(Classification, Classification.encounter_id == stays[0].id)
    assert {row.department_id for row in classes} == {other.id}


def test_rules_published_while_a_run_changes_stays_stop_it_and_it_can_only_be_undone(
    work: Work, stays: list[Encounter], monkeypatch: pytest.MonkeyPatch
):
    """Else half of the stays would follow a preview and half would not."""
    monkeypatch.setattr(limits, "CLASSIFY_BATCH", 4)
    was = rows_of(work)
    new_rules(work)
    run = start_preview(work)
    run_out(work)
    apply_run(work, run_id=run.id)
    continue_runs(work)

    new_rules(work, version=3, prefix="E11")
    run_out(work)

    assert (run.state, run.stopped_in, run.applied) == (RunState.STOPPED, RunState.APPLYING, 4)
    with pytest.raises(ConflictError, match="请撤销后重新预览"):
        resume_run(work, run_id=run.id)
    undo_run(work, run_id=run.id)
    run_out(work)
    assert rows_of(work) == was


def rows_of(work: Work) -> list[tuple[Any, ...]]:
    table = Classification.__table__
    return [tuple(row) for row in work.execute(sa.select(table).order_by(table.c.id))]


def test_a_record_corrected_after_the_run_is_not_put_back(work: Work, stays: list[Encounter]):
    new_rules(work)
    run = start_preview(work)
    run_out(work)
    apply_run(work, run_id=run.id)
    run_out(work)
    work.clock.move(hours=1)
    diagnosis = work.one(Diagnosis, Diagnosis.encounter_id == stays[0].id)
    diagnosis.code = "I63.9"
    classify_encounters(work, [EncounterRevised(encounter_id=stays[0].id, trigger_id=stays[0].discharge_id)])

    undo_run(work, run_id=run.id)
    run_out(work)

    assert (run.undone, run.kept) == (9, 1)
    assert groups(work) == {"unclassified": 7, "diabetes": 2, "stroke": 1}


def test_what_somebody_works_on_goes_on(work: Work, stays: list[Encounter]):
    taken = work.one(Instruction, Instruction.encounter_id == stays[0].id)
    taken.state = InstructionState.ACCEPTED
    work.session.flush()
    new_rules(work)
    run = start_preview(work)
    run_out(work)

    assert run.withdrawn == 9


def test_a_preview_under_other_rules_cannot_be_applied_and_a_second_run_ends_the_first_ones_undo(
    work: Work, stays: list[Encounter]
):
    new_rules(work)
    run = start_preview(work)
    run_out(work)
    new_rules(work, version=3, prefix="E11-E14")
    with pytest.raises(ConflictError, match="重新预览"):
        apply_run(work, run_id=run.id)

    second = start_preview(work)  # the one nobody confirmed is dropped
    run_out(work)
    assert [each.id for each in work.all(ClassificationRun)] == [second.id]
    assert len(work.all(ClassificationChange)) == 7
    apply_run(work, run_id=second.id)
    run_out(work)
    assert is_undoable(work, second)

    new_rules(work, version=4)
    third = start_preview(work)
    run_out(work)
    apply_run(work, run_id=third.id)
    run_out(work)
    assert not is_undoable(work, second)
    with pytest.raises(HcrmError, match="不能撤销"):
        undo_run(work, run_id=second.id)


def test_visits_no_discharge_brought_are_sorted_without_issuing_and_the_discharge_is_still_the_first_word(
    work: Work, stays: list[Encounter]
):
    in_house = make_encounter(work, discharged_at=None, diagnoses=["E11.9"])
    outpatient = make_encounter(
        work, encounter_class=EncounterClass.OUTPATIENT, discharged_at=None, diagnoses=["I63"]
    )
    issued = len(work.all(Instruction))

    assert sort_visits(work) == 2
    assert sort_visits(work) == 0
    assert groups(work) == {"unclassified": 7, "diabetes": 4, "stroke": 1}
    assert len(work.all(Instruction)) == issued
    assert not [fact for fact in work.events if isinstance(fact, EncounterClassified)]

    work.clock.move(hours=1)
    in_house.updated_at = work.clock.now()  # something was told of the stay
    work.session.flush()
    assert sort_visits(work) == 1
    discharge_now(work, in_house)
    classify_encounters(work, [discharged(in_house)])
    assert work.events[-1] == EncounterClassified(encounter_id=in_house.id, trigger_id=in_house.discharge_id)
    provisional = sa.select(Classification.encounter_id).where(Classification.is_provisional).distinct()
    assert work.scalars(provisional) == [outpatient.id]


def discharge_now(work: Work, stay: Encounter) -> None:
    discharge(work, stay, at=datetime(2026, 11, 22, 1, tzinfo=UTC))


def test_stays_that_were_never_sorted_get_their_classes_and_nothing_is_issued(
    work: Work, stays: list[Encounter]
):
    old = make_encounter(work, diagnoses=["E11.9"])
    run = start_preview(work)
    run_out(work)
    assert (run.changed, run.appearing) == (1, 0)
    lines = [line for line in count_changes(work, run.id) if line.axis == "disease_group"]
    assert lines == [ChangeLine("disease_group", "", "", "diabetes", "糖尿病", 1)]

    work.flush()
    apply_run(work, run_id=run.id)
    run_out(work)

    assert not [fact for fact in work.events if isinstance(fact, EncounterReclassified)]
    undo_run(work, run_id=run.id)
    run_out(work)
    assert old.id not in set(work.scalars(sa.select(Classification.encounter_id)))
