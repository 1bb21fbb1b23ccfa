"""A form sent after the session has ended is not lost: it travels through the login and is sent again."""

import re
from html import unescape

import pytest
from flask import Blueprint, request

from hcrm.app import factory
from hcrm.core import limits
from hcrm.web.shell import console_work, require
from tests.support.console import PASSWORD

TEXT = '患者诉头晕 <b>"明显"</b>\n第二行 & 更多'
KEPT = re.compile(r'name="(kept\.[^"]+)" value="([^"]*)"')
SENT = re.compile(r'<input type="hidden" name="(?!csrf)([^"]+)" value="([^"]*)"')


@pytest.fixture
def notes(monkeypatch):
    """A page of some colleague: what reaches it is collected."""
    bp = Blueprint("notes", __name__)
    received = []

    @bp.post("/notes/<key>")
    @require("patient.read", audit="none:a page of the tests")
    def write_note(key):
        with console_work() as work:
            received.append((key, work.actor.name, request.args.to_dict(), request.form.to_dict(flat=False)))
        return "ok"

    monkeypatch.setattr(factory, "BLUEPRINTS", (*factory.BLUEPRINTS, bp))
    return received


@pytest.fixture
def wang(make_person):
    return make_person("wang", display_name="王敏")


@pytest.fixture
def ended(notes, wang, browser_of, clock):
    """A browser whose session has ended while a form was open, and the answer to the form."""
    browser = browser_of("wang")
    clock.move(seconds=limits.SESSION_IDLE_SECONDS + 1)
    form = {"text": TEXT, "tags": ["a", "b"], "new_password": "must not travel", "empty": ""}
    return browser, browser.post("/notes/7?tab=2", form)


def login_form(answer, **changes):
    """What the login page would send."""
    fields = {}
    for name, value in KEPT.findall(answer.text):
        fields.setdefault(unescape(name), []).append(unescape(value))
    target = re.search(r'name="target" value="([^"]*)"', answer.text)[1]
    return {"username": "wang", "password": PASSWORD, "target": unescape(target), **fields, **changes}


def test_the_login_page_carries_the_text_and_no_password(ended):
    _, answer = ended

    assert answer.status_code == 401
    assert "您刚才填写的内容还在" in answer.text
    assert '<b>"明显"</b>' not in answer.text
    assert 'value="wang"' in answer.text
    assert "must not travel" not in answer.text
    assert login_form(answer)["kept.text"] == [TEXT]


def test_after_signing_in_the_form_is_sent_again_to_where_it_belongs(ended, notes):
    browser, answer = ended

    replay = browser.post("/login/again", login_form(answer))

    assert replay.status_code == 200
    assert 'action="/notes/7?tab=2"' in replay.text
    assert "data-autosubmit" in replay.text
    assert notes == [], "nothing happens before the browser sends it"
    fields = {}
    for name, value in SENT.findall(replay.text):
        fields.setdefault(name, []).append(unescape(value))
    sent = browser.post("/notes/7?tab=2", fields)
    assert sent.text == "ok"
    (key, name, query, form) = notes[0]
    assert (key, name, query) == ("7", "王敏", {"tab": "2"})
    assert form["text"] == [TEXT]
    assert form["tags"] == ["a", "b"]


def test_a_wrong_password_keeps_the_text_for_the_next_try(ended):
    browser, answer = ended

    again = browser.post("/login/again", login_form(answer, password="wrong password"))

    assert again.status_code == 401
    assert login_form(again)["kept.text"] == [TEXT]
    assert "工号或密码不正确" in again.text
    assert browser.post("/login/again", login_form(again)).status_code == 200


def test_another_person_signs_in_but_does_not_send_the_text(ended, notes, make_person):
    make_person("li")
    browser, answer = ended

    other = browser.post("/login/again", login_form(answer, username="li"))

    assert (other.status_code, other.headers["Location"]) == (303, "/")
    assert "另一个账号" in browser.get("/account/password").text
    assert notes == []


@pytest.mark.parametrize(
    "target",
    ["//evil.example/notes/7", "https://evil.example/", "/\\evil.example", "/login", "/nope", "/livez", ""],
)
def test_the_text_goes_to_no_other_place_than_a_form_of_ours(ended, target):
    browser, answer = ended

    sent = browser.post("/login/again", login_form(answer, target=target))

    assert (sent.status_code, sent.headers["Location"]) == (303, "/")


def test_a_form_of_another_site_is_not_kept(notes, wang, browser_of, clock):
    browser = browser_of("wang")
    clock.move(seconds=limits.SESSION_IDLE_SECONDS + 1)

    for headers in ({"Origin": "https://evil.example"}, {"Referer": "https://evil.example/x"}, {}):
        answer = browser.post("/notes/7", {"text": "planted"}, headers=headers)
        assert answer.status_code == 303
        assert "planted" not in answer.text


def test_after_signing_out_elsewhere_the_text_of_an_open_form_is_kept_too(notes, wang, browser_of):
    browser = browser_of("wang")
    browser.post("/logout")

    answer = browser.post("/notes/7", {"text": "还没保存"})

    assert answer.status_code == 401
    assert login_form(answer)["kept.text"] == ["还没保存"]


def test_htmx_gets_a_bare_401_and_then_sends_the_form_as_a_page(notes, wang, browser_of, clock):
    browser = browser_of("wang")
    clock.move(seconds=limits.SESSION_IDLE_SECONDS + 1)

    answer = browser.post(
        "/notes/7", {"text": "x"}, headers={"HX-Request": "true", "Origin": "http://localhost"}
    )

    assert (answer.status_code, answer.text) == (401, "")
    assert browser.get("/account/password", headers={"HX-Request": "true"}).status_code == 401


def test_a_page_asked_for_after_the_end_leads_through_the_login(notes, wang, browser_of, clock):
    browser = browser_of("wang")
    clock.move(seconds=limits.SESSION_IDLE_SECONDS + 1)

    assert browser.get("/account/password?a=1").headers["Location"] == "/login?next=/account/password?a%3D1"
