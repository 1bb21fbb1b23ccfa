"""The rule of a route: who may call it and what audit will know of it. Every route has one, or the build fails.

Set by the console's shell (people) and the API's shell (machines), read by the check that `create_app` runs; neither
shell knows the other, so what they share stands here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_ACTION = re.compile(r"[a-z_]+(\.[a-z_]+)+")
_ATTRIBUTE = "access_rule"


class Caller(StrEnum):
    """Who a route is for."""

    PERSON = "person"  # signed in, with a permission
    MACHINE = "machine"  # a bearer token with a scope
    ANYONE = "anyone"  # sign-in pages, health


@dataclass(frozen=True, slots=True)
class AccessRule:
    """What a route declares.

    `needs` is a permission or a scope. `audit` is the action the route's work records (`patient.read`), or
    `none:` with the reason why nothing is recorded. `max_bytes`: a form of more than the usual size, with a file.
    """

    caller: Caller
    needs: str
    audit: str
    max_bytes: int | None = None

    def fault(self) -> str | None:
        """What is wrong with the declaration, or None."""
        if self.caller is not Caller.ANYONE and not self.needs:
            return "names no permission"
        kind, _, reason = self.audit.partition(":")
        if kind == "none":
            return None if reason.strip() else "says none without a reason"
        return None if _ACTION.fullmatch(self.audit) else f"has no audit class: {self.audit!r}"


def set_rule(view: Callable[..., Any], rule: AccessRule) -> Callable[..., Any]:
    """Write the rule on the view function; no wrapper, the guard reads it before the view runs."""
    setattr(view, _ATTRIBUTE, rule)
    return view


def rule_of(view: Callable[..., Any] | None) -> AccessRule | None:
    """The rule of a view function."""
    return getattr(view, _ATTRIBUTE, None)
