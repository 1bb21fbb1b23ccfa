"""Flask-Security on our works: who the cookie stands for, and how a browser signs in and out.

The cookie is signed, holds keys and two moments and no data, and is worth nothing without its row in
`account_session`. Flask-Security's own pages are not used: our sign-in counts tries before it hashes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from flask import Flask, g, request, session
from flask_security import current_user
from flask_security.core import Security
from flask_security.datastore import SQLAlchemyUserDatastore
from flask_security.utils import login_user
from sqlalchemy.orm import Session

from hcrm.accounts.models import Account, Role
from hcrm.accounts.passwords import verify_password
from hcrm.accounts.queries import actor_for, find_token, role_label, token_actor
from hcrm.accounts.service import hash_token, touch_token
from hcrm.accounts.sign_in import (
    WRONG,
    begin_attempt,
    end_session,
    is_session_open,
    refuse_attempt,
    start_session,
)
from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.errors import HcrmError
from hcrm.core.work import Work, open_work
from hcrm.web.shell import SignedIn, current_shell

_SESSION, _SEEN, _ACCOUNT = "session", "seen", "account"
REFRESH = "X-Refresh"
"""Sent with what a page asks for by itself, every few seconds: nobody touched it, so the session grows idle (W2)."""
_SIGNED_IN = ("_user_id", "_fresh", "_id", "fs_cc", "fs_paa", _SESSION, _SEEN)
"""What a browser loses when its session ends. `account` stays: a kept form goes back to the same person only."""


class _WorkSession:
    """The database session of the work at hand, for a datastore that wants to own one."""

    @property
    def session(self) -> Session:
        work: Work = g.accounts_work
        return work.session


class WorkDatastore(SQLAlchemyUserDatastore):
    """Flask-Security's datastore within our works: it flushes, the work commits."""

    def __init__(self) -> None:
        super().__init__(_WorkSession(), Account, Role)

    def commit(self) -> None:
        """Write, so that a refusal comes now; whether it stays is decided by the work, together with its audit."""
        self.db.session.flush()

    def find_user(self, case_insensitive: bool = False, **kwargs: Any) -> Any:
        """The account by one value; nobody outside a work: a static file needs no person."""
        return super().find_user(case_insensitive, **kwargs) if "accounts_work" in g else None


@contextmanager
def accounts_work(actor: Actor, *, write: bool) -> Iterator[Work]:
    """A work that Flask-Security's datastore shares."""
    runtime = current_shell().runtime
    with open_work(runtime.database, actor=actor, clock=runtime.clock, write=write) as work:
        g.accounts_work = work
        try:
            yield work
        finally:
            del g.accounts_work


def init_security(app: Flask) -> None:
    """Sessions and hashing by Flask-Security, with plain cookie sessions and without pages of its own."""
    app.config.update(
        SECURITY_PASSWORD_HASH="argon2",  # noqa: S106  the name of a function
        SECURITY_PASSWORD_SCHEMES=["argon2"],
        SECURITY_DEPRECATED_PASSWORD_SCHEMES=[],
        SECURITY_PASSWORD_SINGLE_HASH={"argon2"},  # no second secret to lose: the hash is whole by itself
        SECURITY_CLI_USERS_NAME=False,
        SECURITY_CLI_ROLES_NAME=False,
        SECURITY_DEFAULT_REMEMBER_ME=False,
    )
    security = Security(app, WorkDatastore(), register_blueprint=False)
    # People sign in by the page; machines have tokens of their own kind. Flask-Security's tokens are not accepted.
    security.login_manager.request_loader(lambda _request: None)


def visitor() -> Actor:
    """Somebody who has not signed in."""
    return Actor(
        id="visitor", name="未登录", kind="visitor", department_ids=frozenset(), address=request.remote_addr
    )


# ── the session a request comes with ────────────────────────────────────────


def load_person() -> SignedIn | None:
    """Who the request's cookie stands for; a session that is over is forgotten."""
    if "_user_id" not in session or _SESSION not in session:
        return None
    now = int(current_shell().runtime.clock.now().timestamp())
    person = None
    if now - session.get(_SEEN, 0) < limits.SESSION_IDLE_SECONDS:
        person = _person_of_cookie()
    if person is None:
        forget_session()
    elif now - session[_SEEN] >= limits.TOUCH_SECONDS and REFRESH not in request.headers:
        session[_SEEN] = now
    return person


def _person_of_cookie() -> SignedIn | None:
    g.pop("_login_user", None)  # Flask-Principal may have asked before there was a work, and heard: nobody
    with accounts_work(visitor(), write=False) as work:
        account = current_user._get_current_object()  # noqa: SLF001  werkzeug's name for "not the proxy"
        if not isinstance(account, Account):
            return None  # the account is closed, or its password or roles have changed
        if not is_session_open(work, session_id=session[_SESSION], account_id=account.id):
            return None
        return SignedIn(
            actor=actor_for(work, account, address=request.remote_addr),
            role_label=role_label(account),
            session_id=session[_SESSION],
            must_visit="accounts.change_password" if account.must_change_password else None,
        )


def ended_account_id() -> str:
    """Whose session this browser had last."""
    return str(session.get(_ACCOUNT, ""))


def ended_username() -> str:
    """The user name of that account, for the login page that carries a form."""
    account_id = ended_account_id()
    if not account_id:
        return ""
    with accounts_work(visitor(), write=False) as work:
        account = work.session.get(Account, account_id)
        return account.username if account else ""


def forget_session() -> None:
    """Take the signed-in part out of the cookie."""
    for name in _SIGNED_IN:
        session.pop(name, None)


# ── signing in and out ──────────────────────────────────────────────────────


def sign_in(username: str, password: str) -> Account:
    """Check a password and begin a session; every refusal sounds the same.

    Two short works with the hashing between them: no lock is held while it runs. The cookie is written after the
    second one is committed, so that a failed audit row leaves nobody signed in.
    """
    with accounts_work(visitor(), write=True) as work:
        attempt = begin_attempt(work, username=username, address=request.remote_addr or "")
    account = None
    if verify_password(password, attempt.password_hash):
        with accounts_work(_actor_of(attempt.account_id), write=True) as work:
            account, session_id = start_session(work, attempt=attempt)
    if account is None:
        with accounts_work(visitor(), write=True) as work:
            refuse_attempt(work, attempt=attempt)
        raise HcrmError("login.refused", WRONG, status=401)
    remember_session(account, session_id)
    return account


def _actor_of(account_id: str | None) -> Actor:
    with accounts_work(visitor(), write=False) as work:
        account = work.session.get(Account, account_id or "")
        return actor_for(work, account, address=request.remote_addr) if account else work.actor


def remember_session(account: Account, session_id: str) -> None:
    """Write the cookie of a session that has begun. What another person left in it goes first (C53)."""
    token = session.get("csrf_token") if ended_account_id() == account.id else None
    session.clear()
    if token:
        session["csrf_token"] = token  # forms still open in the same person's other tabs stay good
    login_user(account, authn_via=["password"])
    session[_ACCOUNT] = account.id
    session[_SESSION] = session_id
    session[_SEEN] = int(current_shell().runtime.clock.now().timestamp())


def sign_out() -> None:
    """End the session; a copy of the cookie is dead too."""
    session_id = session.get(_SESSION, "")
    with accounts_work(g.actor, write=True) as work:
        end_session(work, session_id=session_id)
    forget_session()
    session.pop("csrf_token", None)


# ── machines ────────────────────────────────────────────────────────────────


def find_machine(token: str) -> Actor | None:
    """Who shows this bearer token. Its use is noted at most once a minute: a read must not cost a write each time."""
    with accounts_work(visitor(), write=False) as work:
        found = find_token(work, hash_token(token))
        if found is None:
            return None
        actor = token_actor(found, address=request.remote_addr)
        since = work.clock.now() - timedelta(seconds=limits.TOUCH_SECONDS)
    if found.last_used_at is None or found.last_used_at <= since:
        with accounts_work(actor, write=True) as work:
            touch_token(work, token_id=found.id)
    return actor
