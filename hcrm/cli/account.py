"""`hcrm account` and `hcrm token`: people and machines that may sign in. Here and not in accounts: a layer above it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
import sqlalchemy as sa

from hcrm.accounts.passwords import check_new_password, hash_password, make_password
from hcrm.accounts.permissions import SCOPES, roles
from hcrm.accounts.queries import account_named, list_accounts, list_tokens
from hcrm.accounts.service import add_account, create_token, reset_password, revoke_token, set_roles
from hcrm.cli.options import Bilingual, db_option, settings_for
from hcrm.core.actor import system_actor
from hcrm.core.clock import local_time
from hcrm.core.runtime import open_database
from hcrm.core.work import Work, open_work
from hcrm.directory.models import Department, Practitioner


@contextmanager
def _work(db: str, *, write: bool = True) -> Iterator[Work]:
    """The one work of a command, on a database opened for it."""
    database = open_database(settings_for(db))
    try:
        with open_work(database, actor=system_actor("cli"), write=write) as work:
            yield work
    finally:
        database.dispose()


_role_option = click.option(
    "--role",
    "role_names",
    multiple=True,
    required=True,
    type=click.Choice(list(roles())),
    help="角色，可多次 | role, repeatable",
)


@click.group(cls=Bilingual, help="账号 | accounts of people")
def account() -> None:
    """Accounts of people."""


@account.command(
    help="建立账号；不给密码则生成一个，只显示一次 | make an account; prints a password once unless one is given"
)
@click.argument("name")
@_role_option
@click.option("--department", default="", help="科室代码 | department code")
@click.option("--practitioner", default="", help="医师工号 | staff number")
@click.option("--display-name", default="", help="姓名 | name people see")
@click.option(
    "--password-stdin", is_flag=True, help="从标准输入读密码 | read the password from standard input"
)
@db_option
def add(
    db: str, name: str, role_names: tuple[str, ...], department: str, practitioner: str, display_name: str,
    password_stdin: bool,
) -> None:  # fmt: skip
    """A password somebody chose is kept; one made here has to be changed at the first sign-in."""
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else make_password()
    check_new_password(password, username=name)
    password_hash = hash_password(password)
    with _work(db) as work:
        doubts = _doubts(work, role_names, department.strip(), practitioner.strip())
        made = add_account(
            work, username=name, password_hash=password_hash, role_names=role_names, display_name=display_name,
            department_code=department, practitioner_code=practitioner, must_change_password=not password_stdin,
        )  # fmt: skip
    click.echo(f"已建立账号 {made.username}（{'、'.join(roles()[role].label for role in role_names)}）")
    for doubt in doubts:
        click.echo(f"注意：{doubt}", err=True)
    if not password_stdin:
        click.echo(f"初始密码（只显示这一次）：{password}")


def _doubts(work: Work, role_names: tuple[str, ...], department: str, practitioner: str) -> list[str]:
    """What may be a slip of the pen: codes the directory does not know yet, a physician without any."""
    doubts = [
        f"目录中没有{word} {code}，已新建（未核实）"
        for word, code, known in (
            ("科室", department, sa.exists().where(Department.code == department)),
            ("医师", practitioner, sa.exists().where(Practitioner.code == practitioner)),
        )
        if code and not work.scalar(sa.select(known))
    ]
    missing = [word for word, code in (("科室", department), ("工号", practitioner)) if not code]
    if "physician" in role_names and missing:
        doubts.append(f"医师没有{'和'.join(missing)}，工作列表会是空的")
    return doubts


@account.command(
    "roles", help="改角色：给出的就是全部，其会话随即结束 | give an account these roles and no others"
)
@click.argument("name")
@_role_option
@db_option
def change_roles(db: str, name: str, role_names: tuple[str, ...]) -> None:
    """Their sessions end, so that nobody goes on with rights they no longer have."""
    with _work(db) as work:
        found = account_named(work, name)
        set_roles(work, account_id=found.id, role_names=role_names)
    click.echo(f"{found.username} 现为：{'、'.join(roles()[role].label for role in role_names)}")


@account.command(
    "reset", help="重设密码，新密码只显示一次 | a new password, printed once, for one who forgot theirs"
)
@click.argument("name")
@db_option
def reset(db: str, name: str) -> None:
    """Also the way back in for the only administrator."""
    password = make_password()
    password_hash = hash_password(password)
    with _work(db) as work:
        found = account_named(work, name)
        reset_password(work, account_id=found.id, password_hash=password_hash)
    click.echo(f"{found.username} 的新密码（只显示这一次，登录后须更改）：{password}")


@account.command("list", help="列出账号 | list accounts")
@db_option
def show(db: str) -> None:
    """One line each."""
    with _work(db, write=False) as work:
        key = None
        while True:
            page = list_accounts(work, key=key, size=500)
            for line in page.items:
                state = "启用" if line.active else "停用"
                click.echo(
                    "\t".join((line.username, line.display_name, line.roles, line.department or "-", state))
                )
            key = page.next_key
            if key is None:
                break


@click.group(cls=Bilingual, help="接口令牌 | bearer tokens of machines")
def token() -> None:
    """Bearer tokens of machines."""


@token.command(help="建立令牌，只显示一次 | make a token, printed once")
@click.argument("name")
@click.option(
    "--scope", required=True, metavar="SCOPE[,SCOPE]",
    help=f"范围：{' '.join(SCOPES)} | scopes: {' '.join(SCOPES)}",
)  # fmt: skip
@db_option
def create(db: str, name: str, scope: str) -> None:
    """Only the token on standard output, so that a script may take it."""
    with _work(db) as work:
        made = create_token(
            work, name=name, scopes=[word.strip() for word in scope.split(",") if word.strip()]
        )
    click.echo(made)
    click.echo("以上令牌只显示这一次，请立即保存", err=True)


@token.command(help="吊销令牌 | make a token worthless")
@click.argument("name")
@db_option
def revoke(db: str, name: str) -> None:
    """From the next request on."""
    with _work(db) as work:
        revoke_token(work, name=name)
    click.echo(f"已吊销 {name}")


@token.command("list", help="列出令牌 | list tokens")
@db_option
def show_tokens(db: str) -> None:
    """Name, scopes, last use; never the token."""
    with _work(db, write=False) as work:
        for row in list_tokens(work):
            used = local_time(row.last_used_at).strftime("%Y-%m-%d %H:%M") if row.last_used_at else "-"
            click.echo("\t".join((row.name, row.scopes, used, "已吊销" if row.revoked_at else "有效")))
