"""Values of FHIR search parameters: tokens, references, dates of any precision."""

import contextlib
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcrm.api.search import Token, read_dates, read_reference, read_token, split_unescaped, unescape
from hcrm.core.errors import HcrmError

SHANGHAI = ZoneInfo("Asia/Shanghai")
PRECISIONS = {
    "%Y": timedelta(days=366),
    "%Y-%m": timedelta(days=31),
    "%Y-%m-%d": timedelta(days=1),
    "%Y-%m-%dT%H:%M": timedelta(minutes=1),
    "%Y-%m-%dT%H:%M:%S": timedelta(seconds=1),
    "%Y-%m-%dT%H:%M:%S.%f": timedelta(microseconds=1),
}
FIRST, LAST = datetime(1950, 1, 1), datetime(2100, 1, 1)  # noqa: DTZ001  hypothesis adds the zone
MOMENTS = st.datetimes(min_value=FIRST, max_value=LAST, timezones=st.just(SHANGHAI))


@given(MOMENTS, st.sampled_from(list(PRECISIONS)), st.sampled_from(["", "ge", "sa", "ne"]))
def test_a_date_means_the_stretch_of_time_it_is_written_for(at: datetime, precision: str, prefix: str):
    dates = read_dates(prefix + at.strftime(precision))

    assert dates.prefix == (prefix or "eq")
    assert dates.low <= at.astimezone(UTC) < dates.high
    # An hour more at most: Shanghai kept summer time until 1991.
    assert dates.high - dates.low <= PRECISIONS[precision] + timedelta(hours=1)


@given(MOMENTS, st.sampled_from(["Z", "+08:00", "-05:30", "+14:00"]))
def test_a_zone_in_the_value_is_kept(at: datetime, zone: str):
    text = at.strftime("%Y-%m-%dT%H:%M:%S") + zone

    assert read_dates(text).low == datetime.fromisoformat(text)


def test_a_day_is_the_hospitals():
    dates = read_dates("2026-11-22")

    assert dates.low == datetime(2026, 11, 21, 16, tzinfo=UTC)
    assert dates.days == (date(2026, 11, 22), date(2026, 11, 23))


@given(st.text())
def test_anything_else_is_refused_and_never_a_fault(text: str):
    for read in (read_dates, read_token, lambda value: read_reference(value, "Patient")):
        with contextlib.suppress(HcrmError):
            read(text)


@given(st.lists(st.text(alphabet="ab,|$\\"), min_size=1))
def test_marks_after_a_backslash_are_text(parts: list[str]):
    def escape(text: str) -> str:
        return "".join(f"\\{character}" if character in ",|$\\" else character for character in text)

    assert [unescape(part) for part in split_unescaped(",".join(map(escape, parts)), ",")] == parts


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("M1", Token(None, "M1")),
        ("urn:x|M1", Token("urn:x", "M1")),
        ("|M1", Token("", "M1")),
        (r"urn:x\|y|M\,1", Token("urn:x|y", "M,1")),
    ],
)
def test_a_token_tells_no_system_from_none(text: str, token: Token):
    assert read_token(text) == token


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("abc", "abc"),
        ("Patient/abc", "abc"),
        ("https://his.example/fhir/Patient/abc", "abc"),
        ("Group/abc", None),
        ("https://his.example/fhir/Group/abc", None),
    ],
)
def test_a_reference_of_another_type_refers_to_nobody(text: str, key: str | None):
    assert read_reference(text, "Patient") == key
