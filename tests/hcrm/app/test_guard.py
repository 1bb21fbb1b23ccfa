"""Permission, scope, token and audit on every route; what goes wrong is a page without data."""

import pytest
import sqlalchemy as sa
from flask import Blueprint, abort, render_template_string, request

from hcrm.accounts.permissions import PERMISSIONS, roles
from hcrm.app import factory
from hcrm.app.blueprints import OFF_MENU
from hcrm.archive.queries import get_patient
from hcrm.audit.models import AuditEvent, AuditOutcome, AuditSubject
from hcrm.audit.queries import ACTIONS
from hcrm.core.access import Caller, rule_of
from hcrm.core.actor import system_actor
from hcrm.core.errors import ConflictError, HcrmError, InvalidInput
from hcrm.core.work import open_work
from hcrm.directory.models import Department
from hcrm.web.shell import SAFE_METHODS, console_work, require
from tests.support.builders import make_encounter, make_patient
from tests.support.console import OWN_PAGE, no_audit

SECRET = "张建国 13800138000"


@pytest.fixture(autouse=True)
def probe(monkeypatch):
    """Pages of a made-up colleague, in the real application."""
    bp = Blueprint("probe", __name__)

    @bp.get("/probe/patients/<patient_id>")
    @require("patient.read", audit="patient.read")
    def show(patient_id):
        with console_work() as work:
            patient = get_patient(work, patient_id)
        return render_template_string("{{ patient.name }}", patient=patient)

    @bp.post("/probe/notes")
    @require("patient.read", audit="none:a page of the tests")
    def note():
        raise {
            "conflict": ConflictError("record.stale", "已被他人更改"),
            "input": InvalidInput({"text": "太短"}),
            "plain": HcrmError("note.refused", "现在不能记录"),
        }[request.form["kind"]]

    @bp.get("/probe/fault")
    @require("patient.read", audit="none:a page of the tests")
    def fault():
        raise RuntimeError(SECRET)

    @bp.get("/probe/abort/<int:status>")
    @require("patient.read", audit="none:a page of the tests")
    def stop(status):
        abort(status)

    pages = {f"probe.{name}": "a page of the tests" for name in ("show", "fault", "stop")}
    monkeypatch.setattr(factory, "BLUEPRINTS", (*factory.BLUEPRINTS, bp))
    monkeypatch.setattr(factory, "OFF_MENU", OFF_MENU | pages)


@pytest.fixture
def hospital(database, clock, make_person):
    """Two departments with a patient each, a physician of the first."""
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        stays = {}
        for code, name in (("CARD", "心内科"), ("NEUR", "神经内科")):
            department = Department(
                id=work.new_id(), code=code, name=name, is_verified=True, created_at=work.clock.now()
            )
            work.add(department)
            stays[code] = make_encounter(
                work, patient=make_patient(work, name=f"{name}患者"), department=department
            ).patient_id
    make_person("physician", roles=["physician"], department_code="CARD", practitioner_code="P1")
    make_person("centre", roles=["service_centre"])
    make_person("admin", roles=["sysadmin"])
    return stays


@pytest.fixture
def audit(database, clock):
    """The rows of an action: outcome and patients."""

    def rows(action):
        with open_work(database, actor=system_actor("test"), clock=clock, write=False) as work:
            found = work.execute(
                sa.select(AuditEvent.outcome, AuditEvent.actor_name, AuditSubject.subject_patient_id)
                .outerjoin(AuditSubject, AuditSubject.audit_id == AuditEvent.id)
                .where(AuditEvent.action == action)
                .order_by(AuditEvent.id)
            )
            return [tuple(row) for row in found]

    return rows


# ── who may ─────────────────────────────────────────────────────────────────


def test_a_physician_sees_a_patient_of_their_department_and_the_read_is_noted(browser_of, hospital, audit):
    answer = browser_of("physician").get(f"/probe/patients/{hospital['CARD']}")

    assert (answer.status_code, answer.text) == (200, "心内科患者")
    assert audit("patient.read") == [(AuditOutcome.DONE, "physician", hospital["CARD"])]


def test_another_departments_patient_is_not_found_and_the_attempt_is_noted(browser_of, hospital, audit):
    answer = browser_of("physician").get(f"/probe/patients/{hospital['NEUR']}")

    assert answer.status_code == 404
    assert "神经内科患者" not in answer.text
    assert audit("patient.read") == [(AuditOutcome.DENIED, "physician", hospital["NEUR"])]


def test_an_absent_patient_looks_like_another_departments(browser_of, hospital, audit):
    browser = browser_of("physician")

    absent = browser.get(f"/probe/patients/{'0' * 32}")
    foreign = browser.get(f"/probe/patients/{hospital['NEUR']}")

    def without_token(answer):
        return [line for line in answer.text.splitlines() if "csrf" not in line]

    assert absent.status_code == foreign.status_code == 404
    assert without_token(absent) == without_token(foreign)
    assert len(audit("patient.read")) == 1


def test_a_role_without_the_permission_is_refused_and_noted(browser_of, hospital, audit):
    answer = browser_of("admin").get(f"/probe/patients/{hospital['CARD']}")

    assert answer.status_code == 403
    assert "您的角色不能进行这项操作" in answer.text
    assert [row[0] for row in audit("patient.read")] == [AuditOutcome.DENIED]


@pytest.mark.parametrize("role", list(roles()))
def test_a_role_reaches_exactly_the_pages_its_permissions_name(app, browser_of, make_person, role):
    make_person("somebody", roles=[role])
    browser = browser_of("somebody")
    held = roles()[role].words
    with app.test_request_context():
        pages = {
            route.endpoint: app.url_map.bind("localhost").build(route.endpoint)
            for route in app.url_map.iter_rules()
            if "GET" in route.methods and not route.arguments and route.endpoint != "static"
        }
    for endpoint, path in pages.items():
        rule = rule_of(app.view_functions[endpoint])
        if rule.caller is Caller.PERSON and endpoint != "probe.fault":
            status = browser.get(path).status_code
            assert (status != 403) == (rule.needs in held), f"{role} on {path}: {status}"


def test_the_system_administrator_holds_no_permission_on_patients():
    assert not [word for word in roles()["sysadmin"].words if word.startswith(("patient.", "instruction."))]


def test_every_permission_is_held_by_some_role():
    assert set().union(*(role.words for role in roles().values())) == set(PERMISSIONS)


def test_whatever_a_route_notes_has_a_name_on_the_audit_page(app):
    rules = [rule_of(view) for view in app.view_functions.values()]
    words = {word for rule in rules if rule for word in (rule.audit, rule.needs) if word and ":" not in word}

    assert words - {"account.self"} <= set(ACTIONS)


# ── the build ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        (None, "declares no rule"),
        (require("patient.raed", audit="patient.read"), "unknown permission"),
        (require("patient.read", audit="reads"), "no audit class"),
        (require("patient.read", audit="none:"), "without a reason"),
        (require("patient.read", audit="patient.read"), "outside the menu map"),
    ],
)
def test_a_route_without_rule_audit_class_or_way_to_it_fails_the_build(
    settings, database, monkeypatch, rule, complaint
):
    bp = Blueprint("stray", __name__)
    view = rule(lambda: "") if rule else (lambda: "")
    bp.add_url_rule("/stray", "page", view)
    monkeypatch.setattr(factory, "BLUEPRINTS", (*factory.BLUEPRINTS, bp))

    with pytest.raises(RuntimeError, match=f"stray.page .*{complaint}"):
        factory.create_app(settings, database)


# ── tokens and headers on every route ───────────────────────────────────────


def test_every_unsafe_route_refuses_a_request_without_token(app, browser_of, make_person):
    make_person("all", roles=list(roles()))
    browser = browser_of("all")
    checked = []
    for route in app.url_map.iter_rules():
        rule = None if route.endpoint == "static" else rule_of(app.view_functions[route.endpoint])
        if rule is None or rule.caller is Caller.MACHINE:
            continue
        path = app.url_map.bind("localhost").build(
            route.endpoint,
            dict.fromkeys(route.arguments, 1),
            method="GET" if "GET" in route.methods else "POST",
        )
        for method in route.methods - SAFE_METHODS:
            for headers in (OWN_PAGE, {}, OWN_PAGE | {"HX-Request": "true"}):
                answer = browser.client.open(path, method=method, data={"text": "x"}, headers=headers)
                assert answer.status_code == 403, f"{method} {path}"
            checked.append(route.endpoint)
    assert {"accounts.log_in", "accounts.log_in_again", "accounts.log_out", "accounts.create_account"} <= set(
        checked
    )


def test_a_form_without_token_gets_a_page_that_says_so_and_shows_the_text(browser_of, hospital):
    browser = browser_of("centre")
    browser.token = "stale"

    answer = browser.post("/probe/notes", {"text": "打了很久的字"})

    assert answer.status_code == 403
    assert "页面打开得太久" in answer.text
    assert "打了很久的字" in answer.text


def test_every_answer_carries_the_headers(app, browser_of, hospital):
    browser = browser_of("centre")
    for path in (
        "/",
        "/login",
        "/nope",
        "/probe/fault",
        "/livez",
        "/metrics",
        "/fhir/R4B/x",
        "/static/css/hcrm.css",
    ):
        with browser.get(path) as answer:
            headers = answer.headers
        assert "default-src 'none'" in headers["Content-Security-Policy"], path
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Cache-Control"] == "no-store" or path.startswith("/static"), path


def test_cookies_are_http_only_and_same_site_and_bound_to_the_host_behind_tls(
    settings, database, make_person
):
    plain = factory.create_app(settings, database).test_client().get("/login").headers["Set-Cookie"]
    secured = settings.model_copy(update={"http": settings.http.model_copy(update={"secure": True})})
    answer = (
        factory.create_app(secured, database)
        .test_client()
        .get("/login", headers={"X-Forwarded-Proto": "https", "X-Forwarded-Host": "hcrm.example"})
    )

    assert "HttpOnly" in plain
    assert "SameSite=Lax" in plain
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-hcrm=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= {part.strip() for part in cookie.split(";")}
    assert "Domain" not in cookie
    assert "max-age=31536000" in answer.headers["Strict-Transport-Security"]


# ── what goes wrong ─────────────────────────────────────────────────────────


def test_without_audit_there_is_no_data(browser_of, hospital, database):
    browser = browser_of("physician")

    with no_audit(database):
        own = browser.get(f"/probe/patients/{hospital['CARD']}")
        foreign = browser.get(f"/probe/patients/{hospital['NEUR']}")

    assert (own.status_code, foreign.status_code) == (503, 503)
    assert "患者" not in own.text.replace("医院患者关系管理系统", "")
    assert "错误编号" in own.text


def test_a_fault_shows_a_number_and_logs_the_same_number_and_no_data(browser_of, hospital, capsys):
    answer = browser_of("centre").get("/probe/fault")

    assert answer.status_code == 500
    log = "".join(capsys.readouterr())
    number = answer.text.partition('错误编号 <span class="num">')[2][:8]
    assert number in log
    assert "probe.fault" in log
    for text in (answer.text, log):
        assert SECRET not in text
        assert "Traceback" not in text


@pytest.mark.parametrize("status", [400, 404, 405, 413, 415, 429, 500, 503])
def test_every_status_has_a_page_in_chinese(browser_of, hospital, status):
    answer = browser_of("centre").get(f"/probe/abort/{status}")

    assert answer.status_code == status
    assert 'lang="zh-CN"' in answer.text
    assert "Error" not in answer.text


@pytest.mark.parametrize(("kind", "status"), [("conflict", 409), ("input", 422), ("plain", 422)])
def test_a_refusal_nobody_caught_keeps_the_text_on_its_page(browser_of, hospital, kind, status):
    answer = browser_of("centre").post("/probe/notes", {"kind": kind, "text": "<i>打了很久的字</i>"})

    assert answer.status_code == status
    assert "&lt;i&gt;打了很久的字&lt;/i&gt;" in answer.text


def test_htmx_gets_a_sentence_and_not_a_page_within_the_page(browser_of, hospital):
    answer = browser_of("centre").post(
        "/probe/notes", {"kind": "plain"}, headers=OWN_PAGE | {"HX-Request": "true"}
    )

    assert answer.status_code == 422
    assert "现在不能记录" in answer.text
    assert "<html" not in answer.text


def test_the_database_away_is_a_503_and_says_nothing_of_it(app, browser_of, hospital, monkeypatch):
    browser = browser_of("centre")
    monkeypatch.setattr(
        "hcrm.accounts.security.open_work",
        lambda *_, **__: (_ for _ in ()).throw(
            sa.exc.OperationalError("SELECT 1", {"name": SECRET}, Exception())
        ),
    )

    answer = browser.get("/probe/fault")

    assert answer.status_code == 503
    assert "SELECT" not in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/patients/%00", 404),
        ("/instructions/%00/form", 404),
        ("/interface/messages?control_id=%00", 400),
        ("/instructions?department=%00", 400),
        ("/patients?%00=1", 400),
        ("/login?next=%00", 400),
    ],
)
def test_an_address_with_a_nul_is_no_page_of_ours(browser_of, make_person, path, status):
    make_person("wang")

    assert browser_of("wang").get(path).status_code == status


def test_a_nul_is_taken_out_of_a_form(browser_of, make_person):
    make_person("wang")

    browser = browser_of()
    browser.get("/login")
    answer = browser.post("/login", {"username": "wa\0ng", "password": "wrong"})

    assert answer.status_code < 500
    assert 'value="wang"' in answer.text
