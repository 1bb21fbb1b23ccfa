"""Reading accounts and tokens; who acts for an account."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from hcrm.accounts.models import Account, ApiToken, Role
from hcrm.accounts.permissions import RowScope, roles
from hcrm.accounts.sign_in import clean_username
from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.errors import NotFoundError
from hcrm.core.work import Work
from hcrm.directory.models import Department, Practitioner
from hcrm.web.paging import Page, keyset_page


def get_account(work: Work, account_id: str) -> Account:
    """The account of that id."""
    return work.get(Account, account_id)


def account_named(work: Work, username: str) -> Account:
    """The account of that user name, however it is written."""
    name = clean_username(username)
    found = work.session.scalar(sa.select(Account).where(Account.username == name))
    if found is None:
        raise NotFoundError("account.unknown", f"没有账号 {name}")
    return found


def actor_for(work: Work, account: Account, *, address: str | None = None) -> Actor:
    """Who acts when this person is signed in: permissions of all their roles, and the widest of their row scopes.

    A role that `config/roles.yaml` no longer names gives nothing.
    """
    held = [(role.name, roles()[role.name]) for role in account.roles if role.name in roles()]
    scopes = {definition.scope for _, definition in held}
    departments: frozenset[str] | None = frozenset()
    if RowScope.ALL in scopes:
        departments = None
    elif RowScope.DEPARTMENT in scopes:
        departments = _departments(work, account)
    return Actor(
        id=account.id, name=account.display_name, kind="person", address=address,
        permissions=frozenset().union(*(definition.words for _, definition in held)),
        roles=tuple(name for name, _ in held), department_ids=departments, practitioner_id=account.practitioner_id,
    )  # fmt: skip


def _departments(work: Work, account: Account) -> frozenset[str]:
    """The account's department, the one its physician belongs to in the directory, and the wards under both."""
    found = {account.department_id}
    if account.practitioner_id:
        found.add(
            work.scalar(
                sa.select(Practitioner.department_id).where(Practitioner.id == account.practitioner_id)
            )
        )
    own = {key for key in found if key}
    return frozenset(own.union(work.scalars(sa.select(Department.id).where(Department.parent_id.in_(own)))))


def role_label(account: Account) -> str:
    """The account's roles as people read them."""
    return "、".join(
        roles()[role.name].label if role.name in roles() else role.label for role in account.roles
    )


def token_actor(token: ApiToken, *, address: str | None = None) -> Actor:
    """Who acts when a machine shows this token: its scopes are its permissions, it sees every row."""
    return Actor(
        id=f"token:{token.id}", name=token.name, kind="machine", address=address,
        permissions=frozenset(token.scopes.split()), department_ids=None,
    )  # fmt: skip


def find_token(work: Work, token_sha256: str) -> ApiToken | None:
    """The token of that hash, unless it was revoked."""
    return work.session.scalar(
        sa.select(ApiToken).where(ApiToken.token_sha256 == token_sha256, ApiToken.revoked_at.is_(None))
    )


def list_tokens(work: Work) -> Sequence[ApiToken]:
    """Every token, the latest first."""
    return work.session.scalars(sa.select(ApiToken).order_by(ApiToken.created_at.desc())).all()


@dataclass(frozen=True, slots=True)
class AccountLine:
    """One line of the list of accounts."""

    id: str
    username: str
    display_name: str
    roles: str
    department: str | None
    active: bool
    last_login_at: datetime | None


def list_accounts(
    work: Work, *, role: str | None = None, key: str | None = None, size: int = limits.PAGE_SIZE
) -> Page[AccountLine]:
    """Accounts by name."""
    statement = sa.select(Account)
    if role:
        statement = statement.where(Account.roles.any(Role.name == role))
    page = keyset_page(work, statement, order=(Account.username,), key=key, size=size)
    departments = _names(work, [account.department_id for account in page.items if account.department_id])
    lines = [
        AccountLine(
            id=account.id, username=account.username, display_name=account.display_name, roles=role_label(account),
            department=departments.get(account.department_id or ""), active=account.active,
            last_login_at=account.last_login_at,
        )
        for account in page.items
    ]  # fmt: skip
    return Page(items=lines, next_key=page.next_key, previous_key=page.previous_key)


def list_departments(work: Work) -> list[tuple[str, str]]:
    """Code and name of every department, for choosing one."""
    rows = work.execute(
        sa.select(Department.code, Department.name).order_by(Department.name, Department.code)
    )
    return [(row.code, row.name) for row in rows]


def _names(work: Work, ids: Sequence[str]) -> dict[str, str]:
    if not ids:
        return {}
    rows = work.execute(sa.select(Department.id, Department.name).where(Department.id.in_(ids)))
    return {row.id: row.name for row in rows}
