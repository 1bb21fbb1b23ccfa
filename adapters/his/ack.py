"""Whether a header can be accepted, and the answer (HL7 v2 chapter 2.9): ACK bytes with MSA and ERR."""

import re
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple

from adapters.his.header import Header
from hcrm.core import limits
from hcrm.core.clock import local_time
from hcrm.core.sources import Source

_VERSION: Final = re.compile(r"[vV]?2\.([1-9])(?:\.\w+)*", re.ASCII)  # 2.1 to 2.9, 2.6.1, v2.4, 2.3.z
_TYPE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{1,19}", re.ASCII)
_EVENT: Final = re.compile(r"[A-Za-z0-9_]{0,20}", re.ASCII)

_CONDITIONS: Final = {
    100: "Segment sequence error",
    101: "Required field missing",
    102: "Data type error",
    104: "Value too long",
    200: "Unsupported message type",
    201: "Unsupported event code",
    202: "Unsupported processing id",
    203: "Unsupported version id",
    204: "Unknown key identifier",
    207: "Application internal error",
}
"""HL7 table 0357, as far as the door uses it."""
_OF_REASONS: Final = {
    "no_pid": 100,
    "no_visit": 100,
    "batch_cut": 100,
    "no_patient_number": 101,
    "no_merge_number": 101,
    "charset": 102,
    "charset_utf8": 102,
    "impossible_date": 102,
    "budget": 104,
    "event_not_supported": 201,
    "merge_self": 204,
    "merge_cycle": 204,
}
"""Why a message cannot be mapped, as a code of that table."""
_PLACE: Final = re.compile(r"([A-Z][A-Z0-9]{2})(?:-(\d+))?")


class Problem(NamedTuple):
    """Why the answer is no: E (error) or R (reject), the code of table 0357, the place, and our reason word."""

    verdict: str
    code: int
    field: int  # 0: the segment as a whole
    reason: str
    segment: str = "MSH"


def check_header(header: Header, source: Source | None) -> Problem | None:
    """What makes the header unusable, by assurance section 0; `source` None means the sender is not admitted."""
    if not header.fields[9].strip(header.separators.component + " "):
        return Problem("E", 101, 9, "header")
    control_id = header.control_id
    if not control_id.strip() or len(control_id) > limits.MAX_CONTROL_ID:
        return Problem("E", 101, 10, "header")
    if not _TYPE.fullmatch(header.type):
        return Problem("R", 200, 9, "header")
    if not _EVENT.fullmatch(header.event):
        return Problem("R", 201, 9, "header")
    if source is None:
        return Problem("R", 204, 3, "sender_unknown")
    if header.processing_id not in source.processing_ids:
        return Problem("R", 202, 11, "processing_id")
    if header.version and not _VERSION.fullmatch(header.version):
        return Problem("R", 203, 12, "version")
    return None


def body_problem(reason: str, place: str) -> Problem:
    """What parks a message (`records.Unmapped`), as the answer says it: AE, with segment and field."""
    found = _PLACE.match(place)
    segment, field = (found[1], int(found[2] or 0)) if found else ("MSH", 0)
    return Problem("E", _OF_REASONS.get(reason, 207), field, reason, segment)


def is_acknowledgement(header: Header, raw: bytes) -> bool:
    """Whether this is itself an ACK: type ACK or MCF, or no event and an MSA. An ACK is never acknowledged (C13)."""
    if header.type in ("ACK", "MCF"):
        return True
    return (
        not header.event
        and re.search(rb"[\r\n]MSA" + re.escape(header.separators.field.encode()), raw) is not None
    )


def answer_code(header: Header, source: Source | None, verdict: str) -> str:
    """The code of MSA-1 for a verdict A, E or R; empty where the sender wants no answer (HL7 table 0155).

    Both MSH-15 and MSH-16 empty is original mode: AA, AE, AR. Otherwise MSH-15 asks for CA, CE, CR; where only
    MSH-16 is filled, the one answer we give is the application's, by its condition (2.9.3 calls that equivalent to
    original mode). `ack_mode` in the source overrides for senders that fill them but wait for AA; one that waits for
    the application's word gets that alone, by MSH-16 or always.
    """
    mode = source.ack_mode if source else "auto"
    condition, prefix = header.accept_ack, "C"
    if mode == "original" or (mode == "auto" and not condition and not header.application_ack):
        condition, prefix = "AL", "A"
    elif mode == "application" or (mode == "auto" and not condition):
        condition, prefix = header.application_ack or "AL", "A"
    elif not condition:
        condition = "AL"
    wanted = {"AL": True, "NE": False, "ER": verdict != "A", "SU": verdict == "A"}.get(
        condition.upper(), True
    )
    return prefix + verdict if wanted else ""


def make_ack(
    header: Header,
    code: str,
    *,
    at: datetime,
    digest: bytes,
    problem: Problem | None = None,
    note: str = "",
) -> bytes:
    """The ACK for a header, in its delimiters and charset; the same arguments give the same bytes.

    MSA-2 is MSH-10 byte for byte. `digest` is the message's SHA-256, from which the ACK's own control id is made.
    A problem adds ERR, laid out as of 2.5 (ERR-2 location, 3 code, 4 severity, 8 text) or as before.
    """
    separators, fields = header.separators, header.fields
    bar, component, _, _, sub = separators
    minor = _minor(header.version)
    kind = ["ACK", header.event] if header.event else ["ACK"]
    if header.event and minor >= 4:
        kind.append("ACK")
    stamp = _stamp(at.replace(microsecond=0))
    charset = bar * 6 + header.charset_word if header.charset_word else ""  # MSH-18
    msh = bar.join((
        "MSH" + bar + separators.encoding, fields[5], fields[6], fields[3], fields[4], stamp, "",
        component.join(kind), digest[:10].hex(), fields[11], fields[12],
    ))  # fmt: skip
    msa = f"MSA{bar}{code}{bar}{fields[10]}"
    err = ""
    if problem:
        text = note or _CONDITIONS[problem.code]
        coded = (str(problem.code), _CONDITIONS[problem.code], "HL70357")
        place = component.join((problem.segment, "1", str(problem.field or "")))
        if minor >= 5:
            place = place.rstrip(component)
            err = f"ERR{bar}{bar}{place}{bar}{component.join(coded)}{bar}E{bar * 4}{text}\r"
        else:
            msa += bar + text
            err = f"ERR{bar}{place}{component}{sub.join(coded)}\r"
    return f"{msh}{charset}\r{msa}\r{err}".encode(header.codec)


@lru_cache(maxsize=8)
def _stamp(at: datetime) -> str:
    return local_time(at).strftime("%Y%m%d%H%M%S%z")


def _minor(version: str) -> int:
    """The y of version 2.y; what is unknown or empty is answered as 2.5."""
    match = _VERSION.fullmatch(version)
    return int(match[1]) if match else 5
