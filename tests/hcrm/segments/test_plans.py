"""How both databases count a segment and read a page of it: by an index that holds all it needs. Pinned, not timed."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from hcrm.core import limits
from hcrm.core.work import Work
from hcrm.segments.filters import SegmentFilter
from hcrm.segments.models import Segment
from hcrm.segments.profile import refresh_profiles
from hcrm.segments.queries import count_patients, list_patients
from tests.support.builders import make_department, make_encounter, make_patient

DIAGNOSIS = ("stay.main_diagnosis", "starts_with", ["J18"])
LATELY = ("stay.discharged", "within_days", ["365"])
IN_BED = ("stay.class", "in", ["inpatient"])
OLD = ("patient.age", "at_least", ["65"])


def wanted(*lines: tuple[str, str, list[str]], match: str = "all") -> dict[str, Any]:
    asked = [{"field": field, "operator": operator, "values": values} for field, operator, values in lines]
    return {"groups": [{"match": match, "lines": asked}]}


def plans(work: Work, act: Callable[[], object]) -> list[str]:
    """The plan of every statement that reads the flat rows meanwhile."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "_profile" in statement and not statement.startswith("EXPLAIN"):
            seen.append((statement, parameters))

    connection = work.session.connection()
    sa.event.listen(connection, "before_cursor_execute", note)
    try:
        act()
    finally:
        sa.event.remove(connection, "before_cursor_execute", note)
    is_sqlite = connection.dialect.name == "sqlite"
    if not is_sqlite:  # the tables of a test are small: a scan would be right, and say nothing
        for name in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"):
            connection.exec_driver_sql(f"SET LOCAL enable_{name} = off")
    explain = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
    return [
        "\n".join(str(row[-1]) for row in connection.exec_driver_sql(explain + statement, parameters))
        for statement, parameters in seen
    ]


@pytest.fixture
def house(work: Work) -> str:
    ward = make_department(work, name="呼吸内科")
    stay = make_encounter(work, patient=make_patient(work), department=ward, diagnoses=["J18.9"])
    refresh_profiles(work, [stay.patient_id])
    return ward.id


def test_a_count_about_stays_reads_one_index_and_no_row_of_a_table(work: Work, house: str):
    there = ("stay.department", "in", [house])
    is_sqlite = work.session.get_bind().dialect.name == "sqlite"
    for lines in (
        [DIAGNOSIS, there, LATELY],
        [DIAGNOSIS, LATELY, IN_BED],
        [there, LATELY, IN_BED],
        [DIAGNOSIS],
    ):
        (plan,) = plans(work, lambda: count_patients(work, SegmentFilter.model_validate(wanted(*lines))))  # noqa: B023

        assert "ix_stay_profile_" in plan
        if is_sqlite:
            stays = [line for line in plan.splitlines() if "stay_profile" in line]
            assert all(line.startswith("SEARCH stay_profile USING COVERING INDEX") for line in stays), plan
            assert "SCAN patient_profile" not in plan
        else:
            assert "Index Only Scan" in plan


def test_a_count_about_the_patient_reads_an_index_only(work: Work, house: str):
    (plan,) = plans(work, lambda: count_patients(work, SegmentFilter.model_validate(wanted(OLD))))

    assert "ix_patient_profile_" in plan
    if work.session.get_bind().dialect.name == "sqlite":
        assert "COVERING INDEX" in plan


@pytest.mark.parametrize("sort", ["seen", "seen_first", "created", "visits"])
def test_a_page_is_walked_to_along_the_index_of_its_order(work: Work, house: str, sort: str):
    there = ("stay.department", "in", [house])  # an index would lead to it, and past the patient at hand
    segment = Segment(id="s", filter=wanted(DIAGNOSIS, there, LATELY, OLD))

    read = plans(work, lambda: list_patients(work, segment, columns=[], sort=sort, key=None, size=50))

    index = {"created": "ix_patient_profile_created", "visits": "ix_patient_profile_visits"}.get(
        sort, "ix_patient_profile_seen"
    )
    walked = read[1]
    if work.session.get_bind().dialect.name != "sqlite":  # it knows from its statistics which way is shorter
        assert "Seq Scan" not in walked, walked
        return
    assert index in walked, walked
    assert "stay_profile USING INDEX ix_stay_profile_patient" in walked
    assert "TEMP B-TREE FOR ORDER BY" not in walked


def test_where_few_fit_the_page_comes_from_their_set(work: Work, house: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "SEGMENT_WALK", 0)  # nobody by the way
    segment = Segment(id="s", filter=wanted(DIAGNOSIS, match="any"))
    found: list[Any] = []

    read = plans(
        work,
        lambda: found.append(list_patients(work, segment, columns=[], sort="seen", key=None, size=50)),
    )

    assert len(found[0].items) == 1
    assert "ix_stay_profile_diagnosis" in read[2]
    if work.session.get_bind().dialect.name == "sqlite":
        assert "sqlite_autoindex_patient_profile_1 (id=?)" in read[2]
