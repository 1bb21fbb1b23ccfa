"""Writes on accounts and tokens. Passwords arrive hashed: hashing is slow on purpose and must not hold a lock."""

import hashlib
import re
import secrets
from collections.abc import Sequence

import sqlalchemy as sa

from hcrm.accounts.models import Account, ApiToken, Role
from hcrm.accounts.permissions import SCOPES, role_named, roles
from hcrm.accounts.queries import get_account
from hcrm.accounts.sign_in import clean_username, end_sessions
from hcrm.audit.service import record_audit
from hcrm.core.errors import ConflictError, HcrmError
from hcrm.core.work import Work
from hcrm.directory.models import Department, Practitioner

_USERNAME = re.compile(r"[a-z0-9_.@-]{1,64}")


def sync_roles(work: Work) -> None:
    """Give every role of `config/roles.yaml` its row, and every row its present label."""
    known = {role.name: role for role in work.all(Role)}
    for name, definition in roles().items():
        if name not in known:
            work.add(Role(id=work.new_id(), name=name, label=definition.label))
        elif known[name].label != definition.label:
            known[name].label = definition.label


def add_account(
    work: Work, *, username: str, password_hash: str, role_names: Sequence[str], display_name: str = "",
    department_code: str | None = None, practitioner_code: str | None = None, must_change_password: bool = False,
) -> Account:  # fmt: skip
    """An account for a person. Department and physician may be unknown yet: they wait unverified in the directory."""
    name = clean_username(username)
    if not _USERNAME.fullmatch(name):
        raise HcrmError("account.username", "账号只能用字母、数字和 . _ - @", field="username")
    if work.scalar(sa.select(Account.id).where(Account.username == name)):
        raise HcrmError("account.exists", f"账号 {name} 已存在", field="username")
    department = _department(work, department_code)
    practitioner = _practitioner(
        work, practitioner_code, display_name.strip() or username.strip(), department
    )
    account = Account(
        id=work.new_id(), username=name, password=password_hash, active=True, fs_uniquifier=secrets.token_hex(16),
        display_name=display_name.strip() or (practitioner.name if practitioner else username.strip()),
        must_change_password=must_change_password, created_at=work.clock.now(),
        department_id=department.id if department else practitioner.department_id if practitioner else None,
        practitioner_id=practitioner.id if practitioner else None, roles=_roles(work, role_names),
    )  # fmt: skip
    work.add(account)
    _note(work, "account.create", account, roles=sorted(role_names))
    return account


def ensure_sysadmin(work: Work, *, username: str, password_hash: str) -> Account | None:
    """The first system administrator; None where there is one already."""
    sync_roles(work)
    if work.scalar(sa.select(Account.id).where(Account.roles.any(Role.name == "sysadmin")).limit(1)):
        return None
    return add_account(
        work, username=username, password_hash=password_hash, role_names=["sysadmin"], display_name="系统管理员",
        must_change_password=True,
    )  # fmt: skip


def set_roles(work: Work, *, account_id: str, role_names: Sequence[str]) -> None:
    """Give an account these roles and no others; its sessions end."""
    account = get_account(work, account_id)
    if "sysadmin" not in role_names:
        _keep_a_sysadmin(work, account)
    account.roles = _roles(work, role_names)
    _cut_off(work, account)
    _note(work, "account.roles", account, roles=sorted(role_names))


def disable_account(work: Work, *, account_id: str) -> None:
    """Close an account; its sessions end at once, what it wrote keeps its name."""
    account = get_account(work, account_id)
    if account.id == work.actor.id:
        raise ConflictError("account.self", "不能停用自己的账号")
    _keep_a_sysadmin(work, account)
    account.active = False
    _cut_off(work, account)
    _note(work, "account.disable", account)


def enable_account(work: Work, *, account_id: str) -> None:
    """Open a closed account again."""
    account = get_account(work, account_id)
    account.active = True
    _note(work, "account.enable", account)


def reset_password(work: Work, *, account_id: str, password_hash: str) -> None:
    """A password chosen for somebody else: to be changed at the next sign-in; their sessions end."""
    account = get_account(work, account_id)
    account.password = password_hash
    account.must_change_password = True
    _cut_off(work, account)
    _note(work, "account.password_reset", account)


def change_password(work: Work, *, account_id: str, old_hash: str | None, password_hash: str) -> Account:
    """One's own password; every session ends, the caller starts a new one. `old_hash` was verified outside."""
    account = get_account(work, account_id)
    if account.password != old_hash:
        raise ConflictError("password.changed", "密码已在别处更改，请重新登录")
    account.password = password_hash
    account.must_change_password = False
    _cut_off(work, account)
    _note(work, "account.password_change", account)
    return account


def create_token(work: Work, *, name: str, scopes: Sequence[str]) -> str:
    """A bearer token for a machine client, shown this once; the table keeps its hash."""
    name = name.strip()
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise HcrmError(
            "token.scope", f"没有这样的范围：{'、'.join(unknown)}（可用：{'、'.join(SCOPES)}）", field="scope"
        )
    if not name:
        raise HcrmError("token.name", "请填写令牌名称", field="name")
    if work.scalar(sa.select(ApiToken.id).where(ApiToken.name == name)):
        raise HcrmError("token.exists", f"令牌 {name} 已存在", field="name")
    token = f"hcrm_{secrets.token_urlsafe(32)}"
    row = ApiToken(
        id=work.new_id(), name=name, token_sha256=hash_token(token), scopes=" ".join(dict.fromkeys(scopes)),
        created_at=work.clock.now(), last_used_at=None, revoked_at=None,
    )  # fmt: skip
    work.add(row)
    record_audit(
        work,
        action="token.create",
        subject_type="api_token",
        subject_id=row.id,
        detail={"scopes": row.scopes},
    )
    return token


def revoke_token(work: Work, *, name: str) -> None:
    """Make a token worthless."""
    row = work.session.scalar(sa.select(ApiToken).where(ApiToken.name == name.strip()))
    if row is None:
        raise HcrmError("token.unknown", f"没有这个令牌：{name}", field="name")
    if row.revoked_at is None:
        row.revoked_at = work.clock.now()
        record_audit(work, action="token.revoke", subject_type="api_token", subject_id=row.id)


def touch_token(work: Work, *, token_id: str) -> None:
    """Note that a token was used."""
    work.execute(sa.update(ApiToken).where(ApiToken.id == token_id).values(last_used_at=work.clock.now()))


def hash_token(token: str) -> str:
    """What the table keeps. A token is 256 random bits: a plain hash cannot be guessed back."""
    return hashlib.sha256(token.encode()).hexdigest()


def _roles(work: Work, names: Sequence[str]) -> list[Role]:
    if not names:
        raise HcrmError("role.none", "请至少选择一个角色", field="role")
    for name in names:
        role_named(name)
    found = list(work.all(Role, Role.name.in_(names)))
    if len(found) == len(set(names)):
        return found
    sync_roles(work)
    return list(work.all(Role, Role.name.in_(names)))


def _cut_off(work: Work, account: Account) -> None:
    """A new identity for the cookie, and an end for every session: either alone would do (C53)."""
    account.fs_uniquifier = secrets.token_hex(16)
    end_sessions(work, account_id=account.id)


def _keep_a_sysadmin(work: Work, account: Account) -> None:
    if not any(role.name == "sysadmin" for role in account.roles):
        return
    others = sa.select(Account.id).where(
        Account.roles.any(Role.name == "sysadmin"), Account.active, Account.id != account.id
    )
    if not work.scalar(others.limit(1)):
        raise ConflictError("account.last_sysadmin", "这是最后一个系统管理员账号，不能停用或改换角色")


def _department(work: Work, code: str | None) -> Department | None:
    code = (code or "").strip()
    if not code:
        return None
    found = work.session.scalar(sa.select(Department).where(Department.code == code))
    if found is None:
        found = Department(
            id=work.new_id(), code=code, name=code, is_verified=False, created_at=work.clock.now()
        )
        work.add(found)
    return found


def _practitioner(
    work: Work, code: str | None, name: str, department: Department | None
) -> Practitioner | None:
    code = (code or "").strip()
    if not code:
        return None
    found = work.session.scalar(sa.select(Practitioner).where(Practitioner.code == code))
    if found is None:
        found = Practitioner(
            id=work.new_id(), code=code, name=name, is_verified=False,
            department_id=department.id if department else None, created_at=work.clock.now(),
        )  # fmt: skip
        work.add(found)
    return found


def _note(work: Work, action: str, account: Account, **detail: object) -> None:
    record_audit(work, action=action, subject_type="account", subject_id=account.id, detail=detail or None)
