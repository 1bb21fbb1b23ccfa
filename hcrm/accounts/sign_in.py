"""Signing in and out: tries are counted before anything is hashed, sessions are rows that can end.

Five wrong passwords of an account, or thirty from an address, within fifteen minutes make every further answer wait,
each time twice as long; nobody is locked out for good (W2). A try is written down before the password is looked at,
so that many at once cannot slip through, and forgotten when the password was right.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from hcrm.accounts.kept_search import forget_searches
from hcrm.accounts.models import Account, AccountSession, LoginAttempt
from hcrm.audit.models import AuditOutcome
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.errors import HcrmError
from hcrm.core.text import half_width
from hcrm.core.work import Work

WRONG = "工号或密码不正确"
"""The one answer to a wrong name, a wrong password and a closed account (C54)."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try, counted; what the password is compared with."""

    account_key: str
    account_id: str | None
    password_hash: str | None


class TooManyTriesError(HcrmError):
    """The answer has to wait."""

    def __init__(self, wait: timedelta) -> None:
        self.seconds = max(1, round(wait.total_seconds()))
        words = f"{self.seconds} 秒" if self.seconds < 120 else f"{-(-self.seconds // 60)} 分钟"
        super().__init__("login.wait", f"尝试次数过多，请 {words}后再试", status=429)


def clean_username(username: str) -> str:
    """A user name in its comparable form: half width, lower case, no blanks around it."""
    return half_width(username).strip().lower()


def begin_attempt(work: Work, *, username: str, address: str) -> Attempt:
    """Count a try, or refuse it because too many went before; an unknown name is counted like a known one."""
    now = work.clock.now()
    name = clean_username(username)
    account_key, address_key = work.keys.blind("login", name), work.keys.blind("login-address", address)
    work.execute(
        sa.delete(LoginAttempt).where(
            LoginAttempt.attempted_at <= now - timedelta(seconds=limits.LOGIN_WINDOW_SECONDS)
        )
    )
    wait = max(
        _wait(work, LoginAttempt.account_key == account_key, limits.LOGIN_TRIES),
        _wait(work, LoginAttempt.address_key == address_key, limits.ADDRESS_LOGIN_TRIES),
    )
    if wait > timedelta(0):
        raise TooManyTriesError(wait)
    work.add(
        LoginAttempt(id=work.new_id(), account_key=account_key, address_key=address_key, attempted_at=now)
    )
    account = work.session.scalar(sa.select(Account).where(Account.username == name))
    if account is None:
        return Attempt(account_key, None, None)
    return Attempt(account_key, account.id, account.password)


def _wait(work: Work, of_key: sa.ColumnElement[bool], tries: int) -> timedelta:
    """How long from now until the next try of that account or address is looked at."""
    times = sa.select(sa.func.count().label("tries"), sa.func.max(LoginAttempt.attempted_at).label("last"))
    made = work.execute(times.where(of_key)).one()
    if made.tries < tries:
        return timedelta(0)
    # The exponent is held down: a thousand tries make no larger wait than twenty.
    delay = min(limits.LOGIN_DELAY_SECONDS * 2 ** min(made.tries - tries, 20), limits.LOGIN_DELAY_MAX_SECONDS)
    latest: datetime = made.last
    return latest + timedelta(seconds=delay) - work.clock.now()


def refuse_attempt(work: Work, *, attempt: Attempt) -> None:
    """Note a wrong password. The name typed is not kept: people type passwords there."""
    record_audit(
        work, action="session.login", subject_type="account", subject_id=attempt.account_id,
        outcome=AuditOutcome.DENIED,
    )  # fmt: skip


def start_session(work: Work, *, attempt: Attempt) -> tuple[Account | None, str]:
    """Begin a session after the password was right: the account and the session's key; nobody where it is closed.

    Session, tries forgotten and audit stand or fall together. The account is read again: it may have been closed,
    or its password changed, while the hash was computed.
    """
    account = work.session.get(Account, attempt.account_id or "")
    if account is None or not account.active or account.password != attempt.password_hash:
        return None, ""
    account.last_login_at = work.clock.now()
    record_audit(work, action="session.login", subject_type="account", subject_id=account.id)
    return account, open_session(work, account=account, attempt=attempt)


def open_session(work: Work, *, account: Account, attempt: Attempt) -> str:
    """A session's row and its key; the tries that led here are forgotten, sessions long over are swept."""
    now = work.clock.now()
    oldest = now - timedelta(seconds=limits.SESSION_SECONDS)
    work.execute(sa.delete(LoginAttempt).where(LoginAttempt.account_key == attempt.account_key))
    forget_searches(work, sa.select(AccountSession.id).where(AccountSession.started_at < oldest))
    work.execute(sa.delete(AccountSession).where(AccountSession.started_at < oldest))
    session = AccountSession(id=work.new_id(), account_id=account.id, started_at=now, ended_at=None)
    work.add(session)
    return session.id


def is_session_open(work: Work, *, session_id: str, account_id: str) -> bool:
    """Whether the session still stands: not ended, of this account, not older than half a day."""
    session = work.session.get(AccountSession, session_id)
    if session is None or session.ended_at is not None or session.account_id != account_id:
        return False
    return work.clock.now() < session.started_at + timedelta(seconds=limits.SESSION_SECONDS)


def end_session(work: Work, *, session_id: str) -> None:
    """Sign out: the cookie is worthless from here on, also a copy of it."""
    session = work.session.get(AccountSession, session_id)
    if session is None or session.ended_at is not None:
        return
    session.ended_at = work.clock.now()
    forget_searches(work, [session.id])
    record_audit(work, action="session.logout", subject_type="account", subject_id=session.account_id)


def end_sessions(work: Work, *, account_id: str) -> None:
    """End every session of an account: password, role or standing changed."""
    forget_searches(work, sa.select(AccountSession.id).where(AccountSession.account_id == account_id))
    work.execute(
        sa.update(AccountSession)
        .where(AccountSession.account_id == account_id, AccountSession.ended_at.is_(None))
        .values(ended_at=work.clock.now())
    )
