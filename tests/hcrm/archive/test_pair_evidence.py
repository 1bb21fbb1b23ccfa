"""What makes a pair, and what does not: numbers of every kind, numbers many share, newborns, and a new rule."""

from datetime import date

import pytest

from hcrm.archive.identity import pairs
from hcrm.archive.identity.full_scan import scan_all
from hcrm.archive.identity.matching_rule import MatchField, Outcome, read_evidence
from hcrm.archive.identity.models import PairState
from hcrm.archive.models import IdentifierKind
from hcrm.core import limits
from tests.support.pair_house import ACTOR, house

__all__ = ["house"]


@pytest.mark.parametrize("kind", [IdentifierKind.CITIZEN, IdentifierKind.OTHER])
def test_a_number_of_any_kind_that_names_a_person_leads_to_the_other_archive(house, kind):
    """A passport as an ID card; a name without a birth date would not lead there."""
    for _ in range(2):
        house.person(id_number="E12345678", id_kind=kind, birth_date=None)

    house.scan()

    assert outcomes(house)[MatchField.ID_NUMBER] is Outcome.SAME


def test_an_id_number_that_too_many_have_makes_no_pair_of_any_two(house, monkeypatch):
    """000000000000000000, typed for everybody without a card."""
    monkeypatch.setattr(limits, "PAIR_BLOCK", 3)
    for _ in range(3):
        house.person(id_number="0", birth_date=None)
    house.scan()
    assert len(house.pairs()) == 3

    for _ in range(3):
        house.person(id_number="1", birth_date=None)
    house.person(id_number="1", birth_date=None), house.person(id_number="1", birth_date=None)
    house.scan()
    assert len(house.pairs()) == 3


def test_what_newborns_are_called_until_they_have_a_name_speaks_for_nobody(house):
    """Two of one family, a day apart by a slip, with the mother's phone: the word 之子 is no name they share."""
    for day in (20, 21):
        house.person("张三之子", phone="1", birth_date=date(2026, 11, day))
    house.scan()
    assert house.pairs() == []

    house.person("张小宝", phone="1", birth_date=date(2026, 11, 20), id_number="x")
    house.person("张三之子", phone="1", birth_date=date(2026, 11, 20), id_number="x")
    house.scan()
    found = outcomes(house)
    assert (found[MatchField.NAME], found[MatchField.PINYIN]) == (Outcome.UNKNOWN, Outcome.UNKNOWN)


def test_two_said_to_be_two_are_not_asked_about_again_because_the_rule_weighs_more(house):
    house.person(), house.person()
    house.scan()
    house.decide(pairs.keep_apart)
    score = house.pair().score

    house.publish(2, "name: {same: 35", "name: {same: 45")

    assert house.scan_all() == 0
    pair = house.pair()
    assert (pair.state, pair.score, pair.rule_version) == (PairState.NOT_SAME, score + 10, 2)


def test_what_waits_for_data_is_not_asked_about_again_for_that_either(house):
    house.person(), house.person()
    house.scan()
    house.decide(pairs.ask_for_data, reason="缺证件")

    house.publish(2, "name: {same: 35", "name: {same: 45")
    house.scan_all()

    assert house.pair().state is PairState.NEEDS_DATA


def test_a_full_run_that_was_broken_off_begins_anew_under_a_new_rule(house, monkeypatch):
    """Else those it had passed would never be compared by the new one."""
    monkeypatch.setattr(limits, "PAIR_BATCH", 2)
    house.person(), house.person("王建果", sex="unknown")
    for number in range(3):
        house.person("李秀英", birth_date=date(1950, 1, 1 + number))
    with pytest.raises(KeyboardInterrupt):
        scan_all(house.database, ACTOR, house.clock, progress=interrupt)
    assert house.pairs() == []

    house.publish(2, "pinyin: {same: 20}", "pinyin: {same: 30}")
    told: list[int] = []
    scan_all(house.database, ACTOR, house.clock, progress=lambda done, *_: told.append(done))

    assert told == [2, 4, 5]
    assert house.pair().rule_version == 2


def interrupt(*_: int) -> None:
    raise KeyboardInterrupt


def outcomes(house) -> dict[MatchField, Outcome]:
    return {line.field: line.outcome for line in read_evidence(house.pair().evidence)}
