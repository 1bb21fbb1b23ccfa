"""The weighted rule for people: what it is never fooled by, and what a file of it may not say."""

from datetime import date

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hcrm.archive.identity.matching_rule import Guard, MatchingRule, Outcome, Profile, weigh
from hcrm.archive.terms import Sex
from hcrm.core.definition_file import parse_definition
from hcrm.core.errors import HcrmError
from hcrm.core.paths import config_path

TEXT = config_path("matching.yaml").read_text(encoding="utf-8")
RULE = parse_definition(MatchingRule, TEXT, "matching.yaml")
BORN = date(1966, 3, 7)
WANG = Profile(
    "a", "王建国", "wangjianguo", BORN, Sex.MALE, phones=frozenset({"p"}), regions=frozenset({"330106"})
)
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "birth_date": st.one_of(st.none(), st.dates(date(1930, 1, 1), date(2026, 1, 1))),
    "sex": st.sampled_from(Sex),
    "regions": st.frozensets(st.sampled_from(["330106", "330105"])),
    "mothers": st.frozensets(st.sampled_from(["m", "n"])),
}
given_names = st.text(alphabet="建国民伟芳娜秀英敏静", min_size=1, max_size=2)


def like(one: Profile, **changes: object) -> Profile:
    return Profile(**{name: getattr(one, name) for name in Profile.__slots__} | {"patient_id": "b"} | changes)


@given(given_names, given_names, st.fixed_dictionaries(FIELDS), st.fixed_dictionaries(FIELDS))
def test_a_family_that_shares_phone_surname_and_all_else_is_never_proposed(first, second, one, other):
    """Whatever the rest is: with another given name, and no ID number, it takes more than a phone."""
    if first == second:
        return
    phones = frozenset({"p"})
    left = Profile("a", "王" + first, "wang" + first, phones=phones, **one)
    right = Profile("b", "王" + second, "wang" + second, phones=phones, **other)

    assert weigh(RULE, left, right).score < RULE.possible


@given(st.fixed_dictionaries(FIELDS))
def test_a_phone_alone_is_never_enough(values):
    nobody = Profile("a", phones=frozenset({"p"}), **(values | {"birth_date": None}))

    assert weigh(RULE, nobody, like(nobody)).score < RULE.possible


@given(st.fixed_dictionaries(FIELDS), st.fixed_dictionaries(FIELDS), given_names)
def test_it_says_the_same_of_both_sides(one, other, name):
    left, right = Profile("a", name, name, **one), Profile("b", "建国", "建国", **other)

    assert weigh(RULE, left, right) == weigh(RULE, right, left)


@pytest.mark.parametrize(
    ("changes", "proposed"),
    [
        ({"phones": frozenset(), "regions": frozenset()}, True),  # name, birth date, sex
        ({"name": "王建果", "phones": frozenset({"p"})}, True),  # misheard
        ({"birth_date": None, "regions": frozenset()}, True),  # name, phone, sex
        ({"birth_date": date(1966, 7, 3), "regions": frozenset(), "sex": Sex.UNKNOWN}, True),  # day and month
        ({"birth_date": date(1988, 1, 2)}, False),  # father and son of one name
        ({"sex": Sex.FEMALE, "phones": frozenset()}, False),
    ],
)
def test_what_is_proposed_to_people(changes, proposed):
    assert (weigh(RULE, WANG, like(WANG, **changes)).score >= RULE.possible) is proposed


def test_another_id_number_speaks_louder_than_name_birth_date_and_phone():
    one = like(WANG, patient_id="a", citizen_ids=frozenset({"x"}))

    assert weigh(RULE, one, like(WANG, citizen_ids=frozenset({"y"}))).score < RULE.possible
    assert weigh(RULE, one, like(WANG, citizen_ids=frozenset({"x"}))).score >= RULE.likely


def test_what_the_his_links_is_proposed_though_nothing_else_is_known_and_another_mother_speaks_against():
    nobody = Profile("a")
    assert weigh(RULE, nobody, Profile("b", told_same=frozenset({"a"}))).score >= RULE.possible

    newborn = Profile("a", "张三之子", "x", date(2026, 11, 20), Sex.MALE, mothers=frozenset({"m"}))
    assert weigh(RULE, newborn, like(newborn)).guard is Guard.TWINS
    assert weigh(RULE, newborn, like(newborn, told_same=frozenset({"a"}))).guard is None

    child = like(WANG, patient_id="a", phones=frozenset(), mothers=frozenset({"m"}))
    assert weigh(RULE, child, like(child)).score >= RULE.possible
    assert weigh(RULE, child, like(child, mothers=frozenset({"n"}))).score < RULE.possible


def test_a_phone_half_the_town_has_counts_for_nothing():
    lines = {line.field.value: line for line in weigh(RULE, WANG, like(WANG), shared=frozenset({"p"})).lines}

    assert lines["phone"].outcome is Outcome.UNKNOWN
    assert lines["phone"].points == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [("张三之子", "张三之子"), ("双胞胎A", "双胞胎B"), ("张三之长子", "张小宝"), ("张大宝", "张小宝")],
)
def test_twins_are_never_proposed_as_one(first, second):
    twin = Profile(
        "a", first, "x", date(2026, 11, 20), Sex.MALE, phones=frozenset({"p"}), mothers=frozenset({"m"})
    )

    weighed = weigh(RULE, twin, like(twin, name=second, pinyin="y"))

    assert weighed.guard is Guard.TWINS
    assert weighed.score < RULE.possible


def test_a_newborn_under_its_mother_s_id_number_is_not_its_mother():
    mother = Profile(
        "m", "张三", "zhangsan", BORN, Sex.FEMALE, citizen_ids=frozenset({"x"}), phones=frozenset({"p"})
    )
    child = Profile(
        "c", "张三之女", "zhangsanzhinv", None, Sex.FEMALE, citizen_ids=frozenset({"x"}), phones=frozenset({"p"}),
        mothers=frozenset({"m"}),
    )  # fmt: skip

    assert weigh(RULE, mother, child).guard is Guard.MOTHER
    assert weigh(RULE, mother, child).score < RULE.possible


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fields": {"phone": {"same": 40}}}, "一家人共有"),
        ({"fields": {"name": {"same": 35, "different": 0}}}, "双胞胎"),
        ({"fields": {"colour": {"same": 1}}}, "fields"),
        ({"likely": 50}, "likely"),
        ({"fields": {"sex": {"same": 5, "similar": 6}}}, "similar"),
        ({"fields": {"sex": {"same": "five"}}}, "整数"),
        ({"treshold": 3}, "treshold"),
    ],
)
def test_a_rule_that_would_confuse_families_is_refused_with_its_reason(change, words):
    body = yaml.safe_load(TEXT)
    fields = {**body["fields"], **change.pop("fields", {})}

    with pytest.raises(HcrmError, match=words):
        parse_definition(MatchingRule, yaml.safe_dump({**body, **change, "fields": fields}), "matching.yaml")
