"""Pages of the contact log: all contacts, one logged by hand or put right, recordings."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from hcrm.archive.death import lock_patient
from hcrm.archive.queries import get_patient, patient_in_scope
from hcrm.archive.reach.caution import caution_of
from hcrm.archive.reach.numbers import list_callable
from hcrm.contact_log.by_hand import SentOtherwiseError, log_by_hand
from hcrm.contact_log.byte_range import UnsatisfiableError, asked_part
from hcrm.contact_log.inputs import ContactInput, LogAddress
from hcrm.contact_log.models import Channel, ContactEntry, ContactRecording, ContactResult
from hcrm.contact_log.queries import count_log, entry_statement, list_log, load_beside, scope_entries
from hcrm.contact_log.recordings import (
    attach_recording,
    get_recording,
    read_sound,
    recording_folder,
    store_sound,
)
from hcrm.core import clock as clocks
from hcrm.core import limits
from hcrm.core.clock import local_date
from hcrm.core.errors import HcrmError, NotFoundError
from hcrm.core.inputs import read_input
from hcrm.core.labels import LabelledEnum
from hcrm.directory.queries import list_departments
from hcrm.web.shell import console_work, current_shell, flash, form_errors, form_values, require

bp = Blueprint("contact_log", __name__)
QUICK = (
    ContactResult.NO_ANSWER,
    ContactResult.BUSY,
    ContactResult.INVALID_NUMBER,
    ContactResult.WRONG_NUMBER,
)
"""Results that are logged by one press: nobody was reached."""


@bp.get("/contacts")
@require("contact.read", audit="contact.list")
def list_contacts() -> ResponseReturnValue:
    """All contacts of a period, narrowed by who, how and what came of it."""
    asked = read_input(LogAddress, request.args.to_dict())
    with console_work() as work:
        today = local_date(work.clock.now())
        since, until = asked.period(today)
        filters = asked.filter(today)
        page = list_log(work, filters=filters, key=asked.key)
        count = count_log(work, filters=filters)
        beside = load_beside(work, [row.ContactEntry.id for row in page.items])
        departments = [(row.id, row.name) for row in list_departments(work)]
        actor_name = next((row.ContactEntry.actor_name for row in page.items), "") if asked.actor else ""
    return render_template(
        "contact_log/list.html", page=page, count=count, beside=beside, asked=asked, since=since, until=until,
        departments=departments, channels=_pairs(Channel), results=_pairs(ContactResult), actor_name=actor_name,
    )  # fmt: skip


@bp.get("/patients/<patient_id>/contacts/new")
@require("contact.write", audit="patient.read")
def new_contact(patient_id: str) -> ResponseReturnValue:
    """The form; with `corrects` it puts an entry right."""
    return _form_page(patient_id, corrects=request.args.get("corrects", ""))


@bp.post("/patients/<patient_id>/contacts/new")
@require("contact.write", audit="contact.record", max_bytes=limits.MAX_RECORDING_BYTES + 64 * 1024)
def log_contact(patient_id: str) -> ResponseReturnValue:
    """Log it, with its recording where there is one."""
    values = form_values()
    if quick := values.pop("quick", ""):
        values["result"] = quick
    try:
        entered = read_input(ContactInput, values)
        patient_id = _log(patient_id, entered)
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        if isinstance(error, SentOtherwiseError) or "record_id" in form_errors(error):
            values.pop("record_id", None)  # the page gets a key of its own
        return _form_page(
            patient_id, values=values, errors=form_errors(error), corrects=values.get("corrects_id", ""),
            status=error.status,
        )  # fmt: skip
    flash(f"已登记：{entered.result.label}", "success")
    return redirect(url_for("desk.show_patient", patient_id=patient_id, tab="contacts"), 303)


def _log(patient_id: str, entered: ContactInput) -> str:
    """Write the entry; a doubled click comes to the same. A file whose entry was not written is removed."""
    shell = current_shell()
    upload = request.files.get("recording")
    sound = upload.stream if upload is not None and upload.filename else None
    stored, folder = None, None
    try:
        with console_work() as work:
            patient = lock_patient(work, patient_in_scope(work, patient_id, "contact.write").id)
            entry_id = log_by_hand(work, patient=patient, entered=entered, sound=sound)
            if entry_id is not None and sound is not None:
                folder = recording_folder(shell.runtime.settings)
                stored = store_sound(work.keys, folder, sound, file_name=work.new_id())
                attach_recording(work, entry_id=entry_id, stored=stored)
            return str(patient.id)
    except BaseException:
        if stored is not None and folder is not None:
            (folder / stored.file_name).unlink(missing_ok=True)
        raise


def _form_page(
    patient_id: str, *, values: Mapping[str, Any] | None = None, errors: Mapping[str, str] | None = None,
    corrects: str = "", status: int = 200,
) -> ResponseReturnValue:  # fmt: skip
    with console_work(write=False) as work:
        patient = get_patient(work, patient_id)
        old = None
        if corrects:
            old = work.scalar(scope_entries(entry_statement(corrects), work.actor))
            if old is None or old.patient_id != patient.id:
                raise NotFoundError
        numbers = list_callable(work, patient.id)
        caution = caution_of(work, patient)
        record_id = work.new_id()
    # The first, unless somebody says otherwise; nobody where nobody is to be called.
    called = numbers[0][0] if numbers and old is None and not caution.is_silent else ""
    shown = values or {"number": called, **_from_entry(old)}
    return render_template(
        "contact_log/new.html", patient=patient, values={**shown, "record_id": shown.get("record_id") or record_id},
        errors=errors or {}, old=old, numbers=numbers, caution=caution, channels=_pairs(Channel),
        results=_pairs(ContactResult), quick=QUICK, megabytes=limits.MAX_RECORDING_BYTES // 2**20,
        is_file_lost=bool(request.files.get("recording")),
    ), status  # fmt: skip


def _from_entry(old: ContactEntry | None) -> dict[str, Any]:
    if old is None:
        return {"channel": Channel.PHONE.value, "direction": "out"}
    local = old.happened_at.astimezone(clocks.HOSPITAL_ZONE)
    return {
        "channel": old.channel.value, "result": old.result.value, "direction": "out" if old.is_outgoing else "in",
        "whose": old.whose or "", "note": old.note or "", "happened_at": local.strftime("%Y-%m-%dT%H:%M"),
        "minutes": "" if old.duration_seconds is None else old.duration_seconds // 60,
    }  # fmt: skip


# ── recordings ──────────────────────────────────────────────────────────────


@bp.get("/recordings/<recording_id>")
@require("recording.listen", audit="recording.listen")
def show_recording(recording_id: str) -> ResponseReturnValue:
    """One recording with what was noted of the contact."""
    with console_work() as work:
        recording, entry = get_recording(work, recording_id=recording_id)
        patient = get_patient(work, recording.patient_id)
    return render_template("contact_log/recording.html", recording=recording, entry=entry, patient=patient)


@bp.get("/recordings/<recording_id>/sound")
@require("recording.listen", audit="recording.listen")
def play_recording(recording_id: str) -> ResponseReturnValue:
    """The sound, whole or a range of it (RFC 9110): a player asks for the part it jumps to."""
    shell = current_shell()
    with console_work() as work:
        recording, _ = get_recording(work, recording_id=recording_id)
        keys = work.keys
    path = recording_folder(shell.runtime.settings) / recording.file_name
    if not path.is_file():
        raise NotFoundError("recording.gone", "录音文件不存在，请联系系统管理员")
    size = recording.size
    try:
        part = _asked_part(recording)
    except UnsatisfiableError:
        return Response(status=416, headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"})
    start, stop = part or (0, size)
    answer = Response(
        read_sound(keys, path, start=start, stop=stop), status=206 if part else 200, mimetype=recording.media_type,
        direct_passthrough=True,
    )  # fmt: skip
    answer.set_etag(recording.sha256)
    answer.headers["Accept-Ranges"] = "bytes"
    answer.headers["Content-Length"] = str(stop - start)
    answer.headers["Content-Disposition"] = (
        "attachment; filename=recording"  # played by our page, never opened as one
    )
    if part:
        answer.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return answer


def _asked_part(recording: ContactRecording) -> tuple[int, int] | None:
    """Only of a GET, and only of the very sound the player holds the rest of (If-Range)."""
    condition = request.headers.get("If-Range", "").strip()
    if request.method != "GET" or condition not in ("", f'"{recording.sha256}"'):
        return None
    return asked_part(request.headers.get("Range"), recording.size)


def _pairs(kind: type[LabelledEnum]) -> list[tuple[str, str]]:
    return [(member.value, member.label) for member in kind]
