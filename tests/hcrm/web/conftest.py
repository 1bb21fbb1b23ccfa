"""A small hospital console of made-up pages: the shell's own files without any part of the product."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from threading import Thread

import pytest
from flask import Blueprint, Flask, flash, g, make_response, redirect, render_template, request
from flask_wtf import CSRFProtect
from jinja2 import FileSystemLoader
from werkzeug.serving import make_server

from hcrm.core.actor import Actor
from hcrm.core.paths import package_path, template_path
from hcrm.web.filters import register_filters
from hcrm.web.nav import shell_context
from hcrm.web.paging import Page
from hcrm.web.security import set_headers

TODAY = date(2026, 11, 22)
PAGES = Path(__file__).parent / "pages"


def build_console() -> Flask:
    app = Flask("console", static_folder=str(package_path("static")))
    app.secret_key = "made up"
    app.jinja_options = {"autoescape": True}
    app.jinja_loader = FileSystemLoader([template_path("web"), PAGES])
    app.jinja_env.filters["as_date"] = date.fromisoformat
    CSRFProtect(app)
    register_filters(app, today=lambda: TODAY)
    app.after_request(set_headers)
    app.context_processor(fill_shell)
    desk = Blueprint("desk", __name__)
    desk.add_url_rule("/patients", "search_patients", lambda: "", methods=["GET", "POST"])
    desk.add_url_rule("/patients/<key>", "show_patient", lambda key: render_template("patient.html"))
    centre = Blueprint("centre", __name__)
    centre.add_url_rule("/instructions", "list_instructions", show_list)
    followup = Blueprint("followup", __name__)
    followup.add_url_rule("/form", "show_form", show_form, methods=["GET", "POST"])
    followup.add_url_rule("/ended", "ended", show_ended, methods=["GET", "POST"])
    log = Blueprint("contact_log", __name__)
    log.add_url_rule("/contacts", "list_contacts", lambda: "")
    app.register_blueprint(log)
    app.register_blueprint(desk)
    app.register_blueprint(centre)
    app.register_blueprint(followup)
    add_small_routes(app)
    return app


def fill_shell() -> dict[str, object]:
    actor = g.get("actor") or Actor(
        id="1", name="林晓梅", permissions=frozenset({"*"}), roles=("service_centre",)
    )
    return shell_context(actor, request.endpoint) | {
        "hospital_name": "江南市第一人民医院",
        "actor": actor,
        "role_label": "客服主管",
        "search_url": "/patients",
        "sign_out_url": "/out",
        "alerts": {"count": 3, "url": "/instructions"},
    }


def show_list() -> str:
    rows = [("张建国", date(2026, 11, 20)), ("买买提·阿不都热依木·艾尼瓦尔", date(2026, 11, 25))]
    return render_template("list.html", page=Page(rows, next_key="n1", previous_key="p1"))


def show_form() -> object:
    errors = {}
    if request.method == "POST":
        if request.headers.get("HX-Request") and "ended" in request.cookies:
            return "", 401
        if "ended" in request.cookies:
            return show_ended()
        if not request.form.get("sbp", "").isdigit():
            errors = {"sbp": "请填写数字"}
        else:
            flash({"text": "已提交随访", "undo": "/undo"}, "success")
            return redirect("/instructions")
    scale = [(i, i) for i in range(11)]
    page = render_template("form.html", errors=errors, scale=scale, htmx="htmx" in request.args)
    return page, 422 if errors else 200


def show_ended() -> object:
    fields = [(name, value) for name, value in request.form.items(multi=True) if name != "csrf_token"]
    return render_template(
        "login_again.html", username="1001", again_action="/again", target="/form", fields=fields
    )


def log_in_again() -> object:
    kept = [
        (name.removeprefix("kept."), value)
        for name, value in request.form.items()
        if name.startswith("kept.")
    ]
    answer = make_response(render_template("login_replay.html", target=request.form["target"], fields=kept))
    answer.delete_cookie("ended")
    return answer


def add_small_routes(app: Flask) -> None:
    app.add_url_rule("/", "home", lambda: redirect("/instructions"))
    app.add_url_rule("/login", "login", lambda: render_template("login.html", username="1001"))
    app.add_url_rule("/again", "again", log_in_again, methods=["POST"])
    app.add_url_rule("/undo", "undo", lambda: "撤销了", methods=["POST"])
    app.add_url_rule("/done/<key>", "done", lambda key: f"办结 {key}", methods=["POST"])
    app.add_url_rule("/out", "out", lambda: "", methods=["POST"])
    app.add_url_rule(
        "/reveal", "reveal", lambda: '<span class="masked num">13800138000</span>', methods=["POST"]
    )


@pytest.fixture(scope="session")
def console() -> Flask:
    return build_console()


@pytest.fixture
def as_actor(console: Flask) -> Iterator[object]:
    """A request context in which that actor acts."""

    def enter(actor: Actor | None, path: str = "/instructions") -> object:
        context = console.test_request_context(path)
        context.push()
        g.actor = actor
        entered.append(context)
        return context

    entered: list = []
    yield enter
    for context in reversed(entered):
        context.pop()


@pytest.fixture(scope="module")
def console_url(console: Flask) -> Iterator[str]:
    """The made-up console on a loopback port."""
    server = make_server("127.0.0.1", 0, console, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
