"""From the bytes of a frame or request body to what is stored and answered.

Nothing but headers is read, except for a source that waits for the application's word (`ack_mode: application`): its
messages are mapped before the answer, without any database, and what would be parked for its form is told at once.
"""

import hashlib
from datetime import datetime
from typing import Final

import structlog

from adapters.his.ack import Problem, answer_code, body_problem, check_header, is_acknowledgement, make_ack
from adapters.his.batch import BatchTooLong, Part, split_batch
from adapters.his.header import Header, read_header
from hcrm.core import limits
from hcrm.core.sources import Caller, Source, Sources
from hcrm.inbox.records import Incoming, Refused

log = structlog.get_logger(__name__)

FORMAT: Final = "hl7v2"
_HEAD_BYTES: Final = 64
_TOO_LONG: Final = Problem("E", 207, 1, "oversize")


def receive(
    raw: bytes, *, sources: Sources, peer: str, at: datetime, caller: Caller | None = None
) -> list[Incoming | Refused]:
    """What one frame becomes, in order: a message each with its positive ACK ready, or a refusal with its answer.

    A frame without a readable MSH gives one fatal refusal (the connection is closed); inside a batch it only
    concerns itself. `caller` is who brought it, where sources are bound to certificates, addresses or tokens; what
    lies in a folder of ours was brought by nobody.
    """
    try:
        parts = split_batch(raw)
    except BatchTooLong:
        return [refuse_oversize(raw, limit=limits.MAX_FRAME_BYTES, sources=sources, peer=peer, at=at)]
    return [_receive_part(part, sources, peer, at, caller, alone=len(parts) == 1) for part in parts]


def _receive_part(
    part: Part, sources: Sources, peer: str, at: datetime, caller: Caller | None, *, alone: bool
) -> Incoming | Refused:
    raw = part.raw
    digest = hashlib.sha256(raw).digest()
    header = read_header(raw)
    if header is None:
        return Refused("no_msh", len(raw), digest, raw[:_HEAD_BYTES], peer, at, is_fatal=alone)
    source = sources.find(header.sender, header.facility)
    problem = check_header(header, source)
    if caller is not None and source is not None and problem is None:
        reason = sources.admits(source, caller)
        problem = Problem("R", 204, 3, reason) if reason else None
    ack = b""
    if is_acknowledgement(header, raw):
        kind, flags = "ACK", (*part.flags, "unexpected_ack")
    else:
        kind, flags = header.kind, part.flags
        told = problem or (_judge(raw, sources, at) if source and source.ack_mode == "application" else None)
        code = answer_code(header, source, told.verdict if told else "A")
        if code:
            ack = make_ack(header, code, at=at, digest=digest, problem=told)
    if problem:
        refused = Refused(problem.reason, len(raw), digest, raw[:_HEAD_BYTES], peer, at, ack=ack)
        return _claimed(refused, header, source)._replace(detail=_detail(problem, source, caller))
    return Incoming(
        header.sender, header.facility, header.control_id, digest, kind, FORMAT, raw, ack, peer, flags, at
    )  # fmt: skip


def _claimed(refused: Refused, header: Header, source: Source | None) -> Refused:
    """With who it says it is from: what a sender says of itself is about no patient."""
    return refused._replace(
        sender=header.sender, facility=header.facility, control_id=header.control_id,
        source=source.code if source else "",
    )  # fmt: skip


def _detail(problem: Problem, source: Source | None, caller: Caller | None) -> str:
    """What exactly is wrong, beside the reason."""
    if problem.reason in ("header", "version", "processing_id"):
        return f"{problem.segment}-{problem.field}" if problem.field else problem.segment
    if problem.reason != "sender_certificate" or caller is None or source is None:
        return ""
    if not caller.subject:
        return "no_certificate"
    return "subject_not_bound" if source.subjects else "subject_of_other"


def _judge(raw: bytes, sources: Sources, at: datetime) -> Problem | None:
    """What the worker will park this message for as far as the message alone shows it; it is stored all the same."""
    # Only such sources need it: without them the listener knows neither the mapping nor the archive's records.
    from adapters.his.mapping import map_message  # noqa: PLC0415
    from hcrm.archive.records import Unmapped  # noqa: PLC0415

    try:
        result = map_message(raw, sources, at).result
    except Exception as error:  # noqa: BLE001  the worker meets it too, with its own tries and its place on the page
        log.warning("mllp.not_judged", error=type(error).__name__)
        return Problem("E", 207, 0, "error")
    if not isinstance(result, Unmapped):
        reason = result.senseless_merge()
        return body_problem(reason, "MRG-1") if reason else None
    return None if result.ignored else body_problem(result.reason, result.detail)


def refuse(raw: bytes, reason: str, *, peer: str, at: datetime, is_fatal: bool = False) -> Refused:
    """Bytes that are no message: half a frame, junk."""
    return Refused(
        reason, len(raw), hashlib.sha256(raw).digest(), raw[:_HEAD_BYTES], peer, at, is_fatal=is_fatal
    )


def refuse_oversize(raw: bytes, *, limit: int, sources: Sources, peer: str, at: datetime) -> Refused:
    """A frame beyond the limit, `raw` as far as it was read: AE 207 where that holds the MSH, then close."""
    refused = refuse(raw, "oversize", peer=peer, at=at, is_fatal=True)
    header = read_header(raw)
    if header is None:
        return refused
    source = sources.find(header.sender, header.facility)
    refused = _claimed(refused, header, source)
    if is_acknowledgement(header, b""):
        return refused
    code = answer_code(header, source, "E")
    if not code:
        return refused
    note = f"more than {limit} bytes or {limits.MAX_BATCH_MESSAGES} messages"
    return refused._replace(
        ack=make_ack(header, code, at=at, digest=refused.sha256, problem=_TOO_LONG, note=note)
    )
