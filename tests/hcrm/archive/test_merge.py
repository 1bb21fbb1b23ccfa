"""Merging two archives: everything moves, nothing is lost, and what would go in circles is refused."""

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from hcrm.archive.arrivals import Arrival
from hcrm.archive.merge.service import STAYS_BEHIND, merge_patients, patient_columns
from hcrm.archive.models import (
    ContactPoint,
    DeceasedState,
    Patient,
    PatientIdentifier,
    PatientMerge,
    TimelineEntry,
)
from hcrm.archive.queries import surviving_patient
from hcrm.archive.service import absorb_records
from hcrm.audit.models import AuditEvent, AuditSubject
from hcrm.audit.queries import same_patient
from hcrm.core.db import Base
from hcrm.core.errors import ConflictError
from hcrm.core.tables import load_tables
from hcrm.core.work import Work
from tests.support.builders import make_patient
from tests.support.changes import change

load_tables()
READ_THROUGH_THE_MERGE = {
    "audit_subject.subject_patient_id",  # append-only
    "census_line.patient_id",  # whom a day's list met is a log
    "inbox_application.became_patient_id",  # what a message became is a log
    "outbound_message.patient_id",  # as is of whom another system was told
}
"""Columns that keep the id as it was then; `audit.queries.same_patient` reads them."""


def merge(work: Work, survivor: str, merged: str) -> str:
    merge_id = merge_patients(work, survivor_id=survivor, merged_id=merged, source="test", seq=None)
    work.flush()
    work.session.expire_all()
    return merge_id


# ── the schema ──────────────────────────────────────────────────────────────


def patient_id_columns() -> Iterator[sa.Column[Any]]:
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            if column.name.endswith("patient_id") or column.name == "merged_into_id":
                yield column


def place(column: sa.Column[Any]) -> str:
    return f"{column.table.name}.{column.name}"


def test_every_column_that_names_a_patient_moves_with_them_or_is_known_to_stay():
    loose = {place(column) for column in patient_id_columns() if not column.foreign_keys}

    assert loose == READ_THROUGH_THE_MERGE


def test_no_constraint_forbids_two_patients_rows_to_come_together():
    """A unique constraint over a patient's id would make some merges impossible: such a table needs a rule."""
    unique: list[sa.Constraint | sa.Index] = []
    for column in patient_columns():
        unique += [
            rule
            for rule in (*column.table.constraints, *column.table.indexes)
            if column.name in rule.columns
            and (
                isinstance(rule, sa.UniqueConstraint | sa.PrimaryKeyConstraint)
                or getattr(rule, "unique", False)
            )
        ]

    assert unique == []


def test_rows_that_move_have_one_key_column():
    assert {len(column.table.primary_key) for column in patient_columns()} == {1}


# ── any table ───────────────────────────────────────────────────────────────

_numbers = itertools.count(1)
_VALUES: list[tuple[type[sa.types.TypeEngine[Any]], Any]] = [
    (sa.Boolean, False), (sa.Integer, 1), (sa.Date, date(2026, 11, 22)), (sa.LargeBinary, b"x"),
]  # fmt: skip


def make_row(work: Work, table: sa.Table, **given: Any) -> Any:
    """A row with something in every column that wants it, and the rows it refers to; its key."""
    values: dict[str, Any] = {}
    for column in table.columns:
        if column.name in given:
            values[column.name] = given[column.name]
        elif column.primary_key or not column.nullable:
            target = next((key.column.table for key in column.foreign_keys), None)
            values[column.name] = make_row(work, target) if target is not None else _value(column)
    work.execute(sa.insert(table).values(values))
    return values[next(iter(table.primary_key)).name]


def _value(column: sa.Column[Any]) -> Any:
    kind = column.type
    if isinstance(kind, sa.Enum):
        return next(iter(kind.enum_class)) if kind.enum_class else kind.enums[0]
    if isinstance(kind, sa.types.TypeDecorator):
        return datetime(2026, 11, 22, tzinfo=UTC) if isinstance(kind.impl_instance, sa.DateTime) else {}
    number = next(_numbers)
    if column.primary_key and isinstance(kind, sa.Integer):
        return number
    return next((value for known, value in _VALUES if isinstance(kind, known)), f"x{number}")


def columns_to_move() -> list[sa.Column[Any]]:
    return [column for column in patient_columns() if column.name != "merged_into_id"]


@pytest.mark.parametrize("column", columns_to_move(), ids=place)
def test_rows_of_every_table_move_and_are_listed_for_undo(work, column):
    gone, stays = make_patient(work), make_patient(work)
    moving = make_row(work, column.table, **{column.name: gone.id})
    staying = make_row(work, column.table, **{column.name: stays.id})
    merge_id = merge(work, stays.id, gone.id)

    key = next(iter(column.table.primary_key))
    owners = dict(work.execute(sa.select(key, column).where(key.in_([moving, staying]))).all())
    assert owners == {moving: stays.id, staying: stays.id}
    assert work.get(PatientMerge, merge_id).moved[place(column)] == [moving]


def test_merges_themselves_stay_as_they_were(work):
    first, second, third = (make_patient(work) for _ in range(3))
    merge(work, second.id, first.id)
    merge(work, third.id, second.id)

    rows = sorted(work.all(PatientMerge), key=lambda row: row.id)
    assert [(row.merged_id, row.survivor_id) for row in rows] == [
        (first.id, second.id), (second.id, third.id)]  # fmt: skip
    assert {"patient_merge", "identity_pair", "name_token"} == STAYS_BEHIND


# ── what a merge leaves ─────────────────────────────────────────────────────


def test_the_merged_archive_stays_as_a_tombstone_that_names_its_survivor(work):
    gone, stays = make_patient(work, name="张三"), make_patient(work, name="张叁")
    merge_id = merge(work, stays.id, gone.id)

    assert surviving_patient(work, gone.id).id == stays.id
    assert set(same_patient(work, stays.id)) == {gone.id, stays.id}
    assert (stays.name, stays.merged_into_id) == ("张叁", None)
    before = work.get(PatientMerge, merge_id).before
    assert {before[gone.id]["name"], before[stays.id]["name"]} == {"张三", "张叁"}


def test_a_chain_leads_to_its_end_in_one_step(work):
    first, second, third = (make_patient(work) for _ in range(3))
    merge(work, second.id, first.id)
    merge(work, third.id, second.id)

    assert {first.merged_into_id, second.merged_into_id} == {third.id}
    assert set(same_patient(work, third.id)) == {first.id, second.id, third.id}


def test_a_merge_into_itself_or_with_a_merged_archive_is_refused(work):
    first, second, third = (make_patient(work) for _ in range(3))
    merge(work, second.id, first.id)

    for survivor, merged in ((third, third), (first, second), (third, first), (first, third)):
        with pytest.raises(ConflictError):
            merge(work, survivor.id, merged.id)
    assert len(work.all(PatientMerge)) == 1


@pytest.mark.parametrize(
    ("survivor", "merged", "outcome"),
    [
        (DeceasedState.ALIVE, DeceasedState.ALIVE, DeceasedState.ALIVE),
        (DeceasedState.ALIVE, DeceasedState.DECEASED, DeceasedState.DISPUTED),
        (DeceasedState.DECEASED, DeceasedState.ALIVE, DeceasedState.DISPUTED),
        (DeceasedState.DECEASED, DeceasedState.DECEASED, DeceasedState.DECEASED),
        (DeceasedState.ALIVE, DeceasedState.DISPUTED, DeceasedState.DISPUTED),
    ],
)
def test_two_archives_that_disagree_about_a_death_are_disputed(work, survivor, merged, outcome):
    stays, gone = make_patient(work, deceased=survivor), make_patient(work, deceased=merged)
    merge(work, stays.id, gone.id)

    assert stays.deceased is outcome


def test_a_merge_is_audited_for_both_and_told_in_the_timeline(work):
    gone, stays = make_patient(work), make_patient(work)
    merge(work, stays.id, gone.id)

    (event,) = work.all(AuditEvent)
    assert event.action == "patient.merge"
    assert {row.subject_patient_id for row in work.all(AuditSubject)} == {gone.id, stays.id}
    (entry,) = work.all(TimelineEntry)
    assert (entry.patient_id, entry.kind) == (stays.id, "merge")


# ── by message ──────────────────────────────────────────────────────────────


def absorb(work: Work, *changes: Any) -> None:
    absorb_records(work, arrivals=[Arrival(seq, one) for seq, one in enumerate(changes, start=1)])
    work.flush()
    work.session.expire_all()


def phones(work: Work) -> set[str]:
    return {
        work.keys.open_text(row.value_sealed)
        for row in work.all(ContactPoint, ContactPoint.ended_at.is_(None))
    }


TWO = (
    change("A28", p=100, phone="13800000001", m="09:00"),
    change("A28", p=200, phone="13800000002", m="09:10"),
)
MERGE = change("A40", p=200, mrg=100, phone="", m="10:00")


def test_retired_numbers_find_the_survivor_and_keep_the_day_they_retired(work):
    absorb(work, *TWO, MERGE)

    rows = {row.value: row for row in work.all(PatientIdentifier)}
    assert rows["100"].patient_id == rows["200"].patient_id
    assert (rows["100"].retired_at is not None, rows["200"].retired_at) == (True, None)


def test_the_survivor_has_the_phones_of_both_until_they_are_told_anew(work):
    absorb(work, *TWO, MERGE)
    assert phones(work) == {"+8613800000001", "+8613800000002"}

    absorb(work, *TWO, MERGE, change("A08", p=200, phone="13800000003", m="11:00"))
    assert phones(work) == {"+8613800000003"}


def test_a_list_told_after_a_merge_that_came_late_stands_alone(work):
    absorb(work, *TWO, change("A08", p=200, phone="13800000003", m="11:00"), MERGE)

    assert phones(work) == {"+8613800000003"}


def test_a_chain_in_one_batch_leaves_nothing_behind(work):
    absorb(
        work, change("A01", p=100, v="V1", m="09:00"), *TWO[1:], change("A28", p=300, m="09:20"), MERGE,
        change("A40", p=300, mrg=200, m="10:10"),
    )  # fmt: skip

    (survivor,) = work.all(Patient, Patient.merged_into_id.is_(None))
    assert {row.patient_id for row in work.all(TimelineEntry)} == {survivor.id}
    assert {row.patient_id for row in work.all(PatientIdentifier)} == {survivor.id}
