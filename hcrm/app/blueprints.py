"""Every part that has pages or routes, and the pages that no menu leads to."""

from flask import Blueprint

from followup.views import bp as followup
from hcrm.accounts.views import bp as accounts
from hcrm.app.health import bp as health
from hcrm.app.wiring import DOORS
from hcrm.audit.views import bp as audit
from hcrm.centre.views import bp as centre
from hcrm.desk.fhir_api import bp as fhir
from hcrm.desk.views import bp as desk
from hcrm.directory.views import bp as directory
from hcrm.inbox.api import make_blueprint
from hcrm.inbox.census_views import bp as census
from hcrm.inbox.outbound_views import bp as outbound
from hcrm.inbox.views import bp as inbox
from hcrm.statistics.views import bp as statistics

BLUEPRINTS: tuple[Blueprint, ...] = (
    accounts,
    audit,
    census,
    desk,
    directory,
    fhir,
    health,
    centre,
    followup,
    inbox,
    outbound,
    make_blueprint(DOORS),
    statistics,
)

OFF_MENU: dict[str, str] = {
    "statistics.list_rows": "from every figure of the statistics",
    "accounts.home": "leads to the first page of the person's role",
    "accounts.log_in": "nobody is signed in yet",
    "accounts.change_password": "in the person's own menu at the top",
    "accounts.create_account": "from the list of accounts",
    "fhir.metadata": "for machine clients",
    "desk.download_document": "from the documents of a patient",
    "desk.list_recent_stays": "asked for by the workbench every few seconds",
    "census.show_day": "a tab of the interface",
    "census.list_lines": "from every number of a comparison",
    "census.list_stays": "from every number of a comparison",
    "census.export_lines": "from the findings of a comparison",
    "census.show_line": "from the findings of a comparison",
    "census.ask_apply": "from a comparison that found something",
    "outbound.list_messages": "from the tabs of the interface",
    "outbound.show_message": "from the list of what was sent",
    "outbound.ask_resend_failed": "from the list of destinations",
    "inbox.list_refused": "from the list of messages",
    "inbox.show_message": "from the list of messages",
    "inbox.watch_message": "asked by the page of a message that waits",
    "inbox.show_refused": "from the list of what was refused",
    "inbox.overview": "a tab of the interface",
    "inbox.list_incidents": "a tab of the interface",
    "inbox.list_sources": "a tab of the interface",
    "inbox.edit_copy": "from the page of a message",
    "inbox.preview_run": "from the list of messages, for what its filters give",
    "inbox.show_run": "after a replay was begun, and from the list of messages while it runs",
    "followup.list_alerts": "by the bell at the top",
    "followup.show_alert": "from the list of alerts",
    "followup.show_findings": "a part of the instruction's page, fetched by htmx",
    "followup.show_review": "from the list of reviews",
    "health.livez": "for the machine that watches us",
    "health.readyz": "for the machine that watches us",
    "health.metrics": "for the machine that watches us",
}
"""Pages (routes that take a GET) outside `hcrm.web.nav`, and how one gets there. Fragments that htmx asks for too."""
