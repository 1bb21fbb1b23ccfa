"""What a sender writes is text on every page that shows it, never markup and never a template (C17, C19)."""

from html import escape
from typing import Any

import pytest
from flask import Flask

from hcrm.accounts.permissions import roles
from hcrm.archive.models import Patient
from hcrm.archive.visit_models import Encounter
from hcrm.centre.models import Instruction
from tests.support.adt import adt
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.hospital import Hospital

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]
HOSTILE = "<img src=x onerror=alert(1)>\"'{{7*7}}{%x%}${y}%s"
LEAVES = {"accounts.log_out"}


@pytest.fixture
def hospital(database, clock):
    clock.move(hours=13)
    with Hospital(database, clock) as hospital:
        fields: dict[str, Any] = {
            "name": HOSTILE, "address": HOSTILE, "doctor": f"D1^{HOSTILE.replace('^', '')}", "loc": f"{HOSTILE}^1^1",
            "segments": (f"NK1|1|{HOSTILE}|2||13800000001", f"AL1|1|DA|P^{HOSTILE}", f"DG1|1||I10^{HOSTILE}"),
        }  # fmt: skip
        hospital.receive(adt("A01", c=1, **fields), adt("A03", c=2, o="12:00", **fields))
        hospital.receive(adt("A03", c=3, p=300, v="V3", PV1_45="20260230", **fields))  # parked
        yield hospital


def addresses(app: Flask, keys: dict[str, object]) -> dict[str, str]:
    """Every page that takes a GET, with what we have for its arguments."""
    found = {}
    paths = app.url_map.bind("localhost")
    for route in app.url_map.iter_rules():
        methods = route.methods or set()
        if "GET" in methods and route.endpoint not in LEAVES and route.arguments <= keys.keys():
            values = {name: keys[name] for name in route.arguments}
            found[route.endpoint] = paths.build(route.endpoint, values)
    return found


def test_a_hostile_name_is_text_on_every_page(hospital, app, browser_of, make_person):
    make_person("root", roles=sorted(roles()))
    browser = browser_of("root")
    keys = {
        "patient_id": hospital.patient(100).id, "encounter_id": hospital.all(Encounter)[0].id,
        "instruction_id": hospital.all(Instruction)[0].id, "seq": 3,
    }  # fmt: skip
    assert hospital.patient(100).name == HOSTILE
    assert hospital.count(Patient) >= 1

    shown = set()
    for endpoint, address in addresses(app, keys).items():
        answer = browser.get(address)
        if answer.mimetype != "text/html":
            continue
        assert answer.status_code < 500, address
        assert "<img src=x" not in answer.text, address
        assert "49{%x%}" not in answer.text, address
        if "&lt;img src=x onerror=alert(1)&gt;" in answer.text and "{{7*7}}{%x%}${y}%s" in answer.text:
            shown.add(endpoint)
        policy = answer.headers["Content-Security-Policy"]
        assert "unsafe-inline" not in policy.split("script-src", 1)[-1].split(";")[0], address

    assert escape(HOSTILE) != HOSTILE
    assert {"desk.show_patient", "centre.show_instruction", "inbox.show_message"} <= shown, shown
