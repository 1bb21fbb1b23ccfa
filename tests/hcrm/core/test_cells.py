"""Cells of lists: days and moments as people and programs write them."""

from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcrm.core.cells import CellError, cell_text, control_in, day_in, moment_in, whole_text, word_in
from hcrm.core.clock import HOSPITAL_ZONE

DAYS = st.dates(date(1932, 1, 1), date(2099, 12, 31))


@given(DAYS, st.sampled_from(["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%Y年%m月%d日", " %Y-%m-%d "]))
def test_a_day_is_read_in_every_usual_form(day: date, form: str) -> None:
    assert day_in(day.strftime(form)) == day
    assert day_in(f"{day.year}年{day.month}月{day.day}日") == day


@given(DAYS)
def test_a_sheets_own_count_of_days_is_read_by_its_calendar(day: date) -> None:
    assert day_in(str((day - date(1899, 12, 30)).days)) == day
    assert day_in(str((day - date(1904, 1, 1)).days), is_1904=True) == day


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22 15:30", (2026, 11, 22, 15, 30)), ("2026-11-22T15:30:00", (2026, 11, 22, 15, 30)),
        ("2026年11月22日 下午3时30分", (2026, 11, 22, 15, 30)), ("2026/1/2 9点", (2026, 1, 2, 9, 0)),
        ("二〇二六年十一月二十二日", (2026, 11, 22)), ("二零二六年一月三十日 上午8:05", (2026, 1, 30, 8, 5)),
        ("２０２６－１－２", (2026, 1, 2)), ("46348.5", (2026, 11, 22, 12, 0)),
    ],
)  # fmt: skip
def test_a_moment_is_read(text: str, moment: tuple[int, ...]) -> None:
    assert moment_in(text) == datetime(*moment, tzinfo=HOSPITAL_ZONE)


@pytest.mark.parametrize(
    "text", ["11/22/2026", "26-1-2", "2026-02-30", "昨天", "2026-1", "9999", "2026-1-2 25:00", "x", "=1"]
)
def test_what_could_be_two_days_or_none_is_refused(text: str) -> None:
    with pytest.raises(CellError):
        moment_in(text)


def test_digits_a_program_cut_off_are_noticed() -> None:
    with pytest.raises(CellError, match="末几位已丢失"):
        whole_text(cell_text(1.10101196603070e17), most=32)
    assert cell_text(1.1010119660307e13) == "11010119660307"


def test_a_word_is_one_of_those_that_are_known() -> None:
    assert word_in("Ｍ", {"男": 1, "m": 1}) == 1
    with pytest.raises(CellError, match="只能填：男、女"):
        word_in("x", {"男": 1, "m": 1, "女": 2})


@pytest.mark.parametrize(
    ("cell", "text", "control"),
    [
        ("张\x00三", "张\x00三", "U+0000"), ("a\x85b", "a\x85b", "U+0085"), ("a\ufeff\u200bb", "ab", ""),
        ("a\u2003b\vc", "a b c", ""), ("\U00031350\ue000", "\U00031350\ue000", ""),
    ],
)  # fmt: skip
def test_a_cell_keeps_what_it_holds_but_blanks_and_invisible_marks(
    cell: str, text: str, control: str
) -> None:
    assert (cell_text(cell), control_in(cell_text(cell))) == (text, control)
