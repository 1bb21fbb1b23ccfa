from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcrm.core.clock import age
from hcrm.web.filters import EMPTY, byte_size, day, due_tone, due_words, moment, number, percent

TODAY = date(2026, 11, 22)
DATES = st.dates(date(1900, 1, 1), date(2100, 12, 31))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (datetime(2026, 11, 22, 7, 30, tzinfo=UTC), "11-22 15:30"),
        (datetime(2025, 11, 22, 7, 30, tzinfo=UTC), "2025-11-22 15:30"),
        (datetime(2025, 12, 31, 16, 5, tzinfo=UTC), "01-01 00:05"),  # already this year in the hospital
        (None, EMPTY),
    ],
)
def test_a_moment_shows_on_the_hospitals_clock_with_the_year_only_when_it_is_another(value, shown):
    assert moment(value, TODAY) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (date(2026, 3, 8), "03-08"),
        (date(2024, 3, 8), "2024-03-08"),
        (datetime(2026, 3, 7, 17, tzinfo=UTC), "03-08"),
        (None, EMPTY),
    ],
)
def test_a_day_is_the_hospitals_date(value, shown):
    assert day(value, TODAY) == shown


@pytest.mark.parametrize(
    ("born_on", "shown"),
    [
        (date(1959, 11, 22), "67 岁"),
        (date(1959, 11, 23), "66 岁"),
        (date(2023, 11, 22), "3 岁"),
        (date(2023, 11, 23), "35 个月"),
        (date(2026, 10, 22), "1 个月"),
        (date(2026, 10, 23), "30 天"),
        (TODAY, "0 天"),
        (date(2026, 11, 23), "年龄不详"),
        (None, "年龄不详"),
    ],
)
def test_an_age_is_told_in_the_unit_a_ward_uses(born_on, shown):
    assert age(born_on, TODAY) == shown


@given(DATES, DATES)
def test_an_age_never_shrinks_from_one_day_to_the_next(born_on, on):
    def in_days(text: str) -> int:
        count, unit = text.split()
        return int(count) * {"天": 1, "个月": 28, "岁": 365}[unit]

    if born_on <= on:
        assert in_days(age(born_on, on)) <= in_days(age(born_on, on + timedelta(days=1)))


@pytest.mark.parametrize(
    ("days", "words", "tone"),
    [
        (-2, "超期 2 天", "late"),
        (-1, "超期 1 天", "late"),
        (0, "今天到期", "near"),
        (2, "2 天后", "near"),
        (3, "3 天后", ""),
    ],
)
def test_a_due_date_is_told_in_words_with_its_signal(days, words, tone):
    due_on = TODAY + timedelta(days=days)

    assert (due_words(due_on, TODAY), due_tone(due_on, TODAY)) == (words, tone)


def test_what_is_missing_shows_as_a_dash_and_not_as_zero():
    assert {due_words(None, TODAY), byte_size(None), number(None), percent(None)} == {EMPTY}


def test_figures_are_grouped_and_shortened():
    assert (number(3072), percent(0.8714)) == ("3,072", "87.1%")
    assert [byte_size(size) for size in (712, 1434, 3 * 1024**2, 5 * 1024**3)] == [
        "712 字节", "1.4 KB", "3.0 MB", "5.0 GB"]  # fmt: skip
