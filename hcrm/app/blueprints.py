"""Every part that has pages or routes, and the pages that no menu leads to."""

from flask import Blueprint

from followup.views import bp as followup
from hcrm.accounts.views import bp as accounts
from hcrm.app.health import bp as health
from hcrm.audit.views import bp as audit
from hcrm.centre.views import bp as centre
from hcrm.desk.fhir_api import bp as fhir
from hcrm.desk.views import bp as desk
from hcrm.inbox.views import bp as inbox
from hcrm.statistics.views import bp as statistics

BLUEPRINTS: tuple[Blueprint, ...] = (
    accounts,
    audit,
    desk,
    fhir,
    health,
    centre,
    followup,
    inbox,
    statistics,
)

OFF_MENU: dict[str, str] = {
    "statistics.list_rows": "from every figure of the statistics",
    "accounts.home": "leads to the first page of the person's role",
    "accounts.log_in": "nobody is signed in yet",
    "accounts.change_password": "in the person's own menu at the top",
    "accounts.create_account": "from the list of accounts",
    "fhir.metadata": "for machine clients",
    "desk.list_recent_stays": "asked for by the workbench every few seconds",
    "inbox.list_refused": "from the list of messages",
    "inbox.show_message": "from the list of messages",
    "followup.list_alerts": "by the bell at the top",
    "followup.show_alert": "from the list of alerts",
    "followup.show_findings": "a part of the instruction's page, fetched by htmx",
    "followup.show_review": "from the list of reviews",
    "health.livez": "for the machine that watches us",
    "health.readyz": "for the machine that watches us",
    "health.metrics": "for the machine that watches us",
}
"""Pages (routes that take a GET) outside `hcrm.web.nav`, and how one gets there. Fragments that htmx asks for too."""
