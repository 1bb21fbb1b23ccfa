"""Lists taken out as files.

Asked for with a purpose, approved by a second person where they are long or name full numbers, written sealed, fetched
by whoever asked, removed after a while. The file is written of what was asked for, as it was then (`Exportable.fix`),
and as the person who asked: with their row scope, rights and bounds as they are when it is written.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from hcrm.accounts.models import Account
from hcrm.accounts.permissions import roles
from hcrm.accounts.queries import actor_for
from hcrm.archive.queries import record_list_read
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.clock import Clock, local_time
from hcrm.core.db import Database, is_away
from hcrm.core.errors import ConflictError, HcrmError, InvalidInput, NotFoundError
from hcrm.core.exporting import Exportable, ExportLine
from hcrm.core.work import Work, open_work
from hcrm.core.workbook import CSV_TYPE, XLSX_TYPE, write_csv, write_xlsx
from hcrm.exchange.export_models import ExportPurpose, ExportRequest, ExportState
from hcrm.web.paging import Page, keyset_page

Exportables = Mapping[str, Exportable]
"""By kind (`hcrm.app.wiring.exportables`)."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants taken out."""

    kind: str
    asked: Mapping[str, str]
    columns: Sequence[str]
    file_form: str
    purpose: ExportPurpose | None
    purpose_text: str
    is_clear: bool
    clear_reason: str


def most_rows(actor: Actor) -> int:
    """Rows the most generous of the actor's roles lets into one file."""
    return max((roles()[name].export_rows for name in actor.roles if name in roles()), default=0)


def exportable_of(exportables: Exportables, kind: str, actor: Actor) -> Exportable:
    """The list of that kind; NotFoundError for whoever may not see it."""
    found = exportables.get(kind)
    if found is None or not actor.may(found.permission):
        raise NotFoundError
    return found


def request_export(work: Work, *, exportables: Exportables, wish: Wish) -> ExportRequest:
    """Ask for a file; a short one is written at once, a long one waits for somebody else's yes."""
    exportable = exportable_of(exportables, wish.kind, work.actor)
    errors = _errors(work.actor, exportable, wish)
    asked = exportable.fix(work, wish.asked)
    rows = exportable.count(work, asked)
    if not rows:
        errors["form"] = "名单是空的"
    elif rows > most_rows(work.actor):
        errors["form"] = f"有 {rows} 行，您的角色一次最多导出 {most_rows(work.actor)} 行，请缩小范围"
    if errors:
        raise InvalidInput(errors)
    assert wish.purpose is not None
    known = [column.code for column in exportable.columns]
    _one_at_a_time(work)
    waits = wish.is_clear or rows > free_rows_left(work, work.actor.id)
    request = ExportRequest(
        id=work.new_id(), kind=wish.kind, title=exportable.title(work, asked), asked=dict(asked),
        described=list(exportable.words(work, asked)),
        columns=[code for code in known if code in wish.columns], file_form=wish.file_form, is_clear=wish.is_clear,
        clear_reason=wish.clear_reason if wish.is_clear else None, purpose=wish.purpose,
        purpose_text=wish.purpose_text, rows=rows,
        state=ExportState.WAITING if waits else ExportState.QUEUED,
        requested_at=work.clock.now(), requested_by=work.actor.id, requested_by_name=work.actor.name, decided_at=None,
        decided_by=None, decided_by_name=None, decision_note=None, content_sealed=None, built_at=None, expires_at=None,
        error=None,
    )  # fmt: skip
    work.add(request)
    _note(work, "export.request", request)
    return request


def free_rows_left(work: Work, account_id: str, *, but: str | None = None) -> int:
    """Rows a person may still take out without a second one: all requests nobody approved of the last hours count.

    Those of every account of one practitioner: they are one person.
    """
    request = ExportRequest
    taken = sa.select(sa.func.coalesce(sa.func.sum(request.rows), 0)).where(
        request.requested_by.in_(_accounts_of(account_id)),
        request.requested_at > work.clock.now() - timedelta(hours=limits.EXPORT_FREE_HOURS),
        request.state.in_((ExportState.QUEUED, ExportState.READY, ExportState.EXPIRED)),
        request.decided_by.is_(None), request.id != (but or ""),
    )  # fmt: skip
    return max(limits.EXPORT_FREE_ROWS - int(work.scalar(taken)), 0)


def _one_at_a_time(work: Work) -> None:
    """Two requests of one person go one after the other: each counts the other's rows."""
    own = sa.select(Account.id).where(Account.id.in_(_accounts_of(work.actor.id))).order_by(Account.id)
    work.execute(own.with_for_update(key_share=True))


def _accounts_of(account_id: str) -> sa.Select[Any]:
    """The keys of the person's accounts: that one, and those of the same practitioner."""
    own = sa.select(Account.practitioner_id).where(Account.id == account_id).correlate(None).scalar_subquery()
    return (
        sa.select(Account.id)
        .where(sa.or_(Account.id == account_id, Account.practitioner_id == own))
        .correlate(None)
    )


def _errors(actor: Actor, exportable: Exportable, wish: Wish) -> dict[str, str]:
    errors: dict[str, str] = {}
    known = {column.code: column for column in exportable.columns}
    if not wish.columns or any(code not in known for code in wish.columns):
        errors["columns"] = "请至少选一列"
    if wish.file_form not in ("xlsx", "csv"):
        errors["file_form"] = "请从列出的选项中选择"
    if wish.purpose is None:
        errors["purpose"] = "请选择用途"
    if not wish.purpose_text:
        errors["purpose_text"] = "请写明用来做什么"
    elif len(wish.purpose_text) > limits.EXPORT_TEXT:
        errors["purpose_text"] = f"最多 {limits.EXPORT_TEXT} 个字"
    if wish.is_clear and not actor.may("data.export_clear"):
        errors["is_clear"] = "您的角色不能导出完整号码"
    elif wish.is_clear and not any(known[code].is_masked for code in wish.columns if code in known):
        errors["is_clear"] = "没有选电话或身份证号这样的列，不必选“不隐去”"
    elif wish.is_clear and not wish.clear_reason:
        errors["clear_reason"] = "请写明为什么需要完整号码"
    elif len(wish.clear_reason) > limits.EXPORT_TEXT:
        errors["clear_reason"] = f"最多 {limits.EXPORT_TEXT} 个字"
    return errors


def decide_export(work: Work, *, request_id: str, is_approved: bool, note: str) -> ExportRequest:
    """A second person's yes or no."""
    request = work.session.get(ExportRequest, request_id, with_for_update=True, populate_existing=True)
    if request is None:
        raise NotFoundError
    if request.state is not ExportState.WAITING:
        raise ConflictError("export.state", "这份导出已经处理过")
    if _is_own(work, request):
        raise HcrmError("export.own", "自己申请的导出须由另一个人批准", status=409)
    if not is_approved and not note:
        raise HcrmError("export.note", "请写明为什么不批准", field="note")
    request.state = ExportState.QUEUED if is_approved else ExportState.REJECTED
    request.decided_at, request.decided_by = work.clock.now(), work.actor.id
    request.decided_by_name, request.decision_note = work.actor.name, note[: limits.EXPORT_TEXT] or None
    work.session.flush()
    _note(work, "export.approve" if is_approved else "export.reject", request)
    return request


def _is_own(work: Work, request: ExportRequest) -> bool:
    """Whether the actor asked for it; two accounts of one practitioner are one person."""
    if request.requested_by == work.actor.id:
        return True
    asker = work.session.get(Account, request.requested_by)
    practitioner = asker.practitioner_id if asker else None
    return practitioner is not None and practitioner == work.actor.practitioner_id


def fetch_export(work: Work, *, request_id: str) -> tuple[ExportRequest, bytes]:
    """The file, for whoever asked for it and nobody else."""
    request = work.session.get(ExportRequest, request_id, with_for_update=True)
    if request is None or request.requested_by != work.actor.id:
        raise NotFoundError
    if request.is_clear and not work.actor.may("data.export_clear"):
        raise HcrmError("export.right", "您已没有导出完整号码的权限", status=409)
    if request.state is not ExportState.READY or request.content_sealed is None:
        raise ConflictError("export.state", "文件还没有生成，或已清除")
    if request.expires_at is not None and request.expires_at < work.clock.now():
        raise ConflictError("export.expired", "文件已过期，请重新申请")
    request.downloads += 1
    work.session.flush()
    _note(work, "export.download", request)
    return request, work.keys.open(request.content_sealed)


def prune_exports(work: Work) -> int:
    """Remove files whose time is over, and requests nobody decided; how many. For a job."""
    now = work.clock.now()
    forgotten = sa.and_(
        ExportRequest.state == ExportState.WAITING,
        ExportRequest.requested_at < now - timedelta(hours=limits.EXPORT_WAIT_HOURS),
    )
    over = sa.and_(ExportRequest.state == ExportState.READY, ExportRequest.expires_at < now)
    found = work.scalars(sa.select(ExportRequest).where(sa.or_(over, forgotten)).limit(limits.EXPORT_BATCH))
    for request in found:
        request.state, request.content_sealed = ExportState.EXPIRED, None
    work.session.flush()
    return len(found)


# ── reading ─────────────────────────────────────────────────────────────────


def list_exports(work: Work, *, key: str | None = None) -> Page[ExportRequest]:
    """The actor's own, the latest first."""
    statement = sa.select(ExportRequest).where(ExportRequest.requested_by == work.actor.id)
    order = [ExportRequest.requested_at.desc(), ExportRequest.id.desc()]
    return keyset_page(work, statement, order=order, key=key)


def list_waiting(work: Work) -> Sequence[ExportRequest]:
    """Those that wait for a second person, the oldest first; one's own are not among them."""
    return work.scalars(
        sa.select(ExportRequest)
        .where(
            ExportRequest.state == sa.literal(ExportState.WAITING, ExportRequest.state.type, literal_execute=True),
            ExportRequest.requested_by != work.actor.id,
        )
        .order_by(ExportRequest.id)
        .limit(limits.PAGE_SIZE)
    )  # fmt: skip


def get_export(work: Work, request_id: str) -> ExportRequest:
    """One's own, or any for whoever approves."""
    request = work.get(ExportRequest, request_id)
    if request.requested_by != work.actor.id and not work.actor.may("data.export_approve"):
        raise NotFoundError
    return request


# ── writing the file ────────────────────────────────────────────────────────


def build_exports(database: Database, clock: Clock, exportables: Exportables) -> bool:
    """Write the oldest file that is to be written; False where none is."""
    queued = ExportRequest.state == sa.literal(
        ExportState.QUEUED, ExportRequest.state.type, literal_execute=True
    )
    oldest = sa.select(ExportRequest).where(queued).order_by(ExportRequest.id).limit(1)
    nobody = Actor(id="system:exchange", name="exchange", kind="system")
    with open_work(database, actor=nobody, clock=clock, write=False) as work:
        request = work.session.scalars(oldest).first()
        if request is None:
            return False
        account = work.session.get(Account, request.requested_by)
        actor = actor_for(work, account) if account is not None and account.active else None
    try:
        content, rows, left_out = _build(database, clock, exportables, request, actor)
        done = {"state": ExportState.READY, "rows": rows, "error": None}
        if left_out:
            done["described"] = [*request.described, left_out]
    except HcrmError as error:
        content, done = None, {"state": ExportState.FAILED, "error": error.message}
    except sa.exc.DBAPIError as error:
        if is_away(error):
            raise
        content, done = None, _broken(request, error)
    except Exception as error:  # noqa: BLE001  one file's fault must not stop the others; its row tells
        content, done = None, _broken(request, error)
    with open_work(database, actor=actor or nobody, clock=clock) as work:
        row = work.session.get(ExportRequest, request.id, with_for_update=True)
        if row is not None and row.state is ExportState.QUEUED:
            for name, value in done.items():
                setattr(row, name, value)
            row.content_sealed = work.keys.seal(content) if content is not None else None
            row.built_at = clock.now()
            row.expires_at = clock.now() + timedelta(hours=limits.EXPORT_KEEP_HOURS)
            _note(work, "export.build", row)
    return True


def _broken(request: ExportRequest, error: Exception) -> dict[str, Any]:
    kind = type(error).__name__
    log.warning("export.failed", request=request.id, error=kind)
    return {"state": ExportState.FAILED, "error": f"生成失败（{kind}），请联系管理员"}


def _build(
    database: Database, clock: Clock, exportables: Exportables, request: ExportRequest, actor: Actor | None
) -> tuple[bytes, int, str]:
    """The file, its rows, whom it leaves out in words; every patient in it is noted before it can be fetched."""
    exportable, actor = _still_allowed(exportables, request, actor)
    titles = {column.code: column.title for column in exportable.columns}
    with open_work(database, actor=actor, clock=clock, write=False) as work:
        most = most_rows(actor)
        approved = _approved_rows(work, request)
        found = exportable.lines(work, request.asked, request.columns, request.is_clear)
        lines = list(_bounded(found, approved, most))
        listed = [
            line for line in lines if not line.barrier or request.purpose is not ExportPurpose.FOLLOW_UP
        ]
        left_out = _left_out(len(lines) - len(listed))
        mark = "；".join(filter(None, (watermark(request), left_out)))
        rows = [[mark], [titles[code] for code in request.columns], *(line.cells for line in listed)]
        if request.file_form == "csv":
            content = write_csv(rows)
        else:
            properties = {"creator": request.requested_by_name, "description": mark}
            content = write_xlsx("导出", rows, properties=properties)
        written = [line.patient_id for line in listed]
        record_list_read(
            work, "export.read", written, detail={"export": request.id, "clear": request.is_clear}
        )
    return content, len(written), left_out


def _left_out(number: int) -> str:
    """Whom a file for contacting patients does not hold."""
    return f"已故、终止联系、拒绝联系或号码不能拨打的 {number} 人未列出" if number else ""


def _still_allowed(
    exportables: Exportables, request: ExportRequest, actor: Actor | None
) -> tuple[Exportable, Actor]:
    """The list and its asker, whose rights are asked again; `actor` is None where the account is closed."""
    if actor is None:
        raise HcrmError("export.right", "申请人的账号已停用")
    if not actor.may("data.export"):
        raise HcrmError("export.right", "申请人已没有导出的权限")
    if request.is_clear and not actor.may("data.export_clear"):
        raise HcrmError("export.right", "申请人已没有导出完整号码的权限")
    if request.is_clear and request.decided_by is None:
        raise HcrmError("export.unapproved", "完整号码须由另一个人批准，请重新申请")
    try:
        return exportable_of(exportables, request.kind, actor), actor
    except NotFoundError:
        raise HcrmError("export.right", "申请人已无权查看这份名单") from None


def _approved_rows(work: Work, request: ExportRequest) -> int:
    """How long the file may get: a little longer than what was approved; another list needs another yes."""
    if request.decided_by is None:
        return free_rows_left(work, request.requested_by, but=request.id)
    return request.rows + request.rows // 10


def _bounded(lines: Iterator[ExportLine], approved: int, most: int) -> Iterator[ExportLine]:
    """`most`: what the asker's role lets into one file, now; no yes goes beyond it."""
    for count, line in enumerate(lines, start=1):
        if count > most:
            raise HcrmError("export.limit", f"申请人的角色现在一次最多导出 {most} 行，请缩小范围")
        if count > approved:
            raise HcrmError("export.grown", "名单比申请时多出不少，请重新申请")
        yield line


def watermark(request: ExportRequest) -> str:
    """Who took it out, when and what for: in the file's first line and its properties."""
    when = local_time(request.requested_at).strftime("%Y-%m-%d %H:%M")
    return (
        f"{request.requested_by_name} 于 {when} 导出，用途：{request.purpose.label}，{request.purpose_text}；"
        f"编号 {request.id[-8:]}，仅供本次用途，用毕删除"
    )


def media_type(request: ExportRequest) -> str:
    """What the file is."""
    return CSV_TYPE if request.file_form == "csv" else XLSX_TYPE


def _note(work: Work, action: str, request: ExportRequest) -> None:
    record_audit(
        work, action=action, subject_type="export_request", subject_id=request.id,
        detail={"kind": request.kind, "rows": request.rows, "clear": request.is_clear,
                "purpose": request.purpose.value},
    )  # fmt: skip
