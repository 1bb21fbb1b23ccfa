"""Errors as pages: a refusal in Chinese with its status, a fault as a number to quote. One place for the console.

A log line of a fault holds its number, the endpoint and the place in our code; never a message, which may quote what
was typed or read (C60).
"""

import re
import secrets
import traceback
from typing import Any

import structlog
from flask import Response, current_app, g, has_request_context, make_response, render_template, request
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException

from hcrm.core.db import is_crossed
from hcrm.core.errors import ConflictError, DeniedError, HcrmError
from hcrm.core.text import size_over
from hcrm.core.work import open_work
from hcrm.web.shell import SAFE_METHODS, current_shell, kept_fields, may_repeat

log = structlog.get_logger("hcrm.web")

PAGES = frozenset({400, 403, 404, 405, 409, 413, 422, 429, 500, 503})
STALE = ConflictError("record.stale", "在您填写期间，这条记录已被他人更改，本次提交没有保存")
IN_FRAME = frozenset({403, 404, 405})
"""Refusals of a place, not of what was sent: shown within the console, whose menu and search lead on."""
_BARE, _FRAMED = "plain.html", "base.html"
_NOTICE = '{{ ui.notice(text, "danger") }}'
_SCHEMA = "数据库结构与程序版本不符，请系统管理员备份后运行 hcrm init，并用 hcrm doctor 核对。"
_NO_TEXT = re.compile(r"[\w.:/+-]*|\{.*\}", re.ASCII | re.DOTALL)
"""Keys, versions, dates, numbers, the values of choices, and what a page carries for itself: nobody's sentences."""
CROSSED = ConflictError("record.crossed", "恰好有别人（或系统）同时在改同一处，这一步没有完成，请再试一次")
CSRF = HcrmError("csrf.refused", "页面打开得太久，或登录状态已改变，本次提交没有保存", status=403)


def answer_error(error: Exception) -> Response:
    """The page for whatever went wrong. A refused attempt is noted first; where that fails it becomes a 503 (W4)."""
    if may_repeat():
        return _repeat()
    refusal = as_refusal(error)
    if isinstance(refusal, DeniedError) and g.get("actor") is not None:
        try:
            note_denied(refusal)
        except SQLAlchemyError as fault:
            return _fault_page(fault, 503)
    if refusal is not None:
        return _page(refusal.status, refusal.message)
    if isinstance(error, HTTPException):
        return _http_page(error)
    # The database is away, or audit could not be written: what was read does not leave.
    return _fault_page(error, 503 if isinstance(error, SQLAlchemyError) else 500)


def _repeat() -> Response:
    """What the view says when it is asked once more, as a fact is delivered once more; twice it is not repeated."""
    g.is_repeated = True
    log.info("request.repeated", endpoint=request.endpoint)
    try:
        return current_app.make_response(current_app.dispatch_request())
    except Exception as error:  # noqa: BLE001  whatever it is gets its page
        return answer_error(error)


def as_refusal(error: Exception) -> HcrmError | None:
    """What a person can act on, or None for a fault."""
    if isinstance(error, CSRFError):
        return CSRF
    if isinstance(error, StaleDataError):
        return STALE
    if isinstance(error, DBAPIError) and is_crossed(error):
        return CROSSED
    return error if isinstance(error, HcrmError) else None


def note_denied(denial: DeniedError) -> None:
    """Write the refused attempt to audit, in a work of its own: the request's was rolled back."""
    shell = current_shell()
    with open_work(shell.runtime.database, actor=g.actor, clock=shell.runtime.clock) as work:
        shell.record_denied(work, denial)


def note_fault(error: Exception) -> str:
    """Log a fault without any data; the number people quote."""
    incident = secrets.token_hex(4).upper()
    place = next(
        (
            f"{frame.name}:{frame.lineno}"
            for frame in reversed(traceback.extract_tb(error.__traceback__))
            if "site-packages" not in frame.filename
        ),
        "",
    )
    endpoint = request.endpoint if has_request_context() else None
    log.error("fault", incident=incident, endpoint=endpoint, kind=type(error).__name__, place=place)
    return incident


def _fault_page(error: Exception, status: int) -> Response:
    words = _SCHEMA if isinstance(error, SQLAlchemyError) and _names_what_is_missing(error) else ""
    return _page(status, words, incident=note_fault(error))


def _names_what_is_missing(error: SQLAlchemyError) -> bool:
    """Whether a table or a column is not there: the database was made by another release than the program."""
    told = str(getattr(error, "orig", "")).lower()
    code = getattr(getattr(error, "orig", None), "sqlstate", "")
    return code in ("42P01", "42703") or told.startswith(("no such table", "no such column"))


def _http_page(error: HTTPException) -> Response:
    if error.response is not None or error.code is None or error.code < 400:
        return make_response(error.get_response())
    response = _page(error.code, told_too_large() if error.code == 413 else "")
    if error.code == 405:
        response.headers.extend(error.get_headers())
        response.headers["Content-Type"] = "text/html; charset=utf-8"
    return response


def told_too_large() -> str:
    """How much this request sent and how much it may; nothing where another bound than that of its size was met."""
    size, most = request.content_length, request.max_content_length
    return f"提交的内容有 {size_over(size, most)}。" if size and most and size > most else ""


def _draw(template: str, status: int, **words: Any) -> str:
    """Within the console for whoever is signed in; bare where nobody is, or where that cannot be drawn."""
    if status in IN_FRAME:
        try:
            if g.get("person") is None:  # an address without a page passed the guard
                g.person = current_shell().load_person()
            if g.person is not None:
                return render_template(template, frame=_FRAMED, **words)
        except Exception as fault:  # noqa: BLE001  the database may be away; the page is not
            note_fault(fault)
            g.person = None
    return render_template(template, frame=_BARE, **words)


def _typed(status: int) -> list[tuple[str, str]]:
    """What the person typed, to be copied: named where the form is theirs to see, else the free text alone."""
    fields, shell = kept_fields(), current_shell()
    if shell.name_typed is not None and status < 500:  # a database that is away is not asked again
        try:
            with open_work(
                shell.runtime.database, actor=g.actor, clock=shell.runtime.clock, write=False
            ) as work:
                named = shell.name_typed(work, request.endpoint or "", request.view_args or {}, fields)
            if named is not None:
                return named
        except (HcrmError, SQLAlchemyError):
            pass  # not theirs to see, or not to be read now
    texts = (value.strip() for _, value in fields)
    return [("", text) for text in dict.fromkeys(texts) if not _NO_TEXT.fullmatch(text)]


def _page(status: int, message: str, **words: Any) -> Response:
    """The page of a status. What was typed is shown on it, so that a refused form is not lost."""
    template = f"errors/{status if status in PAGES else 500 if status >= 500 else 400}.html"
    kept = []
    if request.method not in SAFE_METHODS and status != 413 and g.get("actor") is not None:
        kept = _typed(status)
    try:
        if request.headers.get("HX-Request") == "true":
            # A 422 is put into the page where the form stood: a sentence, not a page within the page.
            body = current_app.jinja_env.from_string(_NOTICE).render(text=message or "没有完成，请重试")
        else:
            body = _draw(template, status, message=message, kept=kept, **words)
    except Exception as fault:  # noqa: BLE001  the frame itself may be what is broken
        note_fault(fault)
        body = current_app.jinja_env.from_string("{{ text }}").render(
            text=message or "系统出错，请联系信息科"
        )
    return make_response(body, status)
