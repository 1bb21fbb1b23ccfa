"""Every route that takes a key, asked with a key of somebody else's: 404, 403 where a permission lacks (W1, C49)."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from followup.models import Alert, Review
from followup.station import record_followup
from hcrm.accounts.models import Account
from hcrm.accounts.permissions import roles
from hcrm.archive.clinical.models import DocumentReference
from hcrm.archive.clinical.terms import DocumentStatus
from hcrm.archive.fields.notes import add_note
from hcrm.archive.models import ContactPoint
from hcrm.archive.reach.people import put_relative
from hcrm.archive.terms import Informant
from hcrm.centre.models import Instruction, Outcome
from hcrm.contact_log.models import Channel, ContactResult
from hcrm.core.access import AccessRule, Caller, rule_of
from hcrm.core.actor import system_actor
from hcrm.core.work import open_work
from tests.support.station import ward

__all__ = ["ward"]

NO_ROW = {
    "followup.judge_answers": "names a form, which belongs to no patient",
    "outbound.ask_resend_failed": "names a destination, which belongs to no patient",
    "outbound.resend_all_failed": "names a destination, which belongs to no patient",
    "outbound.pause": "names a destination, which belongs to no patient",
    "outbound.resume": "names a destination, which belongs to no patient",
    "statistics.list_rows": "names a measure; its rows are kept to the scope by test_statistics",
    "segments.show_segment": "names a segment; whom it lists is kept to the scope by tests/hcrm/segments",
    "segments.edit_segment": "names a segment",
    "segments.change_segment": "names a segment",
    "exports.show_export": "is the asker's own (tests/hcrm/exchange)",
    "exports.download_export": "is the asker's own",
    "contact_log.show_recording": "is kept to the scope by tests/hcrm/contact_log",
    "contact_log.play_recording": "is kept to the scope by tests/hcrm/contact_log",
}
"""Routes whose arguments are no key of a patient's row, or of one that other tests look at."""
SENT = {
    "reason": "误点", "comment": "请重做", "handling": "已处置", "record_id": "0" * 32, "result": "no_answer",
    "channel": "phone", "outcome": "refused", "practitioner_id": "0" * 32, "a-pain": "1",
}  # fmt: skip
"""Enough for every form, so that nothing is refused for what was typed."""
SENT_AT = {
    "numbers.describe_number": {"state": "verified"},
    "numbers.end_number": {"note": "停机"},
    "numbers.free_number": {"note": "已换机主"},
    "profile.add_note": {"text": "家属来电"},
    "profile.edit_note": {"text": "家属来电"},
    "profile.add_tag": {"tag": "随访"},
}
"""Forms that take nothing but their own fields."""
HEAD = ["physician", "department_head"]


@pytest.fixture
def rows(ward, database, clock) -> dict[str, Any]:
    """Keys of what 心内科 holds: a patient with a red flag that waits for review."""
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        record_followup(
            work, instruction_id=ward.first, record_id=work.new_id(), outcome=Outcome.REACHED,
            result=ContactResult.REACHED, channel=Channel.PHONE,
            answers={"pain": "3", "temperature": "39", "wound": "no"},
        )  # fmt: skip
        patient_id = work.get(Instruction, ward.first).patient_id
        work.add(
            DocumentReference(
                id=work.new_id(),
                patient_id=patient_id,
                provenance={},
                number="D1",
                kind="DS",
                title="出院小结",
                status=DocumentStatus.FINAL,
                author="",
                written_at=work.clock.now(),
                media_type="",
                size=0,
                text_sealed=work.keys.seal_text("正文"),
                source="HIS",
                as_of=work.clock.now(),
                seq=1,
                confirmed_at=work.clock.now(),
                encounter_id=work.get(Instruction, ward.first).encounter_id,
            )
        )
        return {
            "patient_id": patient_id,
            "document_id": work.one(DocumentReference).id,
            "kind": "contact",
            "key": work.one(ContactPoint, ContactPoint.patient_id == patient_id).id,
            "people": {
                "kind": "related",
                "key": put_relative(work, patient_id=patient_id, name="李红", informant=Informant.PATIENT),
            },
            "instruction_id": ward.first,
            "alert_id": work.one(Alert).id,
            "review_id": work.one(Review).id,
            "account_id": work.one(Account, Account.username == "wang").id,
            "event_id": "0" * 32,  # of the system, not of a patient: no role here may ask
            "incident_id": "0" * 32,  # nor of the interface's
            "merge_id": "0" * 32,  # of a patient; a physician may undo none (tests/hcrm/desk/test_identity)
            "pair_id": "0" * 32,  # nor decide a pair (tests/hcrm/archive/test_pairs)
            "identifier_id": "0" * 32,  # nor end a number
            "run_id": "0" * 32,
            "form": "csv",  # of a run's marked file
            "act_id": "0" * 32,
            "allergy_id": "0" * 32,
            "change_id": "0" * 32,
            "code": "past_history",
            "field": "name",
            "axis": "disease_group",  # of rules, which no role here may publish
            "version": 1,
            "note_id": add_note(work, patient_id=patient_id, text="家属来电"),
            "recording_id": "0" * 32,
            "request_id": "0" * 32,
            "segment_id": "0" * 32,
            "stop_id": "0" * 32,  # of one's own end of contact (tests/hcrm/desk/test_reach_views)
            "report_id": "0" * 32,  # of one's own report of a death
            "tag_id": "0" * 32,
            "line_id": "0" * 32,
            "entry_id": "0"
            * 32,  # of a death list, for those who see the whole hospital (tests/hcrm/exchange)
            "seq": 1,
        }


def routes_with_keys(app: Flask, rows: dict[str, Any]) -> Iterator[tuple[str, str, AccessRule]]:
    """Method, path and rule of each route for people that takes a key; a new kind of key must be known here."""
    paths = app.url_map.bind("localhost")
    for route in app.url_map.iter_rules():
        rule = rule_of(app.view_functions[route.endpoint])
        if route.arguments and rule and rule.caller is Caller.PERSON and route.endpoint not in NO_ROW:
            known = {**rows, **rows.get(route.endpoint.partition(".")[0], {})}
            values = {name: known[name] for name in route.arguments}
            for method in sorted(route.methods & {"GET", "POST"}):
                yield method, paths.build(route.endpoint, values, method=method), rule


def ask(browser, method: str, path: str):
    if method == "GET":
        return browser.get(path)
    endpoint, _ = browser.client.application.url_map.bind("localhost").match(path, method)
    return browser.post(path, SENT_AT.get(endpoint, SENT))


def test_the_walk_meets_every_kind_of_row(app, rows, browser_of):
    """Whoever may, finds what the others must not find: else a wrong key would look like a good refusal."""
    head = browser_of("zhao")
    found = {
        path: ask(head, method, path).status_code
        for method, path, rule in routes_with_keys(app, rows)
        if method == "GET"
        and rule.needs in roles()["department_head"].words
        and "/fields/" not in path  # none is published here
    }

    assert len(found) >= 6
    assert set(found.values()) == {200}


@pytest.mark.parametrize(
    ("username", "held"),
    [
        ("qian", ["physician"]),
        ("sun", HEAD),  # the head of another department
        ("zhou", HEAD),  # an account without practitioner and department
    ],
)
def test_somebody_else_s_rows_are_not_there(
    app, rows, browser_of, make_person, database, clock, username, held
):
    if username != "qian":
        with open_work(database, actor=system_actor("test"), clock=clock, write=False) as work:
            other = work.scalar(sa.text("SELECT code FROM department WHERE name = '外科'"))
        make_person(username, held, **({"department_code": other} if username == "sun" else {}))
    browser = browser_of(username)
    words = frozenset().union(*(roles()[name].words for name in held))

    asked = list(routes_with_keys(app, rows))
    answers = {(method, path): ask(browser, method, path) for method, path, _ in asked}

    expected = {(method, path): 404 if rule.needs in words else 403 for method, path, rule in asked}
    assert {place: answer.status_code for place, answer in answers.items()} == expected
    assert not [place for place, answer in answers.items() if "张建国" in answer.text]


def test_a_machine_without_a_token_finds_nothing(app, rows):
    answer = app.test_client().get(f"/fhir/R4B/Patient/{rows['patient_id']}")

    assert answer.status_code == 401
