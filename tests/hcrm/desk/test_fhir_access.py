"""Who may read by FHIR, what audit knows of it, and what a page costs."""

import sqlalchemy as sa

from hcrm.app.factory import create_app
from hcrm.audit.models import AuditEvent, AuditSubject
from hcrm.core.clock import FixedClock
from hcrm.core.crypto import KeyRing
from hcrm.core.db import Database
from hcrm.core.migrate import migrate
from hcrm.core.settings import Settings
from tests.support.fhir import FhirClient, Hospital, make_response, make_task, person, token_of


def test_without_a_token_nothing_is_answered_but_metadata(fhir: FhirClient):
    for path in ("Patient/x", "Patient", "Nonsense"):
        answer = fhir.open(path, headers={"Authorization": ""})

        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.get_json()["resourceType"] == "OperationOutcome"
    assert fhir.open("metadata", headers={"Authorization": ""}).status_code == 200


def test_a_token_for_something_else_is_refused(fhir: FhirClient, hospital: Hospital):
    with hospital.work() as work:
        token = token_of(work, "inbox.write")

    fhir.refusal("Patient", 403, headers={"Authorization": f"Bearer {token}"})


def test_a_read_is_noted_with_the_patient_it_showed(fhir: FhirClient, hospital: Hospital):
    hospital.admit("M1", "V1")
    hospital.admit("M2", "V2")
    hospital.merge("M1", "M2")
    for address in (f"Encounter/{hospital.visits['V2']}", f"Patient/{hospital.patients['M2']}"):
        fhir.read(address)

    with hospital.work() as work:
        events = work.all(AuditEvent, AuditEvent.action == "fhir.read")
        subjects = work.all(AuditSubject, AuditSubject.audit_id.in_([event.id for event in events]))

    assert {(event.subject_type, event.subject_id) for event in events} == {
        ("encounter", hospital.visits["V2"]),
        ("patient", hospital.patients["M2"]),
    }
    assert [subject.subject_patient_id for subject in subjects] == [hospital.patients["M1"]] * 2
    assert {event.actor_name for event in events} == {"fhir.read"}


def test_a_search_is_one_event_with_a_row_for_each_patient_and_no_value(fhir: FhirClient, hospital: Hospital):
    ids = hospital.many(5)

    fhir.search("Encounter", date="ge2026", status="in-progress")
    fhir.search("Patient", phone="13800138000")

    with hospital.work() as work:
        page, nobody = work.scalars(
            sa.select(AuditEvent).where(AuditEvent.action == "fhir.search").order_by(AuditEvent.id)
        )
        shown = work.all(AuditSubject, AuditSubject.audit_id == page.id)
        assert work.all(AuditSubject, AuditSubject.audit_id == nobody.id) == []

    assert sorted(row.subject_patient_id for row in shown) == sorted(ids)
    assert page.detail == {"type": "Encounter", "by": ["date", "status"], "count": 5}
    assert "13800138000" not in str(nobody.detail)


def test_what_audit_cannot_note_does_not_leave(
    blank_database_url: str, settings: Settings, keys: KeyRing, clock: FixedClock
):
    """W4: no audit, no data. A database of its own, since a table of it is dropped."""
    migrate(blank_database_url)
    database = Database(blank_database_url, keys)
    hospital = Hospital(database, clock)
    hospital.tell(person("M1"))
    with hospital.work() as work:
        client = FhirClient(
            create_app(settings, database, clock=clock).test_client(), token_of(work, "fhir.read")
        )
    with hospital.work() as work:
        work.execute(sa.text("DROP TABLE audit_subject"))

    outcome = client.refusal(f"Patient/{hospital.patients['M1']}", 503)

    assert "张建国" not in str(outcome)
    database.dispose()


# ── cost ────────────────────────────────────────────────────────────────────


def test_a_page_costs_the_same_queries_whatever_its_length(fhir: FhirClient, hospital: Hospital):
    hospital.many(20)
    for number in hospital.visits:
        make_response(hospital, make_task(hospital, number), {"pain": 1})

    for kind in ("Patient", "Encounter", "Condition", "Task", "QuestionnaireResponse"):
        small, large = (
            count_queries(hospital, lambda n=n, kind=kind: fhir.search(kind, _count=n)) for n in ("2", "20")
        )

        assert (kind, large) == (kind, small)
        assert large <= 6


def count_queries(hospital: Hospital, call) -> int:
    """Statements that read, without those of the token."""
    seen = []

    def note(_connection, _cursor, statement, *_rest):
        if statement.lstrip().upper().startswith("SELECT") and "api_token" not in statement:
            seen.append(statement)

    sa.event.listen(hospital.database.main, "before_cursor_execute", note)
    call()
    sa.event.remove(hospital.database.main, "before_cursor_execute", note)
    return len(seen)
