"""Pages: sign in and out, one's own password, and the accounts of a hospital."""

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from hcrm.accounts import queries, service
from hcrm.accounts.inputs import NewAccount, PasswordChange
from hcrm.accounts.passwords import check_new_password, hash_password, make_password, verify_password
from hcrm.accounts.permissions import roles
from hcrm.accounts.security import ended_account_id, load_person, remember_session, sign_in, sign_out
from hcrm.accounts.sign_in import begin_attempt, open_session
from hcrm.core.errors import HcrmError
from hcrm.core.inputs import read_input
from hcrm.web.nav import home_endpoint
from hcrm.web.shell import (
    KEPT,
    console_work,
    exempt,
    flash,
    form_errors,
    form_values,
    is_form_target,
    is_own_path,
    login_again_page,
    require,
)

bp = Blueprint("accounts", __name__)


# ── signing in and out ──────────────────────────────────────────────────────


@bp.get("/")
@require("account.self", audit="none:only leads to the person's first page")
def home() -> ResponseReturnValue:
    """Where a person starts."""
    endpoint = home_endpoint(g.actor)
    return redirect(url_for(endpoint)) if endpoint else render_template("accounts/home.html")


@bp.route("/login", methods=["GET", "POST"])
@exempt("nobody is signed in yet; sign_in notes every try")
def log_in() -> ResponseReturnValue:
    """The login page."""
    next_path = request.values.get("next", "")
    if request.method == "GET":
        if load_person() is not None:
            return redirect(_after_login(next_path))
        return render_template("login.html", next_url=next_path)
    username = request.form.get("username", "")
    try:
        sign_in(username, request.form.get("password", ""))
    except HcrmError as error:
        return render_template(
            "login.html", username=username, next_url=next_path, errors=form_errors(error)
        ), error.status
    return redirect(_after_login(next_path), 303)


@bp.post("/login/again")
@exempt("the session has ended; sign_in notes every try")
def log_in_again() -> ResponseReturnValue:
    """Sign in while a form waits. Its fields go back to where they belong, for the same person only."""
    target = request.form.get("target", "")
    fields = [
        (name.removeprefix(KEPT), value)
        for name, value in request.form.items(multi=True)
        if name.startswith(KEPT)
    ]
    ended = ended_account_id()
    try:
        account = sign_in(request.form.get("username", ""), request.form.get("password", ""))
    except HcrmError as error:
        return login_again_page(target, fields, form_errors(error), error.status)
    if not is_form_target(target):
        return redirect(url_for("accounts.home"), 303)
    if ended and ended != account.id:
        flash("刚才填写的内容属于另一个账号，没有提交", "warning")
        return redirect(url_for("accounts.home"), 303)
    return render_template("login_replay.html", target=target, fields=fields)


@bp.post("/logout")
@require("account.self", audit="session.logout")
def log_out() -> ResponseReturnValue:
    """Sign out."""
    sign_out()
    return redirect(url_for("accounts.log_in"), 303)


def _after_login(next_path: str) -> str:
    return next_path if is_own_path(next_path) else url_for("accounts.home")


# ── one's own password ──────────────────────────────────────────────────────


@bp.route("/account/password", methods=["GET", "POST"])
@require("account.self", audit="account.password_change")
def change_password() -> ResponseReturnValue:
    """Change one's own password; every other session of the person ends."""
    must = g.person.must_visit is not None
    if request.method == "GET":
        return render_template("accounts/password.html", errors={}, must=must)
    try:
        _change_password()
    except HcrmError as error:
        return render_template("accounts/password.html", errors=form_errors(error), must=must), error.status
    flash("密码已修改，其他设备上的登录已退出", "success")
    return redirect(url_for("accounts.home"), 303)


def _change_password() -> None:
    form = read_input(PasswordChange, form_values())
    with console_work(write=False) as work:
        username = queries.get_account(work, g.actor.id).username
    if form.new_password != form.again_password:
        raise HcrmError("password.differ", "两次输入的新密码不一致", field="again_password")
    if form.new_password == form.old_password:
        raise HcrmError("password.same", "新密码与原密码相同", field="new_password")
    check_new_password(form.new_password, username=username, field="new_password")
    # Counted like a sign-in: whoever finds the screen open must not try passwords here without end.
    with console_work() as work:
        attempt = begin_attempt(work, username=username, address=g.actor.address or "")
    if not verify_password(form.old_password, attempt.password_hash):
        raise HcrmError("password.wrong", "原密码不正确", field="old_password")
    new_hash = hash_password(form.new_password)
    with console_work() as work:
        account = service.change_password(
            work, account_id=g.actor.id, old_hash=attempt.password_hash, password_hash=new_hash
        )
        session_id = open_session(work, account=account, attempt=attempt)
    remember_session(account, session_id)


# ── the hospital's accounts ─────────────────────────────────────────────────


@bp.get("/accounts")
@require("account.manage", audit="none:no patient data")
def list_accounts() -> ResponseReturnValue:
    """Every account."""
    role = request.args.get("role", "")
    with console_work() as work:
        page = queries.list_accounts(work, role=role or None, key=request.args.get("key"))
    return render_template("accounts/list.html", page=page, roles=_role_options())


@bp.route("/accounts/new", methods=["GET", "POST"])
@require("account.manage", audit="account.create")
def create_account() -> ResponseReturnValue:
    """Make an account; its first password is shown once."""
    if request.method == "GET":
        return _account_form({}, {}, 200)
    values = form_values()
    password = make_password()
    password_hash = hash_password(password)
    try:
        form = read_input(NewAccount, values)
        with console_work() as work:
            account = service.add_account(
                work, username=form.username, display_name=form.display_name, password_hash=password_hash,
                role_names=form.role, department_code=form.department, practitioner_code=form.practitioner,
                must_change_password=True,
            )  # fmt: skip
    except HcrmError as error:
        return _account_form(values, form_errors(error), error.status)
    return render_template("accounts/secret.html", account=account, password=password, is_new=True)


@bp.post("/accounts/<account_id>/disable")
@require("account.manage", audit="account.disable")
def disable_account(account_id: str) -> ResponseReturnValue:
    """Close an account."""
    with console_work() as work:
        service.disable_account(work, account_id=account_id)
    flash(
        "账号已停用，其登录已全部退出",
        "success",
        undo=url_for("accounts.enable_account", account_id=account_id),
    )
    return redirect(url_for("accounts.list_accounts"), 303)


@bp.post("/accounts/<account_id>/enable")
@require("account.manage", audit="account.enable")
def enable_account(account_id: str) -> ResponseReturnValue:
    """Open a closed account."""
    with console_work() as work:
        service.enable_account(work, account_id=account_id)
    flash("账号已启用", "success")
    return redirect(url_for("accounts.list_accounts"), 303)


@bp.post("/accounts/<account_id>/password")
@require("account.manage", audit="account.password_reset")
def reset_password(account_id: str) -> ResponseReturnValue:
    """Give an account a new password, shown once."""
    password = make_password()
    password_hash = hash_password(password)
    with console_work() as work:
        service.reset_password(work, account_id=account_id, password_hash=password_hash)
        account = queries.get_account(work, account_id)
    return render_template("accounts/secret.html", account=account, password=password, is_new=False)


def _account_form(values: dict[str, object], errors: dict[str, str], status: int) -> ResponseReturnValue:
    with console_work(write=False) as work:
        departments = queries.list_departments(work)
    page = render_template(
        "accounts/new.html", values=values, errors=errors, roles=_role_options(), departments=departments
    )
    return page, status


def _role_options() -> list[tuple[str, str]]:
    return [(name, definition.label) for name, definition in roles().items()]
