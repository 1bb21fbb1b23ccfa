"""Every part that has pages or routes, and the pages that no menu leads to."""

from flask import Blueprint

from followup.views import bp as followup
from hcrm.accounts.views import bp as accounts
from hcrm.app.health import bp as health
from hcrm.app.wiring import DOORS
from hcrm.audit.views import bp as audit
from hcrm.centre.classification_views import bp as classification
from hcrm.centre.rule_views import bp as rules
from hcrm.centre.views import bp as centre
from hcrm.contact_log.views import bp as contact_log
from hcrm.desk import patient_views, views  # noqa: F401  both fill the desk's blueprint
from hcrm.desk.blueprint import bp as desk
from hcrm.desk.care_views import bp as care
from hcrm.desk.consent_views import bp as consent
from hcrm.desk.death_list_views import bp as death_list
from hcrm.desk.disease_groups import bp as disease_groups
from hcrm.desk.fhir_api import bp as fhir
from hcrm.desk.field_admin_views import bp as fields
from hcrm.desk.identity_views import bp as identity
from hcrm.desk.number_views import bp as numbers
from hcrm.desk.people_views import bp as people
from hcrm.desk.profile_views import bp as profile
from hcrm.desk.reach_views import bp as reach
from hcrm.desk.register_views import bp as register
from hcrm.desk.test_patient_views import bp as test_patients
from hcrm.directory.entry_views import bp as entries
from hcrm.directory.roster_views import bp as rosters
from hcrm.directory.views import bp as directory
from hcrm.exchange.export_views import bp as exports
from hcrm.exchange.views import bp as exchange
from hcrm.inbox.api import make_blueprint
from hcrm.inbox.census_views import bp as census
from hcrm.inbox.outbound_views import bp as outbound
from hcrm.inbox.views import bp as inbox
from hcrm.segments.grade_views import bp as grades
from hcrm.segments.views import bp as segments
from hcrm.statistics.views import bp as statistics

BLUEPRINTS: tuple[Blueprint, ...] = (
    accounts,
    audit,
    care,
    census,
    death_list,
    desk,
    directory,
    exchange,
    disease_groups,
    entries,
    rosters,
    exports,
    fhir,
    fields,
    health,
    identity,
    centre,
    classification,
    rules,
    followup,
    inbox,
    outbound,
    register,
    make_blueprint(DOORS),
    grades,
    segments,
    people,
    profile,
    reach,
    consent,
    contact_log,
    numbers,
    statistics,
    test_patients,
)

OFF_MENU: dict[str, str] = {
    "classification.show_run": "from the classification rules",
    "rules.edit_rules": "from the classification rules",
    "rules.show_draft": "after a text of rules was checked",
    "rules.show_version": "from the versions of the rules of an axis",
    "classification.watch_run": "asked by the page of a re-run that goes on",
    "grades.overview": "from the list of segments",
    "grades.list_graded": "from the numbers of grades",
    "grades.show_patient_grades": "from a patient's page",
    "contact_log.play_recording": "by the player of a recording",
    "statistics.list_rows": "from every figure of the statistics",
    "accounts.home": "leads to the first page of the person's role",
    "accounts.log_in": "nobody is signed in yet",
    "accounts.change_password": "in the person's own menu at the top",
    "accounts.create_account": "from the list of accounts",
    "fhir.metadata": "for machine clients",
    "desk.download_document": "from the documents of a patient",
    "desk.list_recent_stays": "asked for by the workbench every few seconds",
    "care.list_patients": "from the numbers of the workbench and the board",
    "desk.print_sheet": "from a patient's page",
    "fields.ask_field": "from the list of fields",
    "fields.show_field": "from the list of fields",
    "profile.show_field": "from the archive fields of a patient",
    "profile.ask_allergy": "from the allergies of a patient",
    "profile.ask_note": "from the notes of a patient",
    "census.show_day": "a tab of the interface",
    "census.list_lines": "from every number of a comparison",
    "census.list_stays": "from every number of a comparison",
    "census.export_lines": "from the findings of a comparison",
    "census.show_line": "from the findings of a comparison",
    "census.ask_apply": "from a comparison that found something",
    "death_list.show_list": "from the deaths that wait, and from the workbench",
    "death_list.show_entry": "from the death list",
    "outbound.list_messages": "from the tabs of the interface",
    "outbound.show_message": "from the list of what was sent",
    "outbound.ask_resend_failed": "from the list of destinations",
    "rosters.download_rosters": "from the week of duty",
    "rosters.download_schedules": "from the week of clinics",
    "entries.new_entry": "from the lists of the directory",
    "entries.show_entry": "from the lists of the directory",
    "test_patients.edit_rules": "from the list of test patients",
    "identity.list_pairs_page": "from the list of patients, and from a patient who may have another archive",
    "identity.watch_scan": "asked by the list of pairs while all archives are compared",
    "identity.show_pair": "from the list of pairs, and from a patient of one",
    "identity.ask_compare": "from the identity of a patient",
    "identity.show_merge": "from the identity of a patient with a merge",
    "identity.ask_merge": "from a pair, before its archives are merged",
    "exports.new_export": "from the list of patients and the page of a segment",
    "exports.show_export": "from the list of exports",
    "exports.download_export": "from the page of an export",
    "exchange.new_import": "from the list of imports",
    "exchange.download_template": "from the form of a new import",
    "exchange.edit_columns": "after an upload, and from the dry run",
    "exchange.download_errors": "from the page of an import with faulty rows",
    "register.ask_base": "from the identity of a patient whose data people entered",
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
