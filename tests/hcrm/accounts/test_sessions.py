"""Sessions: when they end, and that an old cookie is dead then."""

import pytest

from hcrm.accounts import service
from hcrm.accounts.passwords import hash_password
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.work import open_work
from tests.support.console import PASSWORD, Browser

PAGE = "/account/password"


@pytest.fixture
def wang(make_person):
    return make_person("wang")


@pytest.fixture
def change(database, clock, wang):
    """One of the services that end an account's sessions."""

    def run(service_function, **values):
        with open_work(database, actor=system_actor("test"), clock=clock) as work:
            service_function(work, account_id=wang.id, **values)

    return run


def is_signed_in(browser) -> bool:
    return browser.get(PAGE).status_code == 200


def copy_of(app, browser) -> Browser:
    """A second browser with a copy of the first one's cookie."""
    copy = Browser(app)
    copy.client.set_cookie("hcrm", browser.client.get_cookie("hcrm").value)
    return copy


def test_a_session_ends_after_a_quarter_of_an_hour_without_a_click(browser_of, wang, clock):
    browser = browser_of("wang")
    clock.move(seconds=limits.SESSION_IDLE_SECONDS - 1)
    assert is_signed_in(browser)
    clock.move(seconds=limits.SESSION_IDLE_SECONDS - 1)
    assert is_signed_in(browser), "a click begins the quarter anew"
    clock.move(seconds=limits.SESSION_IDLE_SECONDS)
    assert not is_signed_in(browser)


def test_a_page_that_asks_for_itself_does_not_keep_a_session_alive(browser_of, wang, clock):
    browser = browser_of("wang")
    for _ in range(3):
        clock.move(minutes=5)
        status = browser.get(PAGE, headers={"X-Refresh": "1"}).status_code

    assert status == 303


def test_a_session_ends_after_twelve_hours_however_busy_it_is(browser_of, wang, clock):
    browser = browser_of("wang")
    for _ in range(12 * 6 - 1):
        clock.move(minutes=10)
        assert is_signed_in(browser)
    clock.move(minutes=10)
    assert not is_signed_in(browser)


def test_after_signing_out_a_copy_of_the_cookie_is_dead_and_another_browser_stays(app, browser_of, wang):
    first, second = browser_of("wang"), browser_of("wang")
    copy = copy_of(app, first)
    assert is_signed_in(copy)

    answer = first.post("/logout")

    assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
    assert not is_signed_in(first)
    assert not is_signed_in(copy)
    assert is_signed_in(second)


@pytest.mark.parametrize(
    ("function", "values"),
    [
        (service.disable_account, {}),
        (service.set_roles, {"role_names": ["agent"]}),
        (service.reset_password, {"password_hash": "x"}),
    ],
)
def test_a_change_of_the_account_ends_its_sessions_at_once(browser_of, change, function, values):
    browser = browser_of("wang")

    change(function, **values)

    assert not is_signed_in(browser)


def test_an_account_opened_again_does_not_revive_old_cookies(browser_of, change):
    browser = browser_of("wang")
    change(service.disable_account)
    change(service.enable_account)

    assert not is_signed_in(browser)


def test_ones_own_new_password_ends_the_other_browsers_and_keeps_this_one(app, browser_of, wang):
    here, there = browser_of("wang"), browser_of("wang")
    copy = copy_of(app, here)
    here.get(PAGE)

    answer = here.post(
        PAGE,
        {"old_password": PASSWORD, "new_password": "another long one", "again_password": "another long one"},
    )

    assert answer.status_code == 303
    assert is_signed_in(here)
    assert not is_signed_in(there)
    assert not is_signed_in(copy)
    assert Browser(app).log_in("wang").status_code == 401
    assert Browser(app).log_in("wang", "another long one").status_code == 303


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        (("wrong one", "another long one", "another long one"), "old_password", "原密码不正确"),
        ((PASSWORD, "short", "short"), "new_password", "密码至少 8 位"),
        ((PASSWORD, "password1", "password1"), "new_password", "密码过于常见，请换一个"),
        ((PASSWORD, "wang-123", "wang-123"), "new_password", "密码不能与账号相同或相近"),
        ((PASSWORD, "another long one", "another wrong one"), "again_password", "两次输入的新密码不一致"),
        ((PASSWORD, PASSWORD, PASSWORD), "new_password", "新密码与原密码相同"),
        ((PASSWORD, "", ""), "new_password", "此项必填"),
    ],
)
def test_a_refused_password_says_why_at_its_field(browser_of, wang, fields, field, sentence):
    browser = browser_of("wang")

    answer = browser.post(
        PAGE, dict(zip(("old_password", "new_password", "again_password"), fields, strict=True))
    )

    assert answer.status_code == 422
    assert f'id="error-{field}">{sentence}<' in answer.text
    assert PASSWORD not in answer.text
    assert browser.log_in("wang").status_code == 303, "the old password stands"


def test_trying_passwords_at_an_open_screen_is_counted_like_signing_in(browser_of, wang):
    browser = browser_of("wang")
    fields = {
        "old_password": "guess",
        "new_password": "another long one",
        "again_password": "another long one",
    }
    for _ in range(limits.LOGIN_TRIES):
        assert browser.post(PAGE, fields).status_code == 422

    assert browser.post(PAGE, fields | {"old_password": PASSWORD}).status_code == 429


def test_a_password_given_by_somebody_else_has_to_be_changed_first(browser_of, change):
    given = "given by the admin"
    change(service.reset_password, password_hash=hash_password(given))
    browser = browser_of()
    assert browser.log_in("wang", given).status_code == 303

    assert browser.get("/").headers["Location"] == PAGE
    page = browser.get(PAGE)
    assert "请先改成只有您知道的密码" in page.text
    browser.post(
        PAGE, {"old_password": given, "new_password": "my own words", "again_password": "my own words"}
    )
    assert browser.get("/").headers.get("Location") != PAGE


def test_signing_in_replaces_the_session_another_person_left(app, browser_of, make_person, wang):
    make_person("li")
    browser = browser_of("wang")
    before = browser.token

    browser.log_in("li")

    assert browser.token != before
    assert "li" in browser.get(PAGE).text
    stale = browser.client.post(
        "/logout", data={"csrf_token": before}, headers={"Origin": "http://localhost"}
    )
    assert stale.status_code == 403


def test_a_cookie_of_other_keys_or_with_a_changed_letter_means_nobody(app, browser_of, wang):
    browser = browser_of("wang")
    value = browser.client.get_cookie("hcrm").value
    browser.client.set_cookie("hcrm", value[:-3] + "abc")

    assert not is_signed_in(browser)
