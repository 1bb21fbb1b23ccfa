"""Signing in: one answer to everything wrong, delays before hashing, audit in the same breath."""

import pytest
import sqlalchemy as sa
from flask_security.utils import verify_password

from hcrm.accounts import passwords, security
from hcrm.accounts.models import Account, AccountSession, LoginAttempt
from hcrm.accounts.service import disable_account
from hcrm.audit.models import AuditEvent, AuditOutcome
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.work import open_work
from tests.support.console import PASSWORD, no_audit


def read(database, clock, statement):
    with open_work(database, actor=system_actor("test"), clock=clock, write=False) as work:
        return work.scalars(statement)


def wrong(browser, username="wang", password="wrong password"):
    browser.get("/login")
    return browser.post("/login", {"username": username, "password": password})


def alert_of(answer):
    return answer.text.partition('role="alert"')[2].partition("</div>")[0]


def test_a_right_password_opens_the_console_and_is_noted(browser_of, make_person, database, clock):
    account = make_person("wang")
    browser = browser_of("wang")

    assert browser.get("/account/password").status_code == 200
    events = read(database, clock, sa.select(AuditEvent).where(AuditEvent.action == "session.login"))
    assert [(event.actor_id, event.outcome) for event in events] == [(account.id, AuditOutcome.DONE)]
    assert read(database, clock, sa.select(sa.func.count()).select_from(AccountSession)) == [1]


def test_the_user_name_is_found_in_any_case_and_width(browser_of, make_person):
    make_person("zhang01")

    assert browser_of().log_in(" ＺＨＡＮＧ01 ").status_code == 303


def test_unknown_name_wrong_password_and_closed_account_get_the_same_answer(
    browser_of, make_person, database, clock
):
    make_person("wang")
    closed = make_person("closed")
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        disable_account(work, account_id=closed.id)

    answers = [
        wrong(browser_of(), "wang"),
        wrong(browser_of(), "nobody"),
        wrong(browser_of(), "closed", PASSWORD),
    ]

    assert {answer.status_code for answer in answers} == {401}
    assert len({alert_of(answer) for answer in answers}) == 1
    assert "工号或密码不正确" in alert_of(answers[0])


def test_the_name_typed_stays_in_the_form_and_the_password_does_not(browser_of, make_person):
    answer = wrong(browser_of(), "wang", "my secret words")

    assert 'value="wang"' in answer.text
    assert "my secret words" not in answer.text


def test_a_refused_try_is_noted_without_what_was_typed(browser_of, make_person, database, clock):
    make_person("wang")
    wrong(browser_of(), "wang")
    wrong(browser_of(), "a password typed into the wrong box")

    events = read(database, clock, sa.select(AuditEvent).where(AuditEvent.action == "session.login"))

    assert {event.outcome for event in events} == {AuditOutcome.DENIED}
    assert len({event.subject_id for event in events}) == 2
    assert all("password" not in f"{event.actor_name}{event.subject_id}{event.detail}" for event in events)


def test_after_five_wrong_passwords_even_the_right_one_has_to_wait_and_nothing_is_hashed(
    browser_of, make_person, clock, monkeypatch
):
    make_person("wang")
    browser = browser_of()
    for _ in range(limits.LOGIN_TRIES):
        assert wrong(browser).status_code == 401
    looked_at = []
    monkeypatch.setattr(security, "verify_password", lambda *_: looked_at.append(1))

    answers = [wrong(browser, password=PASSWORD) for _ in range(20)]

    assert {answer.status_code for answer in answers} == {429}
    assert "秒后再试" in alert_of(answers[0])
    assert looked_at == []


def test_the_delay_doubles_and_an_account_is_never_locked_for_good(browser_of, make_person, clock):
    make_person("wang")
    browser = browser_of()
    for _ in range(limits.LOGIN_TRIES):
        wrong(browser)

    clock.move(seconds=limits.LOGIN_DELAY_SECONDS)
    assert wrong(browser).status_code == 401
    clock.move(seconds=limits.LOGIN_DELAY_SECONDS)
    assert wrong(browser).status_code == 429
    clock.move(seconds=limits.LOGIN_DELAY_SECONDS)
    assert browser.log_in("wang").status_code == 303
    assert wrong(browser_of()).status_code == 401, "a right password forgets the wrong ones"


def test_a_day_of_guessing_is_looked_at_a_hundred_times_an_hour_at_most(
    browser_of, make_person, clock, monkeypatch
):
    make_person("wang")
    looked_at = []
    monkeypatch.setattr(security, "verify_password", lambda *_: looked_at.append(1))
    browser = browser_of()
    browser.get("/login")

    for _ in range(360):
        browser.post("/login", {"username": "wang", "password": "guess guess"})
        clock.move(seconds=10)

    assert len(looked_at) <= 100


def test_unknown_names_wait_like_known_ones(browser_of, clock):
    browser = browser_of()
    for _ in range(limits.LOGIN_TRIES):
        wrong(browser, "nobody")

    assert wrong(browser, "nobody").status_code == 429


def test_one_address_trying_many_names_has_to_wait(browser_of, make_person):
    make_person("wang")
    browser = browser_of()
    for number in range(limits.ADDRESS_LOGIN_TRIES):
        wrong(browser, f"name{number}")

    assert wrong(browser, "wang", PASSWORD).status_code == 429


def test_old_tries_are_swept(browser_of, make_person, database, clock):
    wrong(browser_of(), "one")
    clock.move(seconds=limits.LOGIN_WINDOW_SECONDS + 1)
    wrong(browser_of(), "two")

    assert len(read(database, clock, sa.select(LoginAttempt))) == 1


def test_the_login_page_sends_somebody_signed_in_home_and_leaves_them_signed_in(browser_of, make_person):
    make_person("wang")
    browser = browser_of("wang")

    assert browser.get("/login").headers["Location"] == "/"
    assert browser.get("/account/password").status_code == 200


def test_every_try_hashes_once_whoever_is_named(browser_of, make_person, monkeypatch):
    make_person("wang")
    passwords.verify_password("", None)  # the hash of nobody is made once in a process
    hashed = []
    verify = passwords.HASHER.verify

    class Counting:
        def verify(self, *words):
            hashed.append(1)
            return verify(*words)

    monkeypatch.setattr(passwords, "HASHER", Counting())

    for username, password in (("wang", "wrong one"), ("nobody", "wrong one"), ("wang", PASSWORD)):
        hashed.clear()
        wrong(browser_of(), username, password)
        assert hashed == [1]


def test_flask_security_reads_our_hashes_and_its_commit_only_flushes(app, make_person, database, clock):
    account = make_person("wang")
    with app.test_request_context("/"):
        assert verify_password(PASSWORD, account.password)
        datastore = app.extensions["security"].datastore

        def close_the_account_and_fail():
            with security.accounts_work(security.visitor(), write=True):
                datastore.deactivate_user(datastore.find_user(username="wang"))
                datastore.commit()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            close_the_account_and_fail()

    assert read(database, clock, sa.select(Account.active)) == [True]


def test_a_failed_audit_row_leaves_nobody_signed_in(browser_of, make_person, database, clock):
    make_person("wang")
    browser = browser_of()
    browser.get("/login")

    with no_audit(database):
        answer = browser.post("/login", {"username": "wang", "password": PASSWORD})

    assert answer.status_code == 503
    assert read(database, clock, sa.select(AccountSession)) == []
    assert browser.get("/account/password").status_code == 303, "still at the door"


def test_the_login_leads_to_the_page_asked_for_but_never_to_another_host(browser_of, make_person):
    make_person("wang")
    browser = browser_of()
    asked = browser.get("/account/password").headers["Location"]
    assert asked == "/login?next=/account/password"

    for given, reached in [
        ("/account/password?x=1", "/account/password?x=1"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/ok\r\nX: y", "/"),
    ]:
        other = browser_of()
        other.get("/login")
        answer = other.post("/login", {"username": "wang", "password": PASSWORD, "next": given})
        assert (answer.status_code, answer.headers["Location"]) == (303, reached)
