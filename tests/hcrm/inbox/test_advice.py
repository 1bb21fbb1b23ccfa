"""What to do about one message is said as its sender's file stands."""

import re

import pytest

from hcrm.core.sources import Source, Sources
from hcrm.inbox.advice import flag_advice, reason_advice
from hcrm.inbox.words import REASONS

SOURCES = Sources(
    [
        Source(code="his", title="HIS", sender="HIS", facility="H1"),
        Source(code="default", title="未登记来源"),
    ]
)


@pytest.mark.parametrize(
    ("reason", "sender", "facility", "begins"),
    [
        (
            "event_not_supported",
            "WHO",
            "H9",
            "发送方 WHO/H9 没有来源文件，请写 config/sources/….yaml（sender: WHO、",
        ),
        ("charset", "WHO", "", "发送方 WHO 没有来源文件，请写 config/sources/….yaml（sender: WHO）"),
        ("charset", "HIS", "H2", "发送方 HIS/H2 没有来源文件"),
    ],
)
def test_a_sender_without_a_file_is_told_to_get_one_first(reason, sender, facility, begins):
    said = reason_advice(reason, sender, facility, SOURCES)

    assert said.startswith(begins)
    assert said.endswith(REASONS[reason][1])


@pytest.mark.parametrize(
    ("reason", "sender"),
    [
        ("charset", "HIS"),
        ("identity_conflict", "WHO"),
        ("charset", ""),
        ("gone", "WHO"),
        ("event_not_supported", "his"),  # a row of a source that is known by no MSH-3 bears its code
    ],
)
def test_otherwise_the_hint_is_the_reasons_own(reason, sender):
    assert reason_advice(reason, sender, "H1", SOURCES) == REASONS.get(reason, ("", ""))[1]


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("unmapped:PV1-36", " discharge_ways 中加上 PV1-36 的代码"),
        ("unmapped:PV1-3.4", " departments 中加上 PV1-3.4 的代码"),
        ("unmapped:department", " departments 中加上 科室 的代码"),
        ("unmapped:ZPV-3", "对照表中加上 ZPV-3 的代码"),
        ("number_type_unknown", "identifier_types"),
        ("bad_time:EVN-2", "date_forms"),
    ],
)
def test_a_flag_says_which_part_of_the_file_puts_it_right(flag, said):
    (found,) = flag_advice(flag)
    assert said in found
    for name in re.findall(r"\b[a-z]+_[a-z_]+\b", found):
        assert name in Source.model_fields  # what it names can be written


def test_each_advice_is_given_once_and_what_only_tells_has_none():
    assert len(flag_advice("bad_time:EVN-2 bad_time:MSH-7 corrected_copy already_merged")) == 1
