"""Every part that has pages or routes, and the pages that no menu leads to."""

from flask import Blueprint

from hcrm.accounts.views import bp as accounts
from hcrm.app.health import bp as health
from hcrm.audit.views import bp as audit
from hcrm.desk.fhir_api import bp as fhir

BLUEPRINTS: tuple[Blueprint, ...] = (accounts, audit, fhir, health)

OFF_MENU: dict[str, str] = {
    "accounts.home": "leads to the first page of the person's role",
    "accounts.log_in": "nobody is signed in yet",
    "accounts.change_password": "in the person's own menu at the top",
    "accounts.create_account": "from the list of accounts",
    "audit.list_audit": "from a patient's page, and the auditor's first page",
    "fhir.metadata": "for machine clients",
    "health.livez": "for the machine that watches us",
    "health.readyz": "for the machine that watches us",
    "health.metrics": "for the machine that watches us",
}
"""Pages (routes that take a GET) outside `hcrm.web.nav`, and how one gets there. Fragments that htmx asks for too."""
