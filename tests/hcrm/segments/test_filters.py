from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcrm.archive.models import DeceasedState, Sex
from hcrm.core.actor import Actor
from hcrm.core.errors import HcrmError
from hcrm.core.segment import HIGHEST, Operator, _ranges, reach_of, years_before
from hcrm.core.work import Work
from hcrm.segments.filters import SegmentFilter
from hcrm.segments.models import Segment
from hcrm.segments.profile import refresh_profiles
from hcrm.segments.queries import count_patients, is_in, list_patients, patients_of
from hcrm.segments.service import SegmentInput, create_segment
from tests.support.builders import make_department, make_encounter, make_patient, make_practitioner

TODAY = date(2026, 11, 22)


def lines(*questions: tuple[str, str, list[str]], match: str = "all") -> dict[str, Any]:
    return {
        "match": match,
        "lines": [{"field": field, "operator": operator, "values": values} for field, operator, values in questions],
    }  # fmt: skip


def wanted(*groups: dict[str, Any], match: str = "all") -> SegmentFilter:
    return SegmentFilter.model_validate({"match": match, "groups": groups})


@pytest.fixture
def town(work: Work) -> dict[str, str]:
    """Four patients: an old man with diabetes of the kidney ward, a woman with a stroke, a dead man, a child unseen."""
    ward, other = make_department(work, name="肾内科"), make_department(work, name="神经内科")
    man = make_patient(work, name="甲", birth_date=date(1950, 1, 1), region_code="330106")
    woman = make_patient(work, name="乙", sex=Sex.FEMALE, birth_date=date(1980, 1, 1))
    dead = make_patient(work, name="丙", deceased=DeceasedState.DECEASED)
    child = make_patient(work, name="丁", birth_date=date(2020, 2, 29))
    make_encounter(work, patient=man, department=ward, diagnoses=["E11.900"])
    make_encounter(work, patient=woman, department=other, diagnoses=["I63.900"])
    make_encounter(work, patient=woman, department=ward, diagnoses=["K35.9"])
    make_encounter(work, patient=dead, department=ward, diagnoses=["Ｅ１１．９"])
    people = {"man": man.id, "woman": woman.id, "dead": dead.id, "child": child.id}
    refresh_profiles(work, people.values())
    people |= {"ward": ward.id, "other": other.id}
    return people


def found(work: Work, town: dict[str, str], filter_: SegmentFilter) -> set[str]:
    segment = Segment(id="s", filter=filter_.model_dump(mode="json"))
    ids = set(work.scalars(patients_of(work, segment)))
    assert count_patients(work, filter_) == len(ids)
    # The page is walked to, the keys come from sets: both ways find the same.
    page = list_patients(work, segment, columns=[], sort="seen", key=None, size=50)
    assert {line.id for line in page.items} == ids
    return {name for name, key in town.items() if key in ids}


def test_every_kind_of_question_finds_its_patients(work: Work, town: dict[str, str]):
    questions = [
        (("patient.age", "at_least", ["65"]), {"man"}),
        (("patient.age", "at_most", ["6"]), {"child"}),
        (("patient.sex", "in", ["female"]), {"woman"}),
        (("patient.sex", "not_in", ["male"]), {"woman"}),
        (("patient.region", "known", []), {"man"}),
        (("patient.region", "unknown", []), {"woman", "dead", "child"}),
        (("patient.deceased", "in", ["deceased", "disputed"]), {"dead"}),
        (("patient.visits", "at_least", ["2"]), {"woman"}),
        (("patient.last_visit", "unknown", []), {"child"}),
        (("patient.birthday_month", "in", ["2"]), {"child"}),
        (("patient.life_stage", "in", ["active"]), {"man", "woman", "dead", "child"}),
        (("stay.main_diagnosis", "starts_with", ["e11"]), {"man", "dead"}),
        (("stay.main_diagnosis", "starts_with", ["I60-I64，K35"]), {"woman"}),
        (("stay.discharged", "within_days", ["3"]), {"man", "woman", "dead"}),
        (("stay.discharged", "within_days", ["2"]), set()),
        (("stay.discharged", "days_ago", ["5", "2"]), {"man", "woman", "dead"}),
        (("stay.discharged", "this_month", []), {"man", "woman", "dead"}),
        (("stay.discharged", "last_month", []), set()),
        (("stay.any", "no", []), {"child"}),
        (("stay.any", "yes", []), {"man", "woman", "dead"}),
        (("stay.season", "in", ["4"]), {"man", "woman", "dead"}),
    ]

    assert [found(work, town, wanted(lines(question))) for question, _ in questions] == [
        names for _, names in questions
    ]


def test_lines_of_one_group_about_stays_speak_of_the_same_stay(work: Work, town: dict[str, str]):
    stroke_there = [
        ("stay.main_diagnosis", "starts_with", ["I63"]),
        ("stay.department", "in", [town["ward"]]),
    ]

    assert found(work, town, wanted(lines(*stroke_there))) == set()
    assert found(work, town, wanted(*(lines(one) for one in stroke_there))) == {"woman"}


def test_groups_and_lines_hang_together_as_they_say(work: Work, town: dict[str, str]):
    old = ("patient.age", "at_least", ["65"])
    woman = ("patient.sex", "in", ["female"])
    diabetes = ("stay.main_diagnosis", "starts_with", ["E11"])

    assert found(work, town, wanted(lines(woman, diabetes, match="any"))) == {"woman", "man", "dead"}
    assert found(work, town, wanted(lines(woman, diabetes, match="none"))) == {"child"}
    assert found(work, town, wanted(lines(old), lines(woman), match="any")) == {"man", "woman"}
    assert found(work, town, wanted(lines(diabetes), lines(old, match="none"))) == {"dead"}
    assert found(work, town, wanted(lines(diabetes, match="none"), lines(old, match="any"), match="any")) == {
        "man", "woman", "child",
    }  # fmt: skip
    assert found(work, town, wanted()) == {"man", "woman", "dead", "child"}


def test_whoever_asks_counts_only_their_own_patients(work: Work, town: dict[str, str]):
    ward = next(department for department in [town["other"]])
    physician = make_practitioner(work)
    work.session.flush()
    everyone = wanted()
    segment = create_segment(work, entered=SegmentInput(name="全部", filter=everyone))

    work.actor = Actor(
        id="account:x", name="x", permissions=frozenset({"segment.read"}), department_ids=frozenset({ward}),
        practitioner_id=physician.id,
    )  # fmt: skip

    assert count_patients(work, everyone) == 1
    assert is_in(work, segment, [town["woman"], town["man"]]) == {town["woman"]}


@pytest.mark.parametrize(
    ("field", "operator", "values", "said"),
    [
        ("patient.nothing", "in", ["x"], "没有“patient.nothing”这个条件"),
        ("patient.age", "in", ["x"], "不能用"),
        ("patient.age", "at_least", ["很老"], "整数"),
        ("patient.age", "at_least", ["9999999999"], "整数"),
        ("patient.created", "since", ["2026-13-01"], "日期"),
        ("patient.created", "days_ago", ["3"], "两个整数"),
        ("patient.sex", "in", [], "至少选一项"),
        ("stay.main_diagnosis", "starts_with", ["I64-I60"], "从小到大"),
        ("stay.main_diagnosis", "starts_with", ["%'\"; DROP"], ""),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(
    work: Work, field: str, operator: str, values: list[str], said: str
):
    filter_ = wanted(lines((field, operator, values)))

    if not said:
        assert count_patients(work, filter_) == 0
        return
    with pytest.raises(HcrmError, match=said):
        create_segment(work, entered=SegmentInput(name="x", filter=filter_))


@given(st.dates(date(1900, 1, 1), date(2200, 12, 31)), st.integers(0, 200_000), st.integers(0, 200_000))
def test_relative_dates_never_leave_the_calendar_and_keep_their_order(today: date, some: int, more: int):
    for operator in (Operator.WITHIN_DAYS, Operator.BEFORE_DAYS, Operator.NEXT_DAYS):
        first, last = reach_of(operator, (str(some),), today)
        assert first is None or last is None or first <= last
    first, last = reach_of(Operator.DAYS_AGO, (str(some), str(more)), today)
    assert first is not None
    assert last is not None
    assert first <= last
    assert reach_of(Operator.DAYS_AGO, (str(more), str(some)), today) == (first, last)


@given(st.dates(date(1900, 1, 1), TODAY), st.integers(0, 150))
def test_an_age_is_full_years(birth: date, years: int):
    age = TODAY.year - birth.year - ((TODAY.month, TODAY.day) < (birth.month, birth.day))

    assert (birth <= years_before(TODAY, years)) == (age >= years)


def test_whole_months_and_years():
    whole = {
        Operator.THIS_MONTH: ("2026-02-01", "2026-02-28"),
        Operator.LAST_MONTH: ("2026-01-01", "2026-01-31"),
        Operator.THIS_YEAR: ("2026-01-01", "2026-12-31"),
        Operator.LAST_YEAR: ("2025-01-01", "2025-12-31"),
        Operator.WITHIN_DAYS: ("2026-02-09", "2026-02-15"),
    }
    today = date(2026, 2, 15)

    for operator, (first, last) in whole.items():
        assert reach_of(operator, ("7",), today) == (date.fromisoformat(first), date.fromisoformat(last))
    assert reach_of(Operator.BEFORE_DAYS, ("7",), today) == (None, today - timedelta(days=8))


@given(st.sets(st.text("E019A", min_size=1, max_size=3), min_size=1), st.text("E0129A", max_size=5))
def test_neighbouring_prefixes_read_as_one_range_find_what_each_of_them_does(prefixes: set[str], code: str):
    ranges = _ranges(sorted(prefixes))

    assert any(low <= code < high + HIGHEST for low, high in ranges) == any(map(code.startswith, prefixes))


def test_a_run_of_diagnoses_is_one_range():
    assert _ranges(["E10", "E11", "E12", "I63"]) == [("E10", "E12"), ("I63", "I63")]
    assert _ranges(["E19", "E20"]) == [("E19", "E19"), ("E20", "E20")]
