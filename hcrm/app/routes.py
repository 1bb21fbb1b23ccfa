"""The check that no route is without a rule, no page without a way to it. Run when the application is built (W1)."""

from collections.abc import Iterator, Mapping

from flask import Flask

from hcrm.accounts.permissions import PERMISSIONS, SCOPES
from hcrm.core.access import AccessRule, Caller, rule_of
from hcrm.web.nav import menu_endpoints


def check_routes(app: Flask, off_menu: Mapping[str, str]) -> None:
    """Stop the build when a route declares no permission, no audit class, or stands in no menu and no list."""
    faults = list(_faults(app, off_menu))
    if faults:
        raise RuntimeError("routes: " + "; ".join(faults))


def _faults(app: Flask, off_menu: Mapping[str, str]) -> Iterator[str]:
    known = menu_endpoints() | off_menu.keys()
    for route in app.url_map.iter_rules():
        endpoint = route.endpoint
        if endpoint == "static":
            continue
        rule = rule_of(app.view_functions[endpoint])
        if rule is None:
            yield f"{endpoint} declares no rule"
            continue
        fault = rule.fault() or _unknown_word(rule)
        if fault:
            yield f"{endpoint} {fault}"
        if "GET" in (route.methods or ()) and rule.caller is not Caller.MACHINE and endpoint not in known:
            yield f"{endpoint} is a page outside the menu map (hcrm/web/nav.py) and OFF_MENU (hcrm/app/blueprints.py)"


def _unknown_word(rule: AccessRule) -> str | None:
    if rule.caller is Caller.PERSON and rule.needs not in PERMISSIONS:
        return f"needs an unknown permission: {rule.needs}"
    if rule.caller is Caller.MACHINE and rule.needs not in SCOPES:
        return f"needs an unknown scope: {rule.needs}"
    return None
