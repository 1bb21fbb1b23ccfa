"""What a segment tells of a patient's visits to a reader of one department: those of that department."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from hcrm.archive.terms import EncounterClass
from hcrm.archive.visit_models import EncounterStatus
from hcrm.core.actor import Actor
from hcrm.core.work import Work
from hcrm.segments import catalogue
from hcrm.segments.catalogue import use_fields
from hcrm.segments.fields import segment_fields
from hcrm.segments.filters import SegmentFilter
from hcrm.segments.models import PatientProfile, Segment
from hcrm.segments.profile import refresh_profiles
from hcrm.segments.queries import count_patients, list_patients, sample_patients
from hcrm.segments.service import SegmentInput, create_segment
from hcrm.segments.visits_in_scope import rows_in_scope
from tests.support.builders import make_department, make_encounter, make_patient

COLUMNS = ("department", "seen", "discharged", "visits", "inpatient_visits", "payment")


@pytest.fixture(autouse=True)
def fields() -> Iterator[None]:
    before = catalogue._makers
    use_fields((segment_fields,))
    yield
    use_fields(before)


@pytest.fixture
def wards(work: Work) -> dict[str, str]:
    """甲 was in our ward, then in another, and is there now; 乙 was in ours in between, and cancelled elsewhere."""
    mine, other = make_department(work, name="骨科"), make_department(work, name="精神科")
    now = work.clock.now()
    one, two = make_patient(work, name="甲"), make_patient(work, name="乙")
    stays = [
        make_encounter(work, patient=patient, department=ward, discharged_at=now - timedelta(days=days))
        for patient, ward, days in ((one, mine, 50), (one, other, 10), (two, mine, 30))
    ]
    for stay, days in zip(stays, (60, 20, 40), strict=True):
        stay.admitted_at = now - timedelta(days=days)
    stays[1].payment_type = "07"
    in_house = make_encounter(work, patient=one, department=other)
    in_house.status = EncounterStatus.IN_PROGRESS
    cancelled = make_encounter(work, patient=two, department=other)
    cancelled.status = EncounterStatus.CANCELLED
    work.session.flush()
    refresh_profiles(work, [one.id, two.id])
    return {"mine": mine.id, "other": other.id, "one": one.id, "two": two.id}


def reader(ward: str | None) -> Actor:
    scope = frozenset({ward}) if ward else None
    return Actor(id="a", name="甲", permissions=frozenset({"segment.read"}), department_ids=scope)


def asked(field: str, operator: str, *values: str, match: str = "all") -> SegmentFilter:
    line = {"field": field, "operator": operator, "values": list(values)}
    return SegmentFilter.model_validate({"groups": [{"match": match, "lines": [line]}]})


def test_the_columns_tell_of_the_visits_in_scope(work: Work, wards: dict[str, str]):
    def cells() -> dict[str, tuple[str, ...]]:
        lines = sample_patients(work, SegmentFilter(), COLUMNS)
        assert lines is not None
        return {line.name: line.cells for line in lines}

    work.actor = reader(None)
    whole = cells()
    assert (whole["甲"][0], whole["甲"][3]) == ("精神科", "3")
    assert whole["乙"][0] == "骨科"  # nobody came to a visit that was cancelled
    work.actor = reader(wards["mine"])
    ours = cells()
    assert (ours["甲"][0], ours["甲"][3:]) == ("骨科", ("1", "1", "—"))
    assert ours["甲"][1:3] != whole["甲"][1:3]
    assert ours["乙"] == whole["乙"]


def test_the_order_is_that_of_the_visits_in_scope(work: Work, wards: dict[str, str]):
    """By hospital-wide visits 甲 would stand first, which tells that somebody else saw them since."""
    segment = create_segment(work, entered=SegmentInput(name="全部", filter=SegmentFilter()))
    segment.scope = "all"

    def names(sort: str) -> list[str]:
        found: list[str] = []
        key = None
        while True:
            row = work.get(Segment, segment.id)
            page = list_patients(work, row, columns=(), sort=sort, key=key, size=1)
            found += [line.name for line in page.items]
            key = page.next_key
            if key is None:
                return found

    work.actor = reader(None)
    assert (names("seen"), names("seen_first")) == (["甲", "乙"], ["乙", "甲"])
    assert names("visits") == ["甲", "乙"]
    work.actor = reader(wards["mine"])
    assert (names("seen"), names("seen_first")) == (["乙", "甲"], ["甲", "乙"])
    assert sorted(names("visits")) == sorted(names("created")) == ["乙", "甲"]


@pytest.mark.parametrize(
    ("question", "mine", "whole"),
    [
        (("patient.last_discharged", "within_days", "20"), 0, 1),
        (("patient.seen", "within_days", "20"), 0, 1),
        (("patient.last_visit", "known"), 2, 2),
        (("patient.first_visit", "known"), 2, 2),
        (("patient.in_house", "yes"), 0, 1),
        (("patient.visits", "at_least", "2"), 0, 1),
        (("patient.inpatient_visits", "at_least", "2"), 0, 1),
        (("patient.outpatient_visits", "at_least", "1"), 0, 0),
        (("patient.emergency_visits", "at_least", "1"), 0, 0),
        (("patient.diseases", "at_least", "1"), 0, 0),
        (("patient.missed_bookings", "at_least", "1"), 0, 0),
        (("patient.mainly_tcm", "yes"), 0, 0),
        (("patient.payment", "in", "07"), 0, 1),
        (("patient.life_stage", "in", "active"), 2, 2),
        (("patient.sex", "in", "male"), 2, 2),
    ],
)
def test_a_condition_about_the_patient_asks_the_visits_in_scope(
    work: Work, wards: dict[str, str], question: Any, mine: int, whole: int
):
    def counts() -> set[Any]:
        kinds = {count_patients(work, asked(*question, match=match)) for match in ("all", "any")}
        return kinds | {2 - (count_patients(work, asked(*question, match="none")) or 0)}

    work.actor = reader(None)
    assert counts() == {whole}
    work.actor = reader(wards["mine"])
    assert counts() == {mine}


def test_a_scope_that_holds_every_visit_says_what_the_flat_row_says(work: Work, wards: dict[str, str]):
    for number, kind in enumerate(EncounterClass):
        stay = make_encounter(work, department=None, patient=make_patient(work, name=f"丙{number}"))
        stay.encounter_class, stay.department_id = kind, wards["mine"]
    work.session.flush()
    ids = [row.patient_id for row in work.execute(sa.text("SELECT DISTINCT patient_id FROM encounter"))]
    refresh_profiles(work, ids)
    work.actor = Actor(
        id="a", name="甲", permissions=frozenset(), department_ids=frozenset({wards["mine"], wards["other"]})
    )
    rows = work.all(PatientProfile)
    names = [column.name for column in PatientProfile.__table__.columns if column.name != "recent_visits"]

    for row, seen in zip(rows, rows_in_scope(work, rows), strict=True):
        assert {name: getattr(seen, name) for name in names} == {name: getattr(row, name) for name in names}
