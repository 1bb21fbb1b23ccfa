"""Pages of the station as a browser's forms ask for them."""

import re
from html import unescape

import pytest

from hcrm.core.actor import system_actor
from hcrm.core.work import open_work

GOOD = {"a-pain": "2", "a-temperature": "36.5", "a-wound": "no", "a-drugs": ["a", "b"], "a-remark": "都好"}
QUIET = {"Origin": "http://localhost", "HX-Request": "true"}


@pytest.fixture
def physician(ward, browser_of):
    return browser_of("li")


def hidden(answer, name):
    """What the page's form carries in a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', answer.text)
    assert found is not None, name
    return unescape(found[1])


def filled(page, **changes):
    """The form of a page, filled in and sent as a browser would."""
    keys = {name: hidden(page, name) for name in ("record_id", "version", "base")}
    ended = {"outcome": "reached", "heard": "reached", "missed": "no_answer", "channel": "phone", "note": ""}
    return {**keys, **ended, **GOOD, **changes}


def read(database, statement):
    with open_work(database, actor=system_actor("test"), write=False) as work:
        return work.execute(statement).scalars().all()


def form_of(browser, key):
    return browser.get(f"/instructions/{key}/form")
