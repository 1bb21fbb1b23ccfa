"""A wrong merge is undone: whatever two archives held and whatever came, both are as before plus what came."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcrm.archive.arrivals import Arrival
from hcrm.archive.identity.service import part_merged
from hcrm.archive.merge.service import merge_patients
from hcrm.archive.models import Address, ContactPoint, DeceasedState, Patient, PatientIdentifier
from hcrm.archive.service import absorb_records
from hcrm.archive.terms import BY_PEOPLE
from hcrm.archive.visit_models import Encounter
from hcrm.contact_log.models import Channel, ContactEntry, ContactResult
from hcrm.contact_log.service import record_contact
from hcrm.core.work import Work
from tests.support.adt import ABSENT
from tests.support.changes import change

NUMBERS = (100, 200, 300)
message = st.fixed_dictionaries(
    {
        "p": st.sampled_from(NUMBERS),
        "event": st.sampled_from(["A01", "A08", "A31"]),
        "phone": st.sampled_from(["13800000001", "13800000002", ABSENT]),
        "name": st.sampled_from(["张^三", "张^四"]),
        "minute": st.integers(0, 59),  # messages may come late
    }
)


def tell(work: Work, told: dict[str, Any], seq: int) -> None:
    """One message under a number, with a visit of its own where it tells of one."""
    fields = {"p": told["p"], "phone": told["phone"], "name": told["name"], "m": f"10:{told['minute']:02}"}
    if told["event"] != "A31":
        fields["v"] = f"V{told['p']}-{told['minute']}"
    absorb_records(work, arrivals=[Arrival(seq, change(told["event"], **fields))])
    work.flush()
    work.session.expire_all()


def tell_of(work: Work, seq: int, number: int, **fields: str) -> None:
    """One update of the stay everybody has."""
    update = change("A08", p=number, v=f"V{number}-30", phone=f"139000{number}", m="11:00", **fields)
    absorb_records(work, arrivals=[Arrival(seq, update)])
    work.clock.move(seconds=1)  # what a list ended before a merge is no longer of it
    work.flush()
    work.session.expire_all()


def everybody(numbers: Sequence[int]) -> list[dict[str, Any]]:
    return [{"p": p, "event": "A01", "phone": f"139000{p}", "name": "张^三", "minute": 30} for p in numbers]


def portrait(work: Work, patient_id: str) -> dict[str, Any]:
    """What an archive says of its person, without the keys and the times of writing."""
    patient = work.one(Patient, Patient.id == patient_id)
    phones = work.all(ContactPoint, ContactPoint.patient_id == patient_id, ContactPoint.ended_at.is_(None))
    numbers = work.all(PatientIdentifier, PatientIdentifier.patient_id == patient_id)
    return {
        "name": patient.name, "sex": patient.sex, "deceased": patient.deceased, "vip": patient.is_vip,
        "merged": patient.merged_into_id, "told": patient.provenance,
        "phones": sorted(row.value_index for row in phones),
        "numbers": sorted((row.value, row.retired_at, row.ended_at) for row in numbers),
        "addresses": len(work.all(Address, Address.patient_id == patient_id)),
    }  # fmt: skip


def owner(work: Work, number: int) -> str | None:
    found = work.scalar(sa.select(PatientIdentifier.patient_id).where(PatientIdentifier.value == str(number)))
    return None if found is None else str(found)


@contextmanager
def taken_back(work: Work) -> Iterator[None]:
    """Each example starts with an empty archive."""
    savepoint = work.session.begin_nested()
    try:
        yield
    finally:
        savepoint.rollback()
        work.session.expire_all()
        work.events.clear()


@pytest.mark.parametrize("first", [0, 1])
def test_two_merges_into_one_archive_are_undone_in_either_order(work, first):
    """Each with a death and an importance of its own: what one wrote goes with it, what the other says stays."""
    for seq, told in enumerate(everybody(NUMBERS), start=1):
        tell(work, told, seq)
    tell_of(work, 9, 300, PID_30="Y")
    tell_of(work, 10, 200, PV1_16="Y")
    ids = [owner(work, number) for number in NUMBERS]
    was = [portrait(work, key) for key in ids]
    assert [was[0]["vip"], was[1]["vip"], was[2]["deceased"]] == [False, True, DeceasedState.DECEASED]
    merges = [join(work, ids[0], ids[1]), join(work, ids[0], ids[2])]
    united = portrait(work, ids[0])
    assert (united["vip"], united["deceased"]) == (True, DeceasedState.DISPUTED)

    part(work, merges[first])

    left = portrait(work, ids[0])
    assert (left["vip"], left["deceased"]) == ((False, "disputed"), (True, "alive"))[first]
    assert portrait(work, ids[1 + first]) == was[1 + first]
    part(work, merges[1 - first])
    assert [portrait(work, key) for key in ids] == was


def test_of_two_important_patients_one_is_enough(work):
    for seq, told in enumerate(everybody(NUMBERS), start=1):
        tell(work, told, seq)
    tell_of(work, 9, 200, PV1_16="Y")
    tell_of(work, 10, 300, PV1_16="Y")
    ids = [owner(work, number) for number in NUMBERS]
    was = [portrait(work, key) for key in ids]
    merges = [join(work, ids[0], ids[1]), join(work, ids[0], ids[2])]

    part(work, merges[0])
    assert portrait(work, ids[0])["vip"]
    part(work, merges[1])
    assert [portrait(work, key) for key in ids] == was


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(message, max_size=4), st.lists(message, max_size=5), st.integers(0, 2), st.booleans())
def test_undone_later_everything_that_came_is_one_s_or_the_other_s(work, before, since, calls, is_given):
    with taken_back(work):
        for seq, told in enumerate([*everybody(NUMBERS), *before], start=1):
            tell(work, told, seq)
        stays = {row.visit_no: row.patient_id for row in work.all(Encounter)}
        one, other, third = (owner(work, number) for number in NUMBERS)
        merge_id = join(work, one, other)
        for seq, told in enumerate(since, start=100):
            tell(work, told, seq)
        new = {row.visit_no for row in work.all(Encounter)} - stays.keys()
        entries = [
            record_contact(work, patient_id=one, channel=Channel.PHONE, result=ContactResult.REACHED)
            for _ in range(calls)
        ]
        part(work, merge_id, {"contact_entry": entries} if is_given else {})

        for key, number in ((one, "100"), (other, "200"), (third, "300")):
            patient = portrait(work, key)
            assert patient["merged"] is None
            assert (number, None, None) in patient["numbers"]
        # Each visit is whose number it was told under, before, meanwhile and after.
        owners = {row.visit_no: row.patient_id for row in work.all(Encounter)}
        assert stays.items() <= owners.items()
        assert {no: owners[no] for no in new} == {
            no: {"100": one, "200": other, "300": third}[no[1:4]] for no in new
        }
        logged = {row.id: row.patient_id for row in work.all(ContactEntry)}
        assert logged == dict.fromkeys(entries, other if is_given else one)


def join(work: Work, survivor: str, merged: str) -> str:
    merge_id = merge_patients(work, survivor_id=survivor, merged_id=merged, source=BY_PEOPLE, seq=None)
    work.clock.move(seconds=1)
    work.flush()
    work.session.expire_all()
    return merge_id


def part(work: Work, merge_id: str, chosen: dict[str, list[str]] | None = None) -> None:
    part_merged(work, merge_id=merge_id, reason="不是同一人", chosen=chosen or {})
    work.flush()
    work.session.expire_all()
