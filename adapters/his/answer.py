"""The receiver's answer to a message of ours: MSA and ERR from bytes (HL7 v2 chapter 2.14.8 and 2.14.5)."""

import re
from typing import Final, NamedTuple

from adapters.his.header import read_header
from hcrm.inbox.outbound_records import Verdict

_CODE: Final = re.compile(rb"[AC]([AER])")
_SEGMENT: Final = re.compile(r"[A-Z][A-Z0-9]{2}")
_NUMBER: Final = re.compile(r"[0-9]{1,5}")


class Answer(NamedTuple):
    """MSA-1 with what it means, MSA-2 byte for byte, and the condition of ERR."""

    verdict: Verdict
    code: str
    control_id: bytes
    detail: str  # table 0357 code and place, nothing the other side wrote freely


def read_answer(raw: bytes) -> Answer | None:
    """The answer a frame holds; None where it is none (no MSH, no MSA, an unknown code)."""
    header = read_header(raw)
    if header is None:
        return None
    bar = header.separators.field.encode()
    segments = [line.lstrip(b"\x00 ") for line in raw.replace(b"\n", b"\r").split(b"\r")]
    msa = next((line.split(bar) for line in segments if line.startswith(b"MSA" + bar)), [])
    code = _CODE.fullmatch(msa[1].strip()) if len(msa) > 2 else None
    if code is None:
        return None
    err = next((line for line in segments if line.startswith(b"ERR" + bar)), b"")
    component, sub = header.separators.component, header.separators.sub
    detail = _detail(err.decode("latin-1").split(header.separators.field), component, sub)
    return Answer(Verdict(code[1].decode()), msa[1].strip().decode(), msa[2], detail)


def _detail(fields: list[str], component: str, sub: str) -> str:
    """`101 PID-3` from ERR-3 and ERR-2 (2.5 and later), else from ERR-1 (`PID^1^3^101&…`)."""
    fields = [*fields, "", "", ""]
    if fields[2] or fields[3]:
        place, code = fields[2].split(component), fields[3].split(component)[0]
    else:
        place = fields[1].split(component)
        code = place[3].split(sub)[0] if len(place) > 3 else ""
    segment = place[0] if _SEGMENT.fullmatch(place[0]) else ""
    field = place[2] if segment and len(place) > 2 and _NUMBER.fullmatch(place[2]) else ""
    where = f"{segment}-{field}" if field else segment
    return " ".join(word for word in (code if _NUMBER.fullmatch(code) else "", where) if word)
