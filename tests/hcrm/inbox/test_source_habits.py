"""The page of sources says what a file says differently from the default, in words and without secrets."""

from dataclasses import replace
from typing import get_args

import pytest

from hcrm.core.channels import RowEvent
from hcrm.core.sources import Source
from hcrm.inbox.habits import SETTINGS, list_habits
from hcrm.inbox.views import PARTS
from hcrm.inbox.words import ROWS, event_words
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.profiles import example_sources

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]


def habits(**values) -> dict[str, str]:
    found = list_habits(Source.model_validate({"code": "x", "title": "x", **values}))
    return {habit.name: habit.words for habit in found}


def test_a_source_that_keeps_to_the_default_has_no_habits():
    assert habits(sender="HIS") == {}
    assert habits(zone="Asia/Shanghai", record_number_types=["MR", "MRN", "PI", "PT", ""]) == {}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"charset_forced": True}, {"charset_forced": "是"}),
        ({"merges_per_hour": 0}, {"merges_per_hour": "0"}),
        ({"events": {"ZP1": "A28"}}, {"events": "ZP1 → ADT^A28"}),
        ({"fields": {"patient.name": ["PID-9.1", "PID-5"]}}, {"fields": "patient.name → PID-9.1、PID-5"}),
        ({"empty_dates": ["1900-01-01", "无"]}, {"empty_dates": "1900-01-01、无"}),
        ({"follow_up_from": "2026-12-01T00:00:00+08:00"}, {"follow_up_from": "2026-12-01 00:00"}),
        ({"region_from": []}, {"region_from": "（空）"}),
        ({"addresses": ["10.1.0.0/16"]}, {"addresses": "10.1.0.0/16"}),
        ({"folder": {"path": "/srv/secret-place"}}, {"folder": "已配置"}),
    ],
)
def test_what_differs_is_said_in_words(values, words):
    assert habits(**values) == words


def test_a_long_table_is_cut():
    assert habits(departments={str(n): f"K{n}" for n in range(30)})["departments"].endswith("等 30 项")


def test_every_setting_has_a_name():
    assert set(Source.model_fields) - set(SETTINGS) == {"code", "title", "sender"}


def test_every_kind_of_row_has_a_word():
    assert {kind.upper() for kind in get_args(RowEvent)} == set(ROWS)
    assert event_words("ROW^DISCHARGE") == "ROW^DISCHARGE 出院"
    assert event_words("ROW^OTHER") == "ROW^OTHER"


def test_the_page_shows_the_habits_of_each_source(database, app, browser_of, make_person):
    app.extensions[PARTS] = replace(app.extensions[PARTS], sources=example_sources())
    make_person("wang")

    shown = browser_of("wang").get("/interface/sources").text

    assert "与默认不同的设置" in shown
    assert "encounter.discharge_way → ZPV-3" in shown
    assert "PatientNO → record" in shown
