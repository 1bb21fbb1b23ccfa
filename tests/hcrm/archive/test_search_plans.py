"""How both databases read a list of patients: along an index in its order, or from a small set. Pinned, not timed."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from hcrm.archive.models import Patient
from hcrm.archive.names.models import NameToken
from hcrm.archive.names.tokens import token_rows
from hcrm.archive.search.filters import PatientFilters
from hcrm.archive.search.patients import search_patients
from hcrm.archive.visit_models import Encounter
from hcrm.centre.models import Classification
from hcrm.core.actor import Actor
from hcrm.core.work import Work
from hcrm.desk.search import PatientSearch, patient_filters
from tests.support.builders import make_department, make_encounter, make_patient, make_practitioner

PATIENTS = 3_000
GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰涛明超"


def copies(row, **changes):
    return {column.name: getattr(row, column.key) for column in row.__table__.columns} | changes


@pytest.fixture
def house(work):
    """Some thousand patients with a stay each, in ten departments; one physician has three of them."""
    departments = [make_department(work, name=f"科室{number}") for number in range(10)]
    physician = make_practitioner(work, department=departments[0])
    first = make_patient(work, name="甲")
    stay = make_encounter(work, patient=first, department=departments[1], diagnoses=())
    work.session.flush()
    names = ["张王李赵"[n % 4] + GIVEN[n % 16] + GIVEN[n // 16 % 16] for n in range(PATIENTS)]
    keys = [work.new_id() for _ in names]
    start = work.clock.now() - timedelta(days=30)
    work.insert(
        Patient,
        [
            copies(first, id=key, name=name, updated_at=start + timedelta(minutes=n))
            for n, (key, name) in enumerate(zip(keys, names, strict=True))
        ],
    )
    work.insert(
        NameToken, [row for key, name in zip(keys, names, strict=True) for row in token_rows(key, name)]
    )
    work.insert(
        Encounter,
        [
            copies(
                stay, id=work.new_id(), patient_id=key, visit_no=f"P{n}", department_id=departments[n % 10].id,
                attending_id=physician.id if n % 1000 == 0 else None,
            )
            for n, key in enumerate(keys)
        ],
    )  # fmt: skip
    gather_statistics(work)
    return departments, physician


def gather_statistics(work):
    if work.session.bind.dialect.name == "postgresql":
        work.execute(sa.text("ANALYZE"))


def plans(work, **asked):
    """The plan of every statement that reads a page of a list."""
    seen = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        if "_key_0" in statement:
            seen.append((statement, parameters))

    connection = work.session.connection()
    sa.event.listen(connection, "before_cursor_execute", note)
    page = search_patients(work, size=20, **asked)
    sa.event.remove(connection, "before_cursor_execute", note)
    is_sqlite = connection.dialect.name == "sqlite"
    if not is_sqlite:  # a small table is read whole, however good its indexes are
        for name in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"):
            connection.exec_driver_sql(f"SET LOCAL enable_{name} = off")
    explain = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
    rows = [row for one in seen for row in connection.exec_driver_sql(explain + one[0], one[1])]
    assert rows
    return page, "\n".join(str(row[3] if is_sqlite else row[0]) for row in rows)


def is_sorted_aside(plan):
    return "TEMP B-TREE" in plan or "Sort" in plan


@pytest.mark.parametrize(
    ("words", "count"), [("张", 20), ("张伟", 20), ("伟", 20), ("zhang", 20), ("z", 20), ("zww", 3)]
)
def test_names_are_walked_in_the_order_of_the_list(work, house, words, count):
    page, plan = plans(work, q=words)

    assert len(page.items) >= count
    assert "name_token" in plan
    assert not is_sorted_aside(plan)
    assert "SCAN patient" not in plan
    assert "Seq Scan on patient" not in plan


def test_everybody_is_walked_by_the_latest_change(work, house):
    page, plan = plans(work)

    assert len(page.items) == 20
    assert "ix_patient_updated" in plan
    assert not is_sorted_aside(plan)


def test_the_dead_are_walked_by_the_latest_change_among_themselves(work, house, monkeypatch):
    monkeypatch.setattr("hcrm.core.limits.SEARCH_SMALL", 100)
    every_tenth = Patient.updated_at.in_(
        [work.clock.now() - timedelta(days=30) + timedelta(minutes=n) for n in range(0, PATIENTS, 10)]
    )
    work.execute(sa.update(Patient).where(every_tenth).values(deceased="deceased"))
    gather_statistics(work)
    page, plan = plans(work, filters=PatientFilters(is_deceased=True))

    assert len(page.items) == 20
    assert {line.deceased for line in page.items} == {"deceased"}
    assert "ix_patient_deceased_updated" in plan
    assert not is_sorted_aside(plan)


def test_a_large_department_is_walked_by_its_newest_stays_and_nothing_but_indexes_is_read(
    work, house, monkeypatch
):
    monkeypatch.setattr("hcrm.core.limits.SEARCH_SMALL", 100)
    monkeypatch.setattr("hcrm.core.limits.SEARCH_LARGE", 100)
    departments, _ = house
    page, plan = plans(work, filters=PatientFilters(department_id=departments[3].id))

    assert len(page.items) == 20
    if (
        work.session.bind.dialect.name == "sqlite"
    ):  # PostgreSQL has statistics, and may sort the three hundred
        assert not is_sorted_aside(plan)
        assert "COVERING INDEX ix_encounter_department (" in plan
        assert "COVERING INDEX ix_encounter_patient (" in plan


def test_a_small_set_of_stays_is_read_from_its_index_alone(work, house):
    departments, _ = house
    page, plan = plans(work, filters=PatientFilters(department_id=departments[3].id))

    assert len(page.items) == 20
    if work.session.bind.dialect.name == "sqlite":
        assert "COVERING INDEX ix_encounter_department" in plan
        assert "patient USING" not in plan  # who they are is asked for the page only


def test_a_class_within_a_department_is_walked_by_its_newest_stays(work, house, monkeypatch):
    departments, _ = house
    work.insert(
        Classification,
        [
            {"id": work.new_id(), "encounter_id": stay.id, "department_id": stay.department_id,
             "axis": "disease_group", "code": f"g{n % 3}", "label": "组", "rank": 0, "rule_code": "t",
             "rule_version": 1, "classified_at": work.clock.now()}
            for n, stay in enumerate(work.all(Encounter))
        ],
    )  # fmt: skip
    gather_statistics(work)
    monkeypatch.setattr("hcrm.core.limits.SEARCH_SMALL", 20)
    asked = PatientSearch(department=departments[3].id, disease="g1")
    page, plan = plans(work, filters=patient_filters(work, asked))

    assert len(page.items) == 20
    assert "ix_classification_department" in plan
    if work.session.bind.dialect.name == "sqlite":
        assert not is_sorted_aside(plan)


def test_a_name_in_a_large_department_is_walked_and_each_patient_asked(work, house, monkeypatch):
    monkeypatch.setattr("hcrm.core.limits.SEARCH_LARGE", 100)
    departments, _ = house
    page, plan = plans(work, q="张", filters=PatientFilters(department_id=departments[4].id))

    assert len(page.items) == 20
    if (
        work.session.bind.dialect.name == "sqlite"
    ):  # PostgreSQL has statistics, and may sort the three hundred
        assert not is_sorted_aside(plan)
        assert "ix_encounter_patient" in plan


def test_a_name_is_looked_for_in_the_shorter_set_of_stays(work, house):
    departments, _ = house
    for words in ("张", "zhang"):
        page, plan = plans(work, q=words, filters=PatientFilters(department_id=departments[4].id))
        assert len(page.items) == 20
        if work.session.bind.dialect.name == "sqlite":
            assert "COVERING INDEX ix_encounter_department" in plan


def test_everybody_of_a_large_department_is_walked_by_the_latest_change(work, house, monkeypatch):
    monkeypatch.setattr("hcrm.core.limits.SEARCH_SMALL", 100)
    departments, _ = house
    actor = Actor(
        id="a",
        name="李大夫",
        permissions=frozenset("*"),
        roles=(),
        department_ids=frozenset({departments[3].id}),
    )
    page, plan = plans(Work(work.session, actor=actor, clock=work.clock, keys=work.keys))

    assert len(page.items) == 20
    assert "ix_patient_updated" in plan
    assert "hashed" not in plan  # PostgreSQL would read the whole department for one page


def test_somebody_with_few_patients_is_read_from_these(work, house):
    _, physician = house
    work.flush()
    actor = Actor(
        id="a", name="李大夫", permissions=frozenset("*"), roles=(), department_ids=frozenset(),
        practitioner_id=physician.id,
    )  # fmt: skip
    own = Work(work.session, actor=actor, clock=work.clock, keys=work.keys)
    for words in ("", "张", "zh"):
        page, plan = plans(own, q=words)
        assert len(page.items) == 3
        assert "ix_encounter_attending" in plan
