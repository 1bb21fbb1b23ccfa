"""The APIs' shell: a bearer token, its scopes, and the work a route opens.

Every route declares its scope with `require_scope`; the guard reads it before the route runs. Tokens belong to
accounts, a layer above: finding one is handed in by `init_api`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask, current_app, g, request
from flask.typing import ResponseReturnValue

from hcrm.core.access import AccessRule, Caller, rule_of, set_rule
from hcrm.core.actor import Actor
from hcrm.core.errors import DeniedError, HcrmError
from hcrm.core.runtime import Runtime
from hcrm.core.work import Work, open_work

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
Route = TypeVar("Route", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class ApiShell:
    """What is handed in once, when the application is built."""

    runtime: Runtime
    find_actor: Callable[[str], Actor | None]
    record_denied: Callable[[Work, DeniedError], None]


class UnknownTokenError(HcrmError):
    """No token, or one that is not ours."""

    def __init__(self) -> None:
        super().__init__("token.unknown", "缺少有效的令牌", status=401)


class ScopeMissingError(DeniedError):
    """The token is known, but not for this."""

    def __init__(self, scope: str, endpoint: str) -> None:
        super().__init__(scope, subject_type="route", subject_id=endpoint)
        self.code, self.status = "scope.missing", 403


def require_scope(scope: str, *, audit: str) -> Callable[[Route], Route]:
    """Declare a route for machines: the scope its token needs, and what audit will know."""

    def decorate(route: Route) -> Route:
        set_rule(route, AccessRule(Caller.MACHINE, scope, audit))
        return route

    return decorate


@contextmanager
def api_work(scope: str | None = None, *, write: bool | None = None) -> Iterator[Work]:
    """The work of this request, by the token's client: reading for GET, writing otherwise.

    `scope` is asked for once more where a route does different things (a transaction that also writes).
    """
    if write is None:
        write = request.method not in SAFE_METHODS
    if scope is not None and not g.actor.may(scope):
        raise ScopeMissingError(scope, request.endpoint or "")
    runtime = current_api().runtime
    with open_work(runtime.database, actor=g.actor, clock=runtime.clock, write=write) as work:
        yield work


def current_api() -> ApiShell:
    """What this application was built with."""
    shell: ApiShell = current_app.extensions["hcrm.api"]
    return shell


def init_api(app: Flask, shell: ApiShell) -> None:
    """Install the guard."""
    app.extensions["hcrm.api"] = shell
    app.before_request(guard_request)


def guard_request() -> ResponseReturnValue | None:
    """Token and scope, before anything of the body is read."""
    rule = rule_of(current_app.view_functions.get(request.endpoint or ""))
    if rule is None or rule.caller is not Caller.MACHINE:
        return None
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    actor = current_api().find_actor(token.strip()) if kind.lower() == "bearer" and token.strip() else None
    if actor is None:
        raise UnknownTokenError
    g.actor = actor
    if not actor.may(rule.needs):
        raise ScopeMissingError(rule.needs, request.endpoint or "")
    return None


def note_denied(denial: DeniedError) -> None:
    """Write the refused attempt to audit, in a work of its own: the request's was rolled back."""
    shell = current_api()
    with open_work(shell.runtime.database, actor=g.actor, clock=shell.runtime.clock) as work:
        shell.record_denied(work, denial)
