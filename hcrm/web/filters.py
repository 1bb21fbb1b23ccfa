"""What templates may call: filters for times, ages and masks, our macros as `ui`, addresses of files and filters.

A moment shows as `11-22 15:30`, with the year only when it is not this one; a missing value shows as a dash.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from types import SimpleNamespace
from urllib.parse import urlencode

from flask import Flask, request, url_for

from hcrm.core.clock import age, local_date, local_time
from hcrm.core.text import mask_id_number, mask_name, mask_phone
from hcrm.web.assets import asset_version

EMPTY = "—"
NEAR_DAYS = 2
MACRO_FILES = ("forms", "lists", "marks", "notices")


def moment(value: datetime | None, today: date) -> str:
    """A moment on the hospital's clock: 11-22 15:30, in another year 2025-11-22 15:30."""
    if value is None:
        return EMPTY
    local = local_time(value)
    return local.strftime("%m-%d %H:%M" if local.year == today.year else "%Y-%m-%d %H:%M")


def instant(value: datetime | None, today: date) -> str:
    """A moment with its seconds, where the order of things is read: 11-22 15:30:07."""
    return EMPTY if value is None else f"{moment(value, today)}:{local_time(value):%S}"


def day(value: date | datetime | None, today: date) -> str:
    """A date: 11-22, in another year 2025-11-22. A moment gives the hospital's date of it."""
    if value is None:
        return EMPTY
    on = local_date(value) if isinstance(value, datetime) else value
    return on.strftime("%m-%d" if on.year == today.year else "%Y-%m-%d")


def due_words(due_on: date | None, today: date) -> str:
    """今天到期, 超期 2 天, 3 天后."""
    if due_on is None:
        return EMPTY
    days = (due_on - today).days
    if days == 0:
        return "今天到期"
    return f"{days} 天后" if days > 0 else f"超期 {-days} 天"


def due_tone(due_on: date | None, today: date) -> str:
    """The signal that goes with `due_words`: late, near or none."""
    if due_on is None or (days := (due_on - today).days) > NEAR_DAYS:
        return ""
    return "late" if days < 0 else "near"


def byte_size(value: int | None) -> str:
    """712 字节, 1.4 KB, 3.0 MB."""
    if value is None:
        return EMPTY
    if value < 1024:
        return f"{value} 字节"
    size = value / 1024
    for unit in ("KB", "MB"):
        if size < 1024:
            return f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GB"


def number(value: int | None) -> str:
    """3,072: groups of three, so that counts can be compared at a glance."""
    return EMPTY if value is None else f"{value:,}"


def percent(value: float | None) -> str:
    """0.8714 as 87.1%; nothing to divide by shows as a dash, not as zero."""
    return EMPTY if value is None else f"{value * 100:.1f}%"


def asset(file: str) -> str:
    """Address of one of our static files; it changes with the content."""
    return url_for("static", filename=file, v=asset_version(file))


def url_with(**changes: str | None) -> str:
    """This page's address with some arguments changed, or left out when None: filters, sorting, page keys."""
    arguments = [(name, value) for name, value in request.args.items(multi=True) if name not in changes]
    arguments += [(name, value) for name, value in changes.items() if value is not None]
    # The arguments are the visitor's: they go into the query only, where url_for would read _external and the like.
    path = url_for(request.endpoint or "", **(request.view_args or {}))
    return f"{path}?{urlencode(arguments)}" if arguments else path


def register_filters(app: Flask, today: Callable[[], date] | None = None) -> None:
    """Put filters, addresses and macros into the application's templates.

    The macros are one global, `ui`, because a fragment rendered alone (jinja2-fragments) does not see the imports at
    the top of its page. `today` is the hospital's date by the application's clock.
    """
    now = today or (lambda: local_date(datetime.now(UTC)))
    app.jinja_env.filters.update(
        moment=lambda value: moment(value, now()),
        instant=lambda value: instant(value, now()),
        day=lambda value: day(value, now()),
        age=lambda value, on=None: age(value, on or now()),
        due_words=lambda value: due_words(value, now()),
        due_tone=lambda value: due_tone(value, now()),
        bytes=byte_size,
        number=number,
        percent=percent,
        mask_phone=lambda value: mask_phone(value) if value else EMPTY,
        mask_id=lambda value: mask_id_number(value) if value else EMPTY,
        mask_name=lambda value: mask_name(value or ""),
    )
    app.jinja_env.globals.update(asset=asset, url_with=url_with)
    modules = [app.jinja_env.get_template(f"_macros/{name}.html").module for name in MACRO_FILES]
    ui = {
        name: macro for module in modules for name, macro in vars(module).items() if not name.startswith("_")
    }
    app.jinja_env.globals["ui"] = SimpleNamespace(**ui)
