"""Pairs of archives: how they are found, what people decide of them, and that it stays decided."""

from datetime import date

import pytest
import sqlalchemy as sa

from hcrm.archive.identity import pairs
from hcrm.archive.identity.full_scan import scan_all
from hcrm.archive.identity.models import IdentityPair, IdentityScan, PairDecision, PairState
from hcrm.archive.identity.queries import count_pairs, list_pairs
from hcrm.archive.identity.scan import scan_changed
from hcrm.archive.links import tell_link
from hcrm.archive.models import (
    IdentifierKind,
    LinkKind,
    Patient,
    PatientIdentifier,
    PatientLink,
)
from hcrm.core import limits
from hcrm.core.errors import ConflictError, DeniedError, HcrmError
from hcrm.core.work import open_work
from tests.support.builders import (
    actor_of,
    centre_actor,
    make_department,
    make_practitioner,
)
from tests.support.pair_house import ACTOR, house

__all__ = ["house"]


def keys(pairs_found: list[IdentityPair]) -> set[frozenset[str]]:
    return {frozenset((pair.low_id, pair.high_id)) for pair in pairs_found}


def test_those_who_agree_are_found_and_everybody_else_is_left_alone(house):
    first, second = house.person(phone="1"), house.person(phone="2")
    misheard = house.person("王建果", phone="2")
    house.person("王芳", phone="2", birth_date=date(1990, 1, 1))  # a daughter with his phone
    house.person("李四", birth_date=date(1966, 3, 7))

    assert house.scan() == 5

    assert keys(house.pairs()) == {frozenset((first, second)), frozenset((second, misheard))}
    assert house.scan() == 0


def test_a_run_over_everything_finds_what_the_one_over_changes_finds(house):
    for phone, number in (("1", ""), ("2", "x"), ("2", "x"), ("3", "")):
        house.person(phone=phone, id_number=number)
    house.person("王五", phone="3", id_number="x")
    house.scan()
    found = keys(house.pairs())
    house.write(lambda work: work.execute(sa.delete(IdentityPair)))

    assert house.scan_all() == len(found) > 3
    assert keys(house.pairs()) == found
    assert house.scan_all() == 0  # a second one asks nothing anew


def test_a_full_run_that_was_killed_goes_on_where_it_was(house, monkeypatch):
    monkeypatch.setattr(limits, "PAIR_BATCH", 2)
    for _ in range(5):
        house.person()
    with pytest.raises(KeyboardInterrupt):
        scan_all(house.database, ACTOR, house.clock, progress=lambda done, *_: interrupt())
    told: list[int] = []

    scan_all(house.database, ACTOR, house.clock, progress=lambda done, *_: told.append(done))

    assert told == [4, 5]
    assert len(house.pairs()) == 10


def interrupt() -> None:
    raise KeyboardInterrupt


def test_a_phone_that_too_many_have_leads_nowhere_and_is_counted(house, monkeypatch):
    monkeypatch.setattr(limits, "PAIR_BLOCK", 3)
    births = [date(1950 + i, 1, 1) for i in range(5)]
    for born in births:
        house.person("王建国", phone="400", birth_date=born)
    house.person("王建国", phone="400", birth_date=None)

    house.scan()

    assert house.pairs() == []
    (scan,) = house.write(lambda work: work.all(IdentityScan))
    assert scan.shared == 1


def test_of_who_is_merged_deleted_or_a_test_nothing_is_asked(house):
    stays = house.person()
    gone = [house.person() for _ in range(3)]
    for key, values in zip(
        gone, ({"is_test": True}, {"is_nullified": True}, {"merged_into_id": stays}), strict=True
    ):
        house.touch(key, **values)

    house.scan()

    assert house.pairs() == []


def test_whom_the_his_links_are_asked_about_though_they_share_nothing(house):
    first, second = house.person(), house.person("李秀英", birth_date=None, sex="unknown")
    house.write(
        lambda work: tell_link(
            work, patient_id=first, other_id=second, kind=LinkKind.SAME_PERSON, source="his",
            as_of=work.clock.now(), seq=1,
        )
    )  # fmt: skip
    house.touch(second, name="")

    house.scan()

    assert keys(house.pairs()) == {frozenset((first, second))}


def test_a_change_that_is_still_being_written_is_waited_for(house):
    house.person()
    house.person()
    assert scan_changed(house.database, ACTOR, house.clock) == 0

    assert house.scan() == 2


def test_two_people_stay_two_until_the_evidence_changes(house):
    house.person()
    second = house.person()
    house.scan()
    house.decide(pairs.keep_apart, reason="堂兄弟，同名")

    house.touch(second)
    house.scan()
    assert house.pair().state is PairState.NOT_SAME

    house.touch(second, birth_date=date(1966, 3, 8))
    house.scan()  # weaker than before: nothing to ask
    house.touch(second, birth_date=date(1966, 3, 7), name="王建果")
    house.scan()
    assert house.pair().state is PairState.NOT_SAME  # the new evidence is not enough for a pair

    for patient in {house.pair().low_id, house.pair().high_id}:
        house.write(lambda work, patient=patient: work.add(
            PatientIdentifier(
                id=work.new_id(), patient_id=patient, kind=IdentifierKind.CITIZEN, authority="", type="NI",
                value_sealed=b"x", value_index="same", last4_index="", source="his", as_of=work.clock.now(), seq=2,
            )
        ))  # fmt: skip
        house.touch(patient)
    house.scan()
    assert house.pair().state is PairState.OPEN
    assert house.pair().note == "堂兄弟，同名"  # who asks again reads what was decided


def test_what_a_person_kept_apart_a_message_of_before_does_not_merge(house):
    house.person(), house.person()
    house.scan()
    house.decide(pairs.keep_apart)

    (link,) = house.write(lambda work: work.all(PatientLink))

    assert (link.kind, link.source) == (LinkKind.APART, "console")


def test_two_whom_the_his_has_parted_are_never_asked_about(house):
    first, second = house.person(), house.person()
    house.write(
        lambda work: tell_link(
            work,
            patient_id=first,
            other_id=second,
            kind=LinkKind.APART,
            source="his",
            as_of=work.clock.now(),
            seq=1,
        )
    )

    house.scan()

    assert house.pair().state is PairState.NOT_SAME


def test_what_was_corrected_is_no_longer_asked_about(house):
    house.person()
    second = house.person()
    house.scan()
    assert house.pair().state is PairState.OPEN

    house.touch(second, birth_date=date(1990, 5, 5))
    house.scan()

    assert house.pairs() == []


def test_a_merge_needs_a_reason_a_survivor_and_the_pair_as_it_was_shown(house):
    first, second = house.person(), house.person()
    house.scan()
    for values, code in (
        ({"survivor_id": first, "reason": " "}, "patient.reason"),
        ({"survivor_id": "x"}, "pair.survivor"),
        ({"survivor_id": first, "version": 99}, "pair.changed"),
    ):
        with pytest.raises(HcrmError) as refusal:
            house.decide(pairs.merge_pair, **values)
        assert refusal.value.code == code
    house.touch(second, is_vip=True)
    with pytest.raises(HcrmError, match="重要患者"):
        house.decide(pairs.merge_pair, survivor_id=first)

    house.decide(pairs.merge_pair, survivor_id=first, is_vip_checked=True)

    assert house.pair().state is PairState.MERGED
    merged = house.write(lambda work: work.get(Patient, second))
    assert merged.merged_into_id == first


def test_what_is_merged_is_neither_merged_again_nor_the_other_way_round(house):
    first, second = house.person(), house.person()
    house.scan()
    house.decide(pairs.merge_pair, survivor_id=first)

    with pytest.raises(ConflictError, match="反向合并"):
        house.decide(pairs.merge_pair, survivor_id=second)


def test_one_person_merges_no_more_than_so_many_in_an_hour(house, monkeypatch):
    monkeypatch.setattr(limits, "MERGES_BY_HAND_PER_HOUR", 1)
    for name, born in (("王建国", date(1966, 3, 7)), ("李秀英", date(1950, 1, 2))):
        house.person(name, birth_date=born), house.person(name, birth_date=born)
    house.scan()
    low, high = house.pairs()

    def merge(pair):
        with open_work(house.database, actor=centre_actor(), clock=house.clock) as work:
            pairs.merge_pair(
                work, pair_id=pair.id, version=pair.version, survivor_id=pair.low_id, reason="同一人"
            )

    merge(low)
    with pytest.raises(ConflictError, match="一小时内"):
        merge(high)
    house.clock.move(hours=1, seconds=1)
    merge(high)


def test_pairs_are_listed_by_their_evidence_and_counted_by_state(house):
    house.person(), house.person(id_number="x"), house.person(id_number="x", phone="1")
    house.scan()

    with open_work(house.database, actor=centre_actor(), clock=house.clock) as work:
        page = list_pairs(work, state=PairState.OPEN, size=2)
        rest = list_pairs(work, state=PairState.OPEN, size=2, key=page.next_key)
        assert count_pairs(work, state=PairState.OPEN) == 3
        assert count_pairs(work, state=PairState.OPEN, at_least=95) == 1
        assert count_pairs(work, state=PairState.MERGED) == 0
    assert [line.score for line in (*page.items, *rest.items)] == [140, 70, 70]


def test_a_pair_of_somebody_else_s_patients_is_as_if_there_were_none(house):
    house.person(), house.person()
    house.scan()
    pair = house.pair()
    stranger = house.write(lambda work: actor_of(make_practitioner(work), make_department(work)))

    with pytest.raises(DeniedError), open_work(house.database, actor=stranger, clock=house.clock) as work:
        pairs.keep_apart(work, pair_id=pair.id, version=pair.version, reason="x")
    with open_work(house.database, actor=stranger, clock=house.clock) as work:
        assert list_pairs(work, state=PairState.OPEN).items == []


def test_people_may_put_two_side_by_side_that_no_rule_finds(house):
    first, second = house.person("张三"), house.person("李四", birth_date=date(1990, 1, 1))
    with open_work(house.database, actor=centre_actor(), clock=house.clock) as work:
        pair_id = pairs.propose_pair(work, patient_id=first, other_id=second)
        assert pairs.propose_pair(work, patient_id=second, other_id=first) == pair_id
        with pytest.raises(HcrmError, match="同一份"):
            pairs.propose_pair(work, patient_id=first, other_id=first)
    house.touch(second)
    house.scan()

    assert house.pair().state is PairState.OPEN  # a person's word is not taken back by the rule
    (said,) = house.write(lambda work: work.all(PairDecision))
    assert said.actor_name == centre_actor().name


def test_a_new_version_of_the_rule_is_applied_to_everybody_by_a_full_run(house):
    house.person(), house.person("王建果", sex="unknown")
    house.scan()
    assert house.pairs() == []

    house.publish(2, "pinyin: {same: 20}", "pinyin: {same: 30}")
    house.scan_all()

    assert house.pair().rule_version == 2
