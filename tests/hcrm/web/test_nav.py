import pytest
from flask import request

from hcrm.core.actor import Actor
from hcrm.web.nav import MENUS, home_endpoint, menu_endpoints, menu_of, shell_context


def person(role: str, *permissions: str) -> Actor:
    return Actor(id="1", name="林晓梅", roles=(role,), permissions=frozenset(permissions or {"*"}))


def labels(actor: Actor | None, endpoint: str | None = None) -> list[str]:
    return [link.label for link in shell_context(actor, endpoint)["menu"]]


def active(actor: Actor, endpoint: str | None) -> list[str]:
    return [link.label for link in shell_context(actor, endpoint)["menu"] if link.is_active]


def test_pages_that_are_not_built_yet_are_left_out_of_the_menu(as_actor):
    as_actor(None)

    assert labels(person("service_centre")) == ["患者", "随访指令"]


def test_the_menu_shows_only_what_the_actor_may_do(as_actor):
    as_actor(None)

    assert labels(person("service_centre", "patient.read")) == ["患者"]


def test_a_page_below_an_entry_lights_that_entry(as_actor):
    as_actor(None)
    lead = person("service_centre")

    assert active(lead, "desk.show_patient") == ["患者"]
    assert active(lead, "followup.show_form") == ["随访指令"]
    assert active(lead, "centre.edit_something") == ["随访指令"]  # same package, not named in the map
    assert active(lead, None) == []


def test_further_desks_of_a_wing_show_while_one_is_in_it(as_actor):
    as_actor(None)
    lead = person("service_centre")

    def desks(endpoint):
        return [
            (desk.label, desk.is_active)
            for link in shell_context(lead, endpoint)["menu"]
            for desk in link.desks
        ]

    assert desks("contact_log.list_contacts") == [("联系记录", True)]
    assert desks("desk.show_patient") == [("联系记录", False)]
    assert desks("centre.list_instructions") == []
    assert [
        link.desks for link in shell_context(person("nurse", "patient.read"), "desk.show_patient")["menu"]
    ] == [()]


def test_home_is_the_first_entry_a_person_can_reach(as_actor):
    as_actor(None)

    assert home_endpoint(person("department_head")) == "centre.list_instructions"
    assert home_endpoint(person("sysadmin")) is None
    assert shell_context(person("department_head"), request.endpoint)["home_url"] == "/instructions"


def test_nobody_and_somebody_without_a_right_get_an_empty_menu_and_no_fault(as_actor):
    as_actor(None)

    assert labels(None) == labels(person("nobody_knows", "account.self")) == []


def test_a_role_without_a_desk_of_its_own_gets_what_it_may_open(as_actor):
    as_actor(None)

    assert labels(person("director", "patient.read", "instruction.read")) == ["患者", "随访指令"]


def test_a_second_role_adds_what_the_first_has_not(as_actor):
    as_actor(None)
    two = Actor(
        id="1", name="林", roles=("nobody_knows", "department_head"),
        permissions=frozenset({"patient.read", "instruction.read"}),
    )  # fmt: skip

    assert labels(two) == labels(person("department_head", "patient.read", "instruction.read"))
    both = menu_of(
        Actor(id="1", name="林", roles=("department_head", "director"), permissions=frozenset("*"))
    )
    endpoints = [entry.endpoint for entry in both]
    assert "exports.list_approvals" in endpoints
    assert len(set(endpoints)) == len(endpoints)
    assert endpoints[0] == "desk.workbench"


@pytest.mark.parametrize("role", MENUS)
def test_a_menu_has_at_most_seven_entries_and_no_page_twice(role):
    endpoints = [entry.endpoint for entry in MENUS[role]]

    assert len(endpoints) <= 7
    assert len(set(endpoints)) == len(endpoints)


def test_the_map_knows_the_pages_below_its_entries():
    assert {"desk.search_patients", "desk.show_patient", "followup.show_form"} <= menu_endpoints()
    assert {"exchange.new_import", "exchange.edit_columns", "exports.new_export"} <= menu_endpoints()
