"""Name, sex and birth date entered while two archives were one: a person says whose they are (B41)."""

from datetime import date

import pytest

from hcrm.archive.arrivals import Arrival
from hcrm.archive.base_data import BaseData, edit_base
from hcrm.archive.identity.service import part_merged, sort_left
from hcrm.archive.merge.service import merge_patients
from hcrm.archive.models import Patient, PatientIdentifier, PatientMerge, Sex
from hcrm.archive.parting.service import undo_merge
from hcrm.archive.parting.since_merge import came_meanwhile
from hcrm.archive.register import Entry, register_patient
from hcrm.archive.search.patients import search_patients
from hcrm.archive.service import absorb_records
from hcrm.archive.terms import BY_PEOPLE
from hcrm.core.work import Work
from tests.support.builders import publish_matching
from tests.support.changes import change

BORN = date(1966, 3, 7)


@pytest.fixture
def two(work: Work) -> tuple[str, str]:
    """Two archives made by hand."""
    publish_matching(work)
    found = tuple(
        register_patient(work, entry=Entry(name=name, sex=Sex.FEMALE, birth_date=BORN), reason="另一个人")
        for name in ("张三", "王五")
    )
    settle(work)
    return found


def settle(work: Work) -> None:
    work.clock.move(seconds=1)
    work.flush()
    work.session.expire_all()


def join(work: Work, survivor: str, merged: str, source: str = BY_PEOPLE) -> str:
    merge_id = merge_patients(work, survivor_id=survivor, merged_id=merged, source=source, seq=None)
    settle(work)
    return merge_id


def correct(work: Work, patient_id: str, name: str, born: date | None = BORN) -> None:
    row = patient(work, patient_id)
    seen = BaseData(row.name, row.sex, row.birth_date)
    edit_base(work, patient_id=patient_id, seen=seen, wanted=BaseData(name, row.sex, born))
    settle(work)


def patient(work: Work, patient_id: str) -> Patient:
    return work.one(Patient, Patient.id == patient_id)


def listed(work: Work, merge_id: str) -> list[tuple[str, str]]:
    return [(row.name, row.words) for row in came_meanwhile(work, work.get(PatientMerge, merge_id))]


def test_what_was_corrected_meanwhile_is_listed_and_stays_unless_a_person_gives_it_away(work: Work, two):
    merge_id = join(work, *two)
    correct(work, two[0], "李四")
    assert listed(work, merge_id) == [("patient.name", "姓名更正为李四（原为张三）")]

    part_merged(work, merge_id=merge_id, reason="不是同一人", chosen={})
    settle(work)

    assert [patient(work, key).name for key in two] == ["李四", "王五"]


def test_given_to_the_other_the_survivor_is_called_as_before_and_each_is_found_by_their_name(work: Work, two):
    was = patient(work, two[0]).provenance
    merge_id = join(work, *two)
    correct(work, two[0], "李四", date(1970, 1, 1))

    chosen = {"patient": ["name", "birth_date"]}
    part_merged(work, merge_id=merge_id, reason="不是同一人", chosen=chosen)
    settle(work)

    one, other = (patient(work, key) for key in two)
    assert [(one.name, one.birth_date), (other.name, other.birth_date)] == [
        ("张三", BORN), ("李四", date(1970, 1, 1)),
    ]  # fmt: skip
    assert one.provenance == was
    assert other.provenance["name"][1] == BY_PEOPLE
    assert (one.name_initials, other.name_initials) == ("zs", "ls")
    assert {row.id for row in search_patients(work, "李四").items} >= {other.id}
    assert {row.id for row in search_patients(work, "张三").items} == {one.id}


def test_parted_by_a_message_it_waits_for_a_person_and_can_be_given_then(work: Work, two):
    merge_id = join(work, *two)
    correct(work, two[0], "李四")
    assert undo_merge(work, merge_id=merge_id, source="his") is None
    settle(work)
    assert work.get(PatientMerge, merge_id).left == {"patient": ["name"]}
    assert listed(work, merge_id) == [("patient.name", "姓名更正为李四（原为张三）")]

    sort_left(work, merge_id=merge_id, chosen={"patient": ["name"]})
    settle(work)

    assert [patient(work, key).name for key in two] == ["张三", "李四"]
    assert listed(work, merge_id) == []


def test_what_a_message_tells_of_the_other_is_corrected_at_its_source(work: Work, two):
    absorb_records(work, arrivals=[Arrival(1, change("A28", p=300, name="王^五", m="10:00"))])
    settle(work)
    told = work.one(PatientIdentifier, PatientIdentifier.value == "300").patient_id
    merge_id = join(work, two[0], told)
    correct(work, two[0], "李四")
    (row,) = came_meanwhile(work, work.get(PatientMerge, merge_id))
    assert "HIS" in row.is_fixed

    part_merged(work, merge_id=merge_id, reason="不是同一人", chosen={"patient": ["name"]})
    settle(work)

    assert [patient(work, key).name for key in (two[0], told)] == ["李四", "王五"]


def test_what_was_corrected_before_the_merge_is_not_of_it(work: Work, two):
    correct(work, two[0], "李四")
    merge_id = join(work, *two)

    assert listed(work, merge_id) == []
