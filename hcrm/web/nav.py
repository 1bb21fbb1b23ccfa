"""The one menu map: which pages a role reaches from the left column, and what the frame of a page needs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain

from flask import current_app, url_for

from hcrm.core.actor import Actor


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """One entry of a menu.

    `covers` names pages below it that belong to it, whichever package they are in; `desks` further desks of the same
    wing, shown while one is in it.
    """

    endpoint: str
    label: str
    icon: str
    permission: str | None = None
    covers: tuple[str, ...] = ()
    desks: tuple["MenuEntry", ...] = ()


@dataclass(frozen=True, slots=True)
class MenuLink:
    """An entry as the page shows it."""

    label: str
    icon: str
    href: str
    is_active: bool = False
    count: int = 0  # what waits there for somebody; 0 shows nothing
    desks: tuple["MenuLink", ...] = ()  # of the entry one is in


_PATIENT_PAGES = (
    "desk.show_patient",
    "desk.print_sheet",
    "profile.show_field",
    "profile.ask_allergy",
    "profile.ask_note",
    "care.list_patients",
    "identity.list_pairs_page",
    "identity.ask_compare",
    "identity.show_pair",
    "identity.ask_merge",
    "identity.show_merge",
    "exchange.list_imports",
    "exchange.new_import",
    "exchange.upload",
    "exchange.edit_columns",
    "exchange.choose_columns",
    "exchange.show_import",
    "exports.list_exports",
    "exports.new_export",
    "exports.request_export",
    "exports.show_export",
    "people.new_entry",
    "people.edit_entry",
    "people.put_entry",
    "reach.set_disclosure",
    "reach.end_contact",
    "reach.restore_contact",
    "reach.record_death",
    "reach.confirm_death",
    "numbers.add_number",
    "consent.save_consents",
    "contact_log.log_contact",
    "reach.show_disclosure",
    "consent.show_consents",
    "numbers.show_numbers",
    "numbers.list_sharing",
    "contact_log.list_contacts",
    "contact_log.new_contact",
    "contact_log.show_recording",
    "reach.ask_end",
    "reach.ask_death",
    "reach.list_deaths",
    "death_list.show_list",
    "death_list.show_entry",
    "register.ask_base",
)
_INSTRUCTION_PAGES = ("centre.show_instruction", "followup.show_form")

_PATIENT_DESKS = (
    MenuEntry("contact_log.list_contacts", "联系记录", "telephone", "contact.read"),
    MenuEntry("reach.list_deaths", "死亡核实", "check2-square", "death.record"),
)
_PATIENTS = MenuEntry(
    "desk.search_patients", "患者", "people", "patient.read", _PATIENT_PAGES, _PATIENT_DESKS
)
_MY_PATIENTS = MenuEntry(
    "desk.search_patients", "我的患者", "people", "patient.read", _PATIENT_PAGES, _PATIENT_DESKS
)
_PATIENTS_ALONE = replace(_PATIENTS, desks=())
"""For whom those desks are entries of their own."""
_INSTRUCTIONS = MenuEntry(
    "centre.list_instructions", "随访指令", "clipboard2-check", "instruction.read", _INSTRUCTION_PAGES
)
_MESSAGES = MenuEntry(
    "inbox.list_messages",
    "接口",
    "arrow-left-right",
    "message.read",
    (
        "outbound.list_messages",
        "outbound.show_message",
        "census.show_day",
        "census.list_lines",
        "census.list_stays",
        "census.show_line",
        "census.ask_apply",
    ),
)
_INTERFACE = MenuEntry("inbox.overview", "接口", "arrow-left-right", "message.read", _MESSAGES.covers)
"""For those whose day it is: they land on the overview."""
_DIRECTORY = MenuEntry(
    "directory.show_staff",
    "人员与科室",
    "hospital",
    "directory.read",
    (
        "directory.show_departments",
        "entries.show_campuses",
        "entries.show_regions",
        "entries.show_codes",
        "rosters.show_rosters",
        "rosters.show_schedules",
        "entries.show_entry",
        "entries.new_entry",
        "disease_groups.show",
        "test_patients.list_all",
        "test_patients.edit_rules",
        "test_patients.preview_rules",
        "entries.merge",
        "entries.add_entry",
        "entries.save_entry",
        "test_patients.apply_rules",
    ),
)
_SEGMENTS = MenuEntry(
    "segments.list_segments",
    "分群",
    "funnel",
    "segment.read",
    (
        "segments.new_segment",
        "segments.edit_segment",
        "segments.show_segment",
        "segments.create_segment",
        "segments.change_segment",
        "segments.redraw_segment",
        "grades.overview",
        "grades.show_patient_grades",
        "grades.set_loss",
        "classification.show_rules",
        "classification.show_run",
        "rules.edit_rules",
        "rules.save_draft",
        "rules.show_draft",
        "rules.show_version",
    ),
)
_STATISTICS = MenuEntry("statistics.overview", "统计", "bar-chart", "statistics.read")
_SYSTEM = MenuEntry("desk.system", "系统", "gear", "system.read")
_AUDIT = MenuEntry("audit.list_audit", "审计", "shield-lock", "audit.read")

MENUS: dict[str, tuple[MenuEntry, ...]] = {
    "service_centre": (
        MenuEntry("desk.workbench", "工作台", "grid-1x2"),
        _PATIENTS,
        _SEGMENTS,
        _INSTRUCTIONS,
        _MESSAGES,
        _DIRECTORY,
        _STATISTICS,
    ),
    "physician": (
        MenuEntry("followup.today", "今日随访", "calendar2-check", "followup.write", _INSTRUCTION_PAGES),
        _MY_PATIENTS,
        _SEGMENTS,
        _STATISTICS,
    ),
    "department_head": (
        MenuEntry("desk.workbench", "科室看板", "grid-1x2"),
        MenuEntry("followup.list_reviews", "审核", "check2-square", "review.write"),
        _INSTRUCTIONS,
        _MY_PATIENTS,
        _SEGMENTS,
        _STATISTICS,
    ),
    "medical_office": (
        _PATIENTS_ALONE,
        replace(_PATIENT_DESKS[0], covers=("contact_log.show_recording",)),
        replace(_PATIENT_DESKS[1], covers=("reach.ask_death",)),
        _INSTRUCTIONS,
        _SEGMENTS,
        _STATISTICS,
    ),
    "interface": (_INTERFACE, _DIRECTORY),
    "sysadmin": (
        _INTERFACE,
        MenuEntry("accounts.list_accounts", "账号", "person-gear", "account.manage"),
        _DIRECTORY,
        MenuEntry("fields.list_fields", "档案字段", "list", "field.manage"),
        _SYSTEM,
    ),
}
"""At most seven entries a role, its home first (console.md)."""

CREATE_MENU: tuple[MenuEntry, ...] = (
    MenuEntry("register.new_patient", "档案", "person", "patient.register"),
)
"""What 新建 offers: intake, inquiry, complaint, booking come with their parts."""


_APPROVALS = MenuEntry("exports.list_approvals", "导出审批", "check2-square", "data.export_approve")
_ANY_ROLE = (_PATIENTS, _SEGMENTS, _INSTRUCTIONS, _MESSAGES, _STATISTICS, _AUDIT, _SYSTEM, _APPROVALS)
"""For roles whose own desk comes with a later part: what their permissions open."""


def menu_of(actor: Actor) -> tuple[MenuEntry, ...]:
    """The map of the actor's first role that has one, then what only their further roles have.

    A role without a map has what its person may open.
    """
    maps = sorted((MENUS.get(role, ()) for role in actor.roles), key=lambda each: not each)
    if not all(maps) or not maps:
        maps.append(tuple(entry for entry in _ANY_ROLE if actor.may(entry.permission or "")))
    menu: list[MenuEntry] = []
    for entry in chain.from_iterable(maps):
        if entry.endpoint not in {name for each in menu for name in (each.endpoint, *each.covers)}:
            menu.append(entry)
    return tuple(menu)


def home_endpoint(actor: Actor) -> str | None:
    """Where a person starts: the first entry of the menu that exists and is allowed."""
    return next((entry.endpoint for entry in _reachable(menu_of(actor), actor)), None)


def menu_endpoints() -> frozenset[str]:
    """Every endpoint the map knows; a route outside it stands on the test's list of exceptions."""
    entries = [entry for menu in (*MENUS.values(), _ANY_ROLE, CREATE_MENU) for entry in menu]
    return frozenset(name for entry in entries for name in (entry.endpoint, *entry.covers))


def shell_context(
    actor: Actor | None, endpoint: str | None, counts: Mapping[str, int] | None = None
) -> dict[str, object]:
    """What `base.html` needs of the menu; also for nobody, so that an error page can always be drawn.

    `counts`: by endpoint, what waits there.
    """
    if actor is None:
        return {"menu": [], "create_menu": [], "home_url": "/"}
    entries = _reachable(menu_of(actor), actor)
    active = _active_entry(entries, endpoint or "")
    home = entries[0].endpoint if entries else None
    return {
        "menu": [
            MenuLink(
                entry.label,
                entry.icon,
                url_for(entry.endpoint),
                is_active=entry is active,
                count=(counts or {}).get(entry.endpoint, 0),
                desks=tuple(_desks(entry, actor, endpoint)) if entry is active else (),
            )
            for entry in entries
        ],
        "create_menu": [
            MenuLink(entry.label, entry.icon, url_for(entry.endpoint))
            for entry in _reachable(CREATE_MENU, actor)
        ],
        "home_url": url_for(home) if home else "/",
    }


def _desks(entry: MenuEntry, actor: Actor, endpoint: str | None) -> Iterable[MenuLink]:
    """The further desks of a wing that the actor may open."""
    for desk in _reachable(entry.desks, actor):
        yield MenuLink(desk.label, desk.icon, url_for(desk.endpoint), is_active=desk.endpoint == endpoint)


def _reachable(entries: Iterable[MenuEntry], actor: Actor) -> list[MenuEntry]:
    """What exists in this application and is allowed; a page that is not built yet is left out, not a dead link."""
    return [
        entry
        for entry in entries
        if entry.endpoint in current_app.view_functions
        and (entry.permission is None or actor.may(entry.permission))
    ]


def _active_entry(entries: list[MenuEntry], endpoint: str) -> MenuEntry | None:
    """The entry whose page this is, else the one that covers it, else the first of the same package."""
    part = endpoint.partition(".")[0]
    return (
        next((entry for entry in entries if entry.endpoint == endpoint), None)
        or next((entry for entry in entries if endpoint in entry.covers), None)
        or next((entry for entry in entries if part and entry.endpoint.partition(".")[0] == part), None)
    )
