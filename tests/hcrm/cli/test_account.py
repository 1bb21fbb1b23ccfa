"""`hcrm account` and `hcrm token`, as an administrator types them."""

import re

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from hcrm.accounts.models import Account, ApiToken
from hcrm.accounts.passwords import verify_password
from hcrm.accounts.service import hash_token
from hcrm.cli.main import main
from hcrm.core.actor import system_actor
from hcrm.core.crypto import make_key_file
from hcrm.core.db import Database
from hcrm.core.installation import ensure_key_mark
from hcrm.core.work import open_work
from tests.support.console import cheap_passwords

__all__ = ["cheap_passwords"]


@pytest.fixture
def hcrm(database_url, tmp_path, monkeypatch):
    """Run a command; its result."""
    path = tmp_path / "keys"
    database = Database(database_url, make_key_file(path))
    with open_work(database, actor=system_actor("test")) as work:
        ensure_key_mark(work)
    database.dispose()
    monkeypatch.setenv("HCRM_KEY_FILE", str(path))

    def run(*words, given=None):
        return CliRunner().invoke(main, [*words, "--db", database_url], input=given)

    return run


@pytest.fixture
def accounts(database):
    def read(model=Account):
        with open_work(database, actor=system_actor("test"), write=False) as work:
            return work.session.scalars(sa.select(model)).unique().all()

    return read


def test_an_account_with_a_password_from_standard_input(hcrm, accounts):
    result = hcrm(
        "account", "add", "DrZhang", "--role", "physician", "--department", "CARD", "--practitioner", "D001",
        "--password-stdin", given="a long password\n",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    assert "a long password" not in result.output
    (account,) = accounts()
    assert verify_password("a long password", account.password)
    assert (account.username, account.display_name, account.must_change_password) == (
        "drzhang",
        "DrZhang",
        False,
    )
    assert account.department_id
    assert account.practitioner_id


def test_an_account_without_one_gets_a_password_shown_once(hcrm, accounts):
    result = hcrm("account", "add", "li", "--role", "agent", "--role", "auditor")

    password = re.search(r"：((?:[a-z0-9]{4}-){3}[a-z0-9]{4})", result.output)[1]
    (account,) = accounts()
    assert verify_password(password, account.password)
    assert account.must_change_password
    assert sorted(role.name for role in account.roles) == ["agent", "auditor"]


def test_a_code_nobody_knows_yet_is_said_once(hcrm):
    words = ("--role", "physician", "--department", "K99", "--practitioner", "9999")

    first = hcrm("account", "add", "zhang", *words)
    second = hcrm("account", "add", "wang", *words)

    assert first.exit_code == 0
    assert "注意：目录中没有科室 K99，已新建（未核实）" in first.stderr
    assert "注意：目录中没有医师 9999，已新建（未核实）" in first.stderr
    assert "注意" not in second.output


def test_a_physician_without_department_or_number_is_said_to_see_nothing(hcrm):
    assert (
        "注意：医师没有科室和工号，工作列表会是空的"
        in hcrm("account", "add", "a", "--role", "physician").stderr
    )
    assert "注意" not in hcrm("account", "add", "b", "--role", "agent").output


@pytest.mark.parametrize(
    ("words", "given", "code", "said"),
    [
        (("account", "add", "x", "--role", "emperor"), None, 2, "emperor"),
        (("account", "add", "x", "--role", "agent", "--password-stdin"), "short\n", 1, "密码至少 8 位"),
        (("account", "add", "x y", "--role", "agent"), None, 1, "账号只能用字母"),
        (("account", "roles", "nobody", "--role", "agent"), None, 1, "没有账号 nobody"),
        (("account", "reset", "nobody"), None, 1, "没有账号 nobody"),
        (("token", "create", "x", "--scope", "everything"), None, 1, "没有这样的范围：everything"),
        (("token", "create", "x", "--scope", ","), None, 1, "没有这样的范围"),
        (("token", "revoke", "x"), None, 1, "没有这个令牌"),
    ],
)
def test_a_refusal_is_one_line_and_an_exit_code(hcrm, accounts, words, given, code, said):
    result = hcrm(*words, given=given)

    assert result.exit_code == code
    assert said in result.output
    assert "Traceback" not in result.output
    assert accounts() == []


def test_a_token_alone_on_standard_output_and_only_its_hash_in_the_table(hcrm, accounts):
    result = hcrm("token", "create", "engine", "--scope", "fhir.read,inbox.write")

    token = result.stdout.strip()
    assert "只显示这一次" in result.stderr
    (row,) = accounts(ApiToken)
    assert token.startswith("hcrm_")
    assert (row.token_sha256, row.scopes) == (hash_token(token), "fhir.read inbox.write")
    assert "engine" in hcrm("token", "list").output
    assert hcrm("token", "create", "engine", "--scope", "fhir.read").exit_code == 1
    assert hcrm("token", "revoke", "engine").exit_code == 0
    assert "已吊销" in hcrm("token", "list").output


def test_the_list_names_accounts_and_no_password(hcrm):
    hcrm("account", "add", "li", "--role", "agent", "--password-stdin", given="a long password\n")

    output = hcrm("account", "list").output

    assert "li\tli\t客服话务\t-\t启用" in output
    assert "argon2" not in output


def test_roles_are_replaced_and_the_last_administrator_stays(hcrm, accounts):
    hcrm("account", "add", "li", "--role", "agent")
    hcrm("account", "add", "root", "--role", "sysadmin")

    assert (
        "li 现为：医师、科主任"
        in hcrm("account", "roles", "Li", "--role", "physician", "--role", "department_head").output
    )
    refused = hcrm("account", "roles", "root", "--role", "agent")

    assert refused.exit_code == 1
    held = {account.username: {role.name for role in account.roles} for account in accounts()}
    assert held == {"li": {"physician", "department_head"}, "root": {"sysadmin"}}


def test_a_reset_password_is_shown_once_and_has_to_be_changed(hcrm, accounts):
    hcrm("account", "add", "li", "--role", "agent", "--password-stdin", given="a long password\n")

    password = re.search(r"：(\S+)$", hcrm("account", "reset", "li").output.strip())[1]

    (account,) = accounts()
    assert verify_password(password, account.password)
    assert account.must_change_password
