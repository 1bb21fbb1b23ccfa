"""Bearer tokens: scopes, what a refusal says, and that it is noted."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Blueprint, request

from hcrm.accounts.models import ApiToken
from hcrm.accounts.service import create_token, hash_token, revoke_token
from hcrm.api.bundle import page_size, search_bundle
from hcrm.api.outcome import fhir_response
from hcrm.api.shell import api_work, require_scope
from hcrm.app import factory
from hcrm.archive.queries import get_patient
from hcrm.audit.models import AuditEvent, AuditOutcome
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.errors import ConflictError, DeniedError, HcrmError, InvalidInput
from hcrm.core.work import open_work
from tests.support.builders import make_patient
from tests.support.console import no_audit

SECRET = "张建国"


@pytest.fixture(autouse=True)
def probe(monkeypatch):
    """Routes of a made-up colleague, in the real application."""
    bp = Blueprint("probe", __name__)

    @bp.get("/api/probe/patients/<patient_id>")
    @require_scope("fhir.read", audit="patient.read")
    def read(patient_id):
        with api_work() as work:
            patient = get_patient(work, patient_id)
            return fhir_response(
                {"resourceType": "Patient", "id": patient.id, "name": [{"text": patient.name}]}
            )

    @bp.post("/api/probe/patients")
    @require_scope("fhir.read", audit="none:a route of the tests")
    def write():
        with api_work("fhir.write"):
            return fhir_response({"resourceType": "Patient", "id": "1"}, 201)

    @bp.get("/api/probe/fault")
    @require_scope("fhir.read", audit="none:a route of the tests")
    def fault():
        raise {
            "bug": RuntimeError(SECRET),
            "conflict": ConflictError("x", "已被更改"),
            "denied": DeniedError("patient.read", subject_type="patient", subject_id="7"),
            "input": InvalidInput({"Patient.birthDate": "请填日期"}),
            "plain": HcrmError("fhir.unsupported", "不支持这个参数", status=400),
            "database": sa.exc.OperationalError("SELECT", {"name": SECRET}, Exception(SECRET)),
        }[request.args["kind"]]

    monkeypatch.setattr(factory, "BLUEPRINTS", (*factory.BLUEPRINTS, bp))


@pytest.fixture
def patient_id(database, clock):
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        return make_patient(work, name=SECRET).id


@pytest.fixture
def token(database, clock):
    def make(*scopes, name="engine"):
        with open_work(database, actor=system_actor("test"), clock=clock) as work:
            return create_token(work, name=name, scopes=scopes)

    return make


@pytest.fixture
def ask(app):
    client = app.test_client()

    def send(path, token=None, method="GET", **options):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return client.open(path, method=method, headers=headers | options.pop("headers", {}), **options)

    return send


def rows(database, statement):
    with open_work(database, actor=system_actor("test"), write=False) as work:
        return work.scalars(statement)


def test_a_token_reads_and_the_read_is_noted_under_its_name(ask, token, patient_id, database):
    answer = ask(f"/api/probe/patients/{patient_id}", token("fhir.read"))

    assert answer.status_code == 200
    assert answer.mimetype == "application/fhir+json"
    assert SECRET in answer.text, "Chinese stays readable"
    events = rows(database, sa.select(AuditEvent).where(AuditEvent.action == "patient.read"))
    assert [event.actor_name for event in events] == ["engine"]


@pytest.mark.parametrize("given", [None, "", "made up", "hcrm_" + "x" * 43])
def test_without_a_token_of_ours_the_answer_is_401_and_names_the_way(ask, patient_id, given):
    answer = ask(f"/api/probe/patients/{patient_id}", given)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json["issue"][0]["code"] == "login"


def test_basic_authentication_and_a_person_s_cookie_open_nothing(
    ask, token, patient_id, browser_of, make_person
):
    value = token("fhir.read")
    make_person("wang")

    basic = ask(f"/api/probe/patients/{patient_id}", headers={"Authorization": f"Basic {value}"})
    cookie = browser_of("wang").get(f"/api/probe/patients/{patient_id}")

    assert (basic.status_code, cookie.status_code) == (401, 401)


def test_a_missing_scope_is_403_and_noted(ask, token, patient_id, database):
    answer = ask(f"/api/probe/patients/{patient_id}", token("inbox.write"))

    assert answer.status_code == 403
    assert SECRET not in answer.text
    events = rows(database, sa.select(AuditEvent).where(AuditEvent.outcome == AuditOutcome.DENIED))
    assert [(event.action, event.actor_name) for event in events] == [("fhir.read", "engine")]


def test_a_route_may_ask_for_a_second_scope(ask, token):
    assert ask("/api/probe/patients", token("fhir.read"), "POST").status_code == 403
    assert ask("/api/probe/patients", token("fhir.read", "fhir.write", name="two"), "POST").status_code == 201


def test_a_revoked_token_is_dead_at_once(ask, token, patient_id, database):
    value = token("fhir.read")
    with open_work(database, actor=system_actor("test")) as work:
        revoke_token(work, name="engine")

    assert ask(f"/api/probe/patients/{patient_id}", value).status_code == 401


def test_the_table_keeps_no_token_and_the_last_use_once_a_minute(ask, token, patient_id, database, clock):
    value = token("fhir.read")
    first = clock.now()
    seen = []
    for seconds in (0, 30, 31):
        clock.move(seconds=seconds)
        ask(f"/api/probe/patients/{patient_id}", value)
        seen.append(rows(database, sa.select(ApiToken))[0].last_used_at)

    assert seen == [first, first, first + timedelta(seconds=61)]
    row = rows(database, sa.select(ApiToken))[0]
    assert row.token_sha256 == hash_token(value)
    assert value not in str(vars(row))


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("bug", 500, "exception"),
        ("database", 503, "transient"),
        ("conflict", 409, "conflict"),
        ("denied", 404, "not-found"),
        ("plain", 400, "invalid"),
        ("input", 422, "value"),
    ],
)
def test_whatever_goes_wrong_is_an_outcome_without_details(ask, token, kind, status, code, capsys):
    answer = ask(f"/api/probe/fault?kind={kind}", token("fhir.read"))

    assert answer.status_code == status
    assert answer.json["resourceType"] == "OperationOutcome"
    assert answer.json["issue"][0]["code"] == code
    for text in (answer.text, *capsys.readouterr()):
        assert SECRET not in text
        assert "SELECT" not in text


def test_a_path_that_does_not_exist_is_an_outcome_too(ask):
    answer = ask("/api/nothing")

    assert (answer.status_code, answer.json["issue"][0]["code"]) == (404, "not-found")


def test_a_wrong_method_names_the_right_ones(ask, token):
    answer = ask("/api/probe/patients", token("fhir.read"), "DELETE")

    assert (answer.status_code, answer.headers["Allow"]) == (405, "OPTIONS, POST")


def test_without_audit_a_machine_gets_no_data(ask, token, patient_id, database):
    value = token("fhir.read")

    with no_audit(database):
        answer = ask(f"/api/probe/patients/{patient_id}", value)

    assert answer.status_code == 503
    assert SECRET not in answer.text


# ── bundles ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("asked", "size"),
    [({}, limits.FHIR_PAGE_SIZE), ({"_count": "7"}, 7), ({"_count": "1000000"}, 200), ({"_count": "0"}, 1)],
)
def test_count_is_capped(asked, size):
    assert page_size(asked) == size


@pytest.mark.parametrize("asked", ["-1", "ten", "1.5", "9" * 5000])
def test_a_count_that_is_no_number_is_a_bad_request(asked):
    with pytest.raises(HcrmError) as caught:
        page_size({"_count": asked})

    assert caught.value.status == 400


def test_a_bundle_links_to_itself_and_to_the_next_page():
    bundle = search_bundle(
        [{"resourceType": "Patient", "id": "1"}],
        base_url="http://h/fhir/R4B", path="Patient", arguments=[("name", "张")],
        next_key="k2", included=[{"resourceType": "Encounter", "id": "2"}],
    )  # fmt: skip

    assert {link["relation"]: link["url"] for link in bundle["link"]} == {
        "self": "http://h/fhir/R4B/Patient?name=%E5%BC%A0",
        "next": "http://h/fhir/R4B/Patient?_page=k2",
    }
    assert [entry["search"]["mode"] for entry in bundle["entry"]] == ["match", "include"]
    assert bundle["entry"][0]["fullUrl"] == "http://h/fhir/R4B/Patient/1"


def test_an_empty_bundle_has_no_empty_array():
    bundle = search_bundle([], base_url="http://h", path="Patient", arguments=[], total=0)

    assert "entry" not in bundle
    assert bundle["total"] == 0
