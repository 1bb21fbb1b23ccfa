"""HL7 v2 over HTTP: `POST /hl7v2`, and the same in a SOAP envelope. Answered after the store only, never before.

What reads HL7 and envelopes is handed in (`Doors`), since only adapters know them. A sender that gets no 2xx and no
ACK must send again; what it sends twice is stored once, as on the socket.
"""

import time
from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, current_app, g, request
from flask.typing import ResponseReturnValue

from hcrm.api.shell import api_work, current_api, require_scope
from hcrm.audit.models import AuditOutcome
from hcrm.audit.service import record_audit
from hcrm.core.errors import HcrmError, NotFoundError
from hcrm.core.sources import Caller, Source, Sources
from hcrm.core.xml import XmlRefused
from hcrm.inbox.doors import Doors, Envelope
from hcrm.inbox.intake import Arriving, StoreUnavailable, store_now
from hcrm.inbox.pressure import is_full
from hcrm.inbox.records import Incoming, Refused, Stored
from hcrm.inbox.rows import row_message

_PLAIN = frozenset({
    "application/hl7-v2", "application/hl7-v2+er7", "x-application/hl7-v2+er7", "application/edi-hl7", "text/plain",
    "application/octet-stream",
})  # fmt: skip
_SOAP = frozenset({"text/xml", "application/xml", "application/soap+xml"})
_MLLP = b"\x0b\x1c"  # of senders that frame what is framed already; no byte of any charset we read
_LOOK_SECONDS = 1.0
_ALERTS = frozenset({"sender_token", "sender_address"})
_WORDS = {"no_msh": "没有可读的 MSH", "oversize": "消息过大或过多"}


def make_blueprint(doors: Doors) -> Blueprint:
    """The routes."""
    bp = Blueprint("hl7v2", __name__, url_prefix="/hl7v2")

    @bp.post("")
    @require_scope("inbox.write", audit="none:the stored message is the record, with address and token")
    def post_message() -> ResponseReturnValue:
        """A message or batch; the ACKs in order."""
        _check_type(_PLAIN)
        arriving = _at_door(doors.receive(_body().translate(None, _MLLP), **_circumstances()), "http")
        answers = _answers(_store(arriving))
        if not answers and _all_refused(arriving):
            raise _refusal(arriving)
        status = 400 if _all_refused(arriving) else 200 if answers else 204
        return Response(b"".join(answers), status, content_type="application/hl7-v2")

    @bp.post("/soap")
    @require_scope("inbox.write", audit="none:the stored message is the record, with address and token")
    def post_envelope() -> ResponseReturnValue:
        """A message in an envelope."""
        return _answer_envelope(doors, None)

    @bp.post("/soap/<code>")
    @require_scope("inbox.write", audit="none:the stored message is the record, with address and token")
    def post_envelope_of(code: str) -> ResponseReturnValue:
        """An envelope as one source writes them: its element, or XML that is no HL7."""
        source = _sources().by_code.get(code)
        if source is None or source.soap is None:
            raise NotFoundError
        return _answer_envelope(doors, source)

    return bp


def _answer_envelope(doors: Doors, source: Source | None) -> ResponseReturnValue:
    _check_type(_SOAP)
    version = "http://www.w3.org/2003/05/soap-envelope" if request.mimetype == "application/soap+xml" else ""
    charset = request.mimetype_params.get("charset", "")
    try:
        envelope = doors.soap.read_envelope(_body(), charset, sources=_sources(), source=source)
        arriving = _arriving(doors, envelope, source)
        stored = _store(arriving)
        answers = b"".join(_answers(stored))
        if not answers and _all_refused(arriving):
            raise _refusal(arriving)
    except XmlRefused as error:
        return _fault(doors, version, str(error), by_sender=True)
    except StoreUnavailable as error:
        return _fault(doors, version, error.message, by_sender=False, status=503)
    except HcrmError as error:
        return _fault(doors, version, error.message, by_sender=error.status != 503, status=error.status)
    element = source.soap.answer if source and source.soap else "return"
    text = (
        answers.decode(envelope.codec, "replace")
        if envelope.message
        else f"AA {_control_id(arriving, stored)}"
    )
    return Response(doors.soap.write_answer(envelope, text, element), content_type=envelope.content_type)


def _arriving(doors: Doors, envelope: Envelope, source: Source | None) -> Sequence[Arriving]:
    circumstances = _circumstances()
    if envelope.message:
        return _at_door(doors.receive(envelope.message, **circumstances), "soap")
    assert source is not None  # only a source can say what elements mean
    row = row_message(source, "soap", dict(envelope.row), peer=circumstances["peer"], at=circumstances["at"])
    reason = _sources().admits(source, circumstances["caller"])
    if not reason:
        return [row]
    return [
        Refused(
            reason, len(row.raw), row.sha256, b"", row.peer, row.received_at, source=source.code, door="soap"
        )
    ]


def _at_door(arriving: Sequence[Arriving], door: str) -> Sequence[Arriving]:
    return [each._replace(door=door) if isinstance(each, Refused) else each for each in arriving]


def _store(arriving: Sequence[Arriving]) -> list[Stored]:
    """Store, or refuse with 503 and no ACK; whoever spoke as a system it is not is noted in audit."""
    if _must_wait():
        raise HcrmError("inbox.full", "等待处理的消息过多或磁盘将满，请稍后重发", status=503)
    stored = store_now(current_api().runtime.database, arriving)
    reasons = {item.reason for item in arriving if isinstance(item, Refused)} & _ALERTS
    if reasons:
        with api_work() as work:
            record_audit(
                work, action="inbox.write", outcome=AuditOutcome.DENIED, subject_type="peer",
                detail={"reason": min(reasons)},
            )  # fmt: skip
    return stored


def _answers(stored: Sequence[Stored]) -> list[bytes]:
    return [each.ack for each in stored if each.ack]


def _all_refused(arriving: Sequence[Arriving]) -> bool:
    return all(isinstance(item, Refused) for item in arriving)


def _refusal(arriving: Sequence[Arriving]) -> HcrmError:
    """Where not even a negative ACK can be made."""
    reason = next(item.reason for item in arriving if isinstance(item, Refused))
    status = 403 if reason in _ALERTS else 400
    return HcrmError(f"hl7v2.{reason}", _WORDS.get(reason, "消息不能接收"), status=status)


def _control_id(arriving: Sequence[Arriving], stored: Sequence[Stored]) -> str:
    pairs = zip(arriving, stored, strict=True)
    return next(
        (done.control_id or item.control_id for item, done in pairs if isinstance(item, Incoming)), ""
    )


def _circumstances() -> dict[str, Any]:
    """Who, when, from where."""
    address, name = request.remote_addr or "", g.actor.name
    return {
        "sources": _sources(), "peer": f"{address} {name}".strip(), "at": current_api().runtime.clock.now(),
        "caller": Caller(address, token=name),
    }  # fmt: skip


def _sources() -> Sources:
    """As they were read at start."""
    found: Sources = current_app.extensions["hcrm.inbox.sources"]
    return found


def _must_wait() -> bool:
    """Asked at most once a second: it counts."""
    asked_at, full = current_app.extensions.get("hcrm.inbox.full", (0.0, False))
    now = time.monotonic()
    if now - asked_at >= _LOOK_SECONDS or not asked_at:
        full = is_full(current_api().runtime.database)
        current_app.extensions["hcrm.inbox.full"] = (now, full)
    return bool(full)


def _check_type(known: frozenset[str]) -> None:
    if request.mimetype not in known or request.content_encoding:
        raise HcrmError("hl7v2.media_type", f"正文应为 {'、'.join(sorted(known))}", status=415)


def _body() -> bytes:
    body = request.get_data(cache=False)
    if not body.strip():
        raise HcrmError("hl7v2.empty", "正文为空", status=400)
    return body


def _fault(
    doors: Doors, version: str, text: str, *, by_sender: bool, status: int | None = None
) -> ResponseReturnValue:
    body, usual, content_type = doors.soap.write_fault(version, text, by_sender=by_sender)
    return Response(body, status or usual, content_type=content_type)
