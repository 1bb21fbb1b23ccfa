"""The system administrator's pages: accounts made, closed, opened, given a new password."""

import re

import pytest
import sqlalchemy as sa

from hcrm.accounts.models import Account
from hcrm.audit.models import AuditEvent
from hcrm.core.actor import system_actor
from hcrm.core.work import open_work
from hcrm.directory.models import Department

NEW = {
    "username": "Zhang01",
    "display_name": "张医生",
    "role": "physician",
    "department": "CARD",
    "practitioner": "D7",
}
SECRET = re.compile(r"<dd>((?:[a-z0-9]{4}-){3}[a-z0-9]{4})</dd>")


@pytest.fixture
def admin(browser_of, make_person):
    make_person("admin", roles=["sysadmin"], display_name="管理员")
    return browser_of("admin")


@pytest.fixture
def read(database, clock):
    def run(statement):
        with open_work(database, actor=system_actor("test"), clock=clock, write=False) as work:
            return work.session.scalars(statement).unique().all()

    return run


def test_the_menu_leads_the_administrator_to_the_accounts(admin):
    page = admin.get("/accounts")

    assert page.status_code == 200
    assert '<a href="/accounts" class="active" aria-current="page">' in page.text


def test_a_new_account_gets_a_password_shown_once_and_has_to_change_it(admin, browser_of, read):
    made = admin.post("/accounts/new", NEW)
    password = SECRET.search(made.text)[1]
    person = browser_of()

    assert person.log_in("zhang01", password).status_code == 303
    assert person.get("/").headers["Location"] == "/account/password"
    assert password not in admin.get("/accounts").text
    (account,) = read(sa.select(Account).where(Account.username == "zhang01"))
    assert (account.display_name, [role.name for role in account.roles]) == ("张医生", ["physician"])
    (department,) = read(sa.select(Department).where(Department.code == "CARD"))
    assert (account.department_id, department.is_verified) == (department.id, False)
    (event,) = read(
        sa.select(AuditEvent).where(AuditEvent.action == "account.create", AuditEvent.actor_name == "管理员")
    )
    assert (event.subject_id, event.detail) == (account.id, {"roles": ["physician"]})


@pytest.mark.parametrize(
    ("change", "field", "sentence"),
    [
        ({"username": ""}, "username", "此项必填"),
        ({"username": "张 三"}, "username", "账号只能用字母、数字和 . _ - @"),
        ({"username": "admin"}, "username", "账号 admin 已存在"),
        ({"username": "x" * 65}, "username", "最多 64 个字"),
        ({"role": []}, "role", "此项必填"),
        ({"role": "emperor"}, "role", "没有这个角色"),
        ({"is_admin": "1"}, None, "不认识的字段"),
    ],
)
def test_a_refused_account_keeps_what_was_typed_and_says_why(admin, read, change, field, sentence):
    answer = admin.post("/accounts/new", NEW | change)

    assert answer.status_code == 422
    assert sentence in answer.text
    assert field is None or f'id="error-{field}"' in answer.text
    assert 'value="张医生"' in answer.text
    assert read(sa.select(Account).where(Account.display_name == "张医生")) == []


def test_closing_and_opening_an_account(admin, make_person, browser_of):
    account = make_person("li")
    person = browser_of("li")

    assert admin.post(f"/accounts/{account.id}/disable").status_code == 303
    assert person.get("/account/password").status_code == 303
    assert "已停用" in admin.get("/accounts").text
    assert browser_of().log_in("li").status_code == 401

    admin.post(f"/accounts/{account.id}/enable")
    assert browser_of().log_in("li").status_code == 303


def test_a_password_reset_is_shown_once_and_ends_the_sessions(admin, make_person, browser_of):
    account = make_person("li")
    person = browser_of("li")

    password = SECRET.search(admin.post(f"/accounts/{account.id}/password").text)[1]

    assert person.get("/account/password").status_code == 303
    assert browser_of().log_in("li", password).status_code == 303


def test_nobody_closes_their_own_account_or_the_last_administrator(admin, read, make_person, browser_of):
    (me,) = read(sa.select(Account).where(Account.username == "admin"))

    assert admin.post(f"/accounts/{me.id}/disable").status_code == 409
    assert admin.get("/accounts").status_code == 200


def test_an_account_that_does_not_exist_is_a_404(admin):
    for path in ("disable", "enable", "password"):
        assert admin.post(f"/accounts/{'0' * 32}/{path}").status_code == 404


def test_the_list_is_filtered_by_role_and_pages(admin, make_person):
    for number in range(60):
        make_person(f"agent{number:02}", roles=["agent"])

    first = admin.get("/accounts?role=agent")

    assert "agent00" in first.text
    assert "agent59" not in first.text
    assert ">admin<" not in first.text
    following = re.search(r'rel="next" href="([^"]+)"', first.text)[1].replace("&amp;", "&")
    assert "agent59" in admin.get(following).text
    assert admin.get("/accounts?key=nonsense").status_code == 400


def test_names_are_shown_as_text(admin, make_person):
    make_person("x", display_name="<img src=x onerror=alert(1)>")

    assert "&lt;img src=x" in admin.get("/accounts").text
