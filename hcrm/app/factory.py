"""The Flask application: one explicit function, nothing registered anywhere else."""

from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix

from followup.form_page import name_typed
from followup.queries import count_waiting_alerts
from hcrm.accounts.security import ended_username, find_machine, init_security, load_person
from hcrm.api.outcome import answer_error as answer_machine
from hcrm.api.outcome import is_machine_path
from hcrm.api.shell import ApiShell, init_api
from hcrm.app.blueprints import BLUEPRINTS, OFF_MENU
from hcrm.app.health import count_request
from hcrm.app.routes import check_routes
from hcrm.app.wiring import SEGMENT_FIELDS, WAITING, console_parts, exportables, importers
from hcrm.audit.models import AuditOutcome
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.clock import Clock, SystemClock
from hcrm.core.db import Database
from hcrm.core.dialling import load_dial_rules
from hcrm.core.errors import DeniedError
from hcrm.core.paths import package_path, template_path
from hcrm.core.runtime import Runtime, open_sources
from hcrm.core.settings import Settings
from hcrm.core.work import Work
from hcrm.inbox.monitor import count_incidents
from hcrm.scheduler.table import JOBS
from hcrm.segments.catalogue import use_fields
from hcrm.web.errors import answer_error as answer_person
from hcrm.web.filters import register_filters
from hcrm.web.security import set_headers
from hcrm.web.shell import Shell, init_shell, today

_MENU_COUNTS = dict.fromkeys(("inbox.list_messages", "inbox.overview"), ("message.read", count_incidents))
"""What waits at entries of the menu, and who may know."""


def create_app(settings: Settings, database: Database, *, clock: Clock | None = None) -> Flask:
    """Console and APIs over one database."""
    app = Flask("hcrm", static_folder=package_path("static"), template_folder=template_path("web"))
    app.config.update(_config(settings, database))
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    runtime = Runtime(settings, database, clock or SystemClock())
    # Behind TLS there is one proxy: its word on scheme, host and address is taken, and nobody else's.
    if settings.http.secure:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]
    # The shells first: their guards run before Flask-Security asks who is signed in.
    init_shell(
        app,
        Shell(
            runtime,
            load_person,
            ended_username,
            record_denied,
            count_waiting_alerts,
            name_typed,
            _MENU_COUNTS,
        ),
    )
    init_api(app, ApiShell(runtime, find_machine, record_denied))
    init_security(app)
    with app.app_context():
        register_filters(app, today)
    app.extensions["hcrm.jobs"] = {job.name: job.title for job in JOBS}  # the system page names them
    app.extensions["hcrm.waiting"] = WAITING
    sources = open_sources(settings)
    app.extensions["hcrm.inbox"] = console_parts(sources)
    app.extensions["hcrm.inbox.sources"] = sources  # of what comes over HTTP
    use_fields(SEGMENT_FIELDS)
    app.extensions["hcrm.importers"] = importers()
    app.extensions["hcrm.exportables"] = exportables()
    load_dial_rules()  # a mistake in it stops the start, not somebody's page
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    app.register_error_handler(Exception, answer_error)
    app.after_request(count_request)
    app.after_request(set_headers)
    check_routes(app, OFF_MENU)
    return app


def _config(settings: Settings, database: Database) -> dict[str, object]:
    secure = settings.http.secure
    return {
        # From the key file, so that every process of an installation reads the same cookies and no secret is stored.
        "SECRET_KEY": database.keys.blind("secret", "cookies"),
        "SESSION_COOKIE_NAME": "__Host-hcrm" if secure else "hcrm",
        "SESSION_COOKIE_SECURE": secure,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_PATH": "/",
        "WTF_CSRF_TIME_LIMIT": None,  # a form may stay open for a shift; the token ends with the session
        "MAX_CONTENT_LENGTH": limits.MAX_FRAME_BYTES,
        "TEMPLATES_AUTO_RELOAD": False,
    }


def record_denied(work: Work, denial: DeniedError) -> None:
    """Note what was refused."""
    record_audit(
        work, action=denial.action, patients=denial.patients, subject_type=denial.subject_type,
        subject_id=denial.subject_id, outcome=AuditOutcome.DENIED,
    )  # fmt: skip


def answer_error(error: Exception) -> Response:
    """Pages for people, OperationOutcome for machines."""
    return answer_machine(error) if is_machine_path(request.path) else answer_person(error)
