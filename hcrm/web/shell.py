"""The console's shell: who calls, whether they may, and the work a view opens.

Every view declares its rule with `require` (or `exempt`, with the reason); `guard_request` reads it before the view
runs. The shell knows core only: who is signed in and how a refusal is noted are handed in by `init_shell`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeVar

from flask import Flask, current_app, g, make_response, redirect, render_template, request, url_for
from flask import flash as put_flash
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFProtect
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.exceptions import BadRequest, MethodNotAllowed, NotFound
from werkzeug.routing import RequestRedirect

from hcrm.core import limits
from hcrm.core.access import AccessRule, Caller, rule_of, set_rule
from hcrm.core.actor import Actor
from hcrm.core.clock import local_date
from hcrm.core.db import is_crossed
from hcrm.core.errors import DeniedError, HcrmError, InvalidInput
from hcrm.core.runtime import Runtime
from hcrm.core.work import Work, open_work
from hcrm.web import nav
from hcrm.web.security import is_from_own_page

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOGIN = "accounts.log_in"
LOGIN_AGAIN = "accounts.log_in_again"
LOGOUT = "accounts.log_out"
ALERTS = "followup.list_alerts"
KEPT = "kept."
"""Prefix of the fields that travel through the login page."""

View = TypeVar("View", bound=Callable[..., Any])
csrf = CSRFProtect()


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who is signed in. `must_visit` is the page that has to be dealt with first: a password to change."""

    actor: Actor
    role_label: str
    session_id: str = ""  # what is kept for one browser hangs on it
    must_visit: str | None = None


NameTyped = Callable[[Work, str, Mapping[str, Any], list[tuple[str, str]]], list[tuple[str, str]] | None]
"""Endpoint, its values and the fields that were sent, to questions and answers; None where it is no such form."""


@dataclass(frozen=True, slots=True)
class Shell:
    """What is handed in once, when the application is built."""

    runtime: Runtime
    load_person: Callable[[], SignedIn | None]
    ended_username: Callable[[], str]
    record_denied: Callable[[Work, DeniedError], None]
    count_alerts: Callable[[Work], int] | None = None  # the number beside the bell; None: no bell
    name_typed: NameTyped | None = None  # what a refused form held, in words
    menu_counts: Mapping[str, tuple[str, Callable[[Work], int]]] = field(default_factory=dict)
    """By endpoint of a menu entry: the permission to know, and how much waits there."""


# ── what views use ──────────────────────────────────────────────────────────


def require(permission: str, *, audit: str, max_bytes: int | None = None) -> Callable[[View], View]:
    """Declare who may call a view and what audit will know: `patient.read`, or `none:` and why nothing is recorded.

    `max_bytes`: what a form with a file may hold, where that is more than any other request.
    """

    def decorate(view: View) -> View:
        set_rule(view, AccessRule(Caller.PERSON, permission, audit, max_bytes))
        return view

    return decorate


def exempt(reason: str) -> Callable[[View], View]:
    """Declare a view that needs nobody signed in, and why."""

    def decorate(view: View) -> View:
        set_rule(view, AccessRule(Caller.ANYONE, "", f"none:{reason}"))
        return view

    return decorate


@contextmanager
def console_work(write: bool | None = None) -> Iterator[Work]:
    """The work of this request, by the person signed in: reading for GET, writing otherwise.

    Give `write=False` to a search that is a POST only because its words must not stand in an address.
    """
    if write is None:
        write = request.method not in SAFE_METHODS
    runtime = current_shell().runtime
    try:
        with open_work(runtime.database, actor=g.actor, clock=runtime.clock, write=write) as work:
            yield work
    except DBAPIError as error:
        g.is_crossed = is_crossed(error) and not g.get("is_done")
        raise
    g.is_done = g.get("is_done", False) or write


def may_repeat() -> bool:
    """Whether the view may be asked once more from the beginning: all it has done was rolled back with its work.

    Its work met another's (a deadlock), none was committed before, nothing was said, and no file has been read.
    """
    was_crossed = g.pop("is_crossed", False) and not g.get("is_repeated", False)
    return bool(was_crossed and not g.get("has_spoken", False) and not request.files)


def flash(text: str, category: str = "info", *, undo: str | None = None) -> None:
    """Say something on the next page; `undo` is an address to post to within ten seconds."""
    message: Any = (
        {"text": text, "undo": undo} if undo else text
    )  # ui.flashes takes both; Flask only stores it
    g.has_spoken = True
    put_flash(message, category)


def form_values() -> dict[str, Any]:
    """What the form sent, without its token: one text a name, a list where a name came several times."""
    return {
        name: values if len(values) > 1 else values[0]
        for name, values in request.form.lists()
        if name != "csrf_token"
    }


def form_errors(error: HcrmError) -> dict[str, str]:
    """A refusal as field and sentence, for a form shown again with what was typed; `form` where no field is named."""
    if isinstance(error, InvalidInput):
        return dict(error.errors)
    return {error.field or "form": error.message}


def today() -> date:
    """The hospital's date by the application's clock."""
    return local_date(current_shell().runtime.clock.now())


def current_shell() -> Shell:
    """What this application was built with."""
    shell: Shell = current_app.extensions["hcrm.shell"]
    return shell


# ── the guard ───────────────────────────────────────────────────────────────


def init_shell(app: Flask, shell: Shell) -> None:
    """Install guard, CSRF protection and the frame's words. Before any extension that asks who is signed in."""
    app.extensions["hcrm.shell"] = shell
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False  # the guard checks, once it knows who calls
    app.before_request(guard_request)
    app.context_processor(frame_words)
    csrf.init_app(app)


def guard_request() -> ResponseReturnValue | None:
    """What was sent, sign-in, token and permission, in this order, before the view runs."""
    g.actor, g.person = None, None
    rule = rule_of(current_app.view_functions.get(request.endpoint or ""))
    if rule is None or rule.caller is Caller.MACHINE:
        return None  # no such page; a static file; a machine, whose shell has a guard of its own
    if rule.max_bytes is not None:
        request.max_content_length = rule.max_bytes  # before anything reads the form
    person = current_shell().load_person() if rule.caller is Caller.PERSON else None
    if person is not None:  # known before the form is read: what is too large is answered in their page
        g.person, g.actor = person, person.actor
    _keep_out_nul()
    if rule.caller is Caller.ANYONE:
        csrf.protect()
        return None
    if person is None:
        return _ask_to_sign_in()
    csrf.protect()
    if person.must_visit and request.endpoint not in (person.must_visit, LOGOUT):
        return redirect(url_for(person.must_visit), 303)
    if not person.actor.may(rule.needs):
        raise NotAllowedError(rule.needs, request.endpoint or "")
    return None


def _keep_out_nul() -> None:
    """Refuse an address with a NUL, and take it out of a form.

    PostgreSQL stores no NUL and answers with a fault. No link of ours holds one; a form may, from the clipboard.
    """
    if "\0" in request.path:
        raise NotFound
    if any("\0" in text for pair in request.args.items(multi=True) for text in pair):
        raise BadRequest
    fields = list(request.form.items(multi=True))
    if any("\0" in text for pair in fields for text in pair):
        request.form = ImmutableMultiDict(
            (name.replace("\0", ""), value.replace("\0", "")) for name, value in fields
        )


class NotAllowedError(DeniedError):
    """The person is known, but lacks the permission."""

    def __init__(self, permission: str, endpoint: str) -> None:
        super().__init__(permission, subject_type="page", subject_id=endpoint)
        self.code, self.message, self.status = "permission.missing", "您的角色不能进行这项操作", 403


def _ask_to_sign_in() -> ResponseReturnValue:
    """The login page; a form of ours that was sent travels through it and is sent again afterwards.

    htmx gets a bare 401: hcrm.js then sends the form as a page, or loads the page anew.
    """
    if request.headers.get("HX-Request") == "true":
        return make_response("", 401)
    if request.method in SAFE_METHODS:
        path = request.full_path.rstrip("?")
        return redirect(url_for(LOGIN, next=path if path != "/" else None), 303)
    if not is_from_own_page():
        return redirect(url_for(LOGIN), 303)
    return login_again_page(request.full_path.rstrip("?"), kept_fields(), {}, 401)


def kept_fields() -> list[tuple[str, str]]:
    """What a form sent, to be sent again: no token, no password, no file."""
    fields = [
        (name, value)
        for name, value in request.form.items(multi=True)
        if name != "csrf_token" and "password" not in name.lower()
    ]
    return fields[: limits.KEPT_FIELDS]


def login_again_page(
    target: str, fields: list[tuple[str, str]], errors: Mapping[str, str], status: int
) -> ResponseReturnValue:
    """The login page that carries a form."""
    return make_response(
        render_template(
            "login_again.html", username=current_shell().ended_username(), again_action=url_for(LOGIN_AGAIN),
            target=target, fields=fields, errors=errors,
        ),
        status,
    )  # fmt: skip


def is_form_target(path: str) -> bool:
    """Whether a form of ours may be sent to that path: on this host, a view for signed-in people that takes a POST."""
    if not is_own_path(path):
        return False
    try:
        endpoint, _ = current_app.url_map.bind("").match(path.partition("?")[0], method="POST")
    except (NotFound, MethodNotAllowed, RequestRedirect):
        return False
    rule = rule_of(current_app.view_functions.get(endpoint))
    return rule is not None and rule.caller is Caller.PERSON


def is_own_path(path: str) -> bool:
    r"""Whether an address stays on this host: `/x`, not `//host`, `/\host` or anything with a scheme."""
    return path[:1] == "/" and path[1:2] not in ("/", "\\") and not any(ord(c) < 33 for c in path)


# ── the frame ───────────────────────────────────────────────────────────────


def frame_words() -> dict[str, Any]:
    """What `base.html` needs on every page, also on one for nobody."""
    shell = current_shell()
    person: SignedIn | None = g.get("person")
    actor = person.actor if person else None
    counts = _menu_counts(shell, actor) if actor else {}
    words: dict[str, Any] = {
        "hospital_name": shell.runtime.settings.hospital.name,
        "today": today(),
        "actor": actor,
        "role_label": person.role_label if person else "",
        **nav.shell_context(actor, request.endpoint, counts),
    }
    if actor is not None:
        words["person_links"] = [nav.MenuLink("修改密码", "key", url_for("accounts.change_password"))]
        words["sign_out_url"] = url_for(LOGOUT)
        if actor.may("patient.read") and "desk.find_quickly" in current_app.view_functions:
            words["search_url"] = url_for("desk.search_patients")
            words["quick_url"] = url_for("desk.find_quickly")
        words["alerts"] = _alerts(shell, actor)
    return words


def _menu_counts(shell: Shell, actor: Actor) -> dict[str, int]:
    """What waits at entries of the menu, on whole pages."""
    own = {entry.endpoint for entry in nav.menu_of(actor)}
    wanted = {
        name: count for name, (needs, count) in shell.menu_counts.items() if name in own and actor.may(needs)
    }
    if not wanted or request.headers.get("HX-Request") == "true":
        return {}
    try:
        with open_work(shell.runtime.database, actor=actor, clock=shell.runtime.clock, write=False) as work:
            return {name: count(work) for name, count in wanted.items()}
    except SQLAlchemyError:
        return {}  # the page that says the database is away has this frame too


def _alerts(shell: Shell, actor: Actor) -> dict[str, object] | None:
    """The bell of the top bar: for whoever handles red flags, on whole pages."""
    if (
        shell.count_alerts is None
        or not actor.may("alert.handle")
        or ALERTS not in current_app.view_functions
    ):
        return None
    if request.headers.get("HX-Request") == "true":
        return None
    try:
        with open_work(shell.runtime.database, actor=actor, clock=shell.runtime.clock, write=False) as work:
            count = shell.count_alerts(work)
    except SQLAlchemyError:
        return None  # the page that says the database is away has this frame too
    return {"count": count, "url": url_for(ALERTS)}
