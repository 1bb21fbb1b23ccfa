"""Acts of ADT messages upon archives and visits as a whole: PID and MRG groups, pairs of PID. Pure."""

from adapters.his.map_patient import ranked, read_identifiers
from adapters.his.map_visit import visit_number
from adapters.hl7v2 import Message, Segment
from hcrm.archive import records as r
from hcrm.archive.terms import ActKind, IdentifierKind
from hcrm.core.sources import Source

ACTS: dict[str, ActKind] = {
    "A18": ActKind.MERGE_PATIENTS,
    "A24": ActKind.LINK,
    "A29": ActKind.NULLIFY,
    "A30": ActKind.MERGE_PATIENTS,
    "A34": ActKind.MERGE_PATIENTS,
    "A35": ActKind.MERGE_ACCOUNTS,
    "A37": ActKind.UNLINK,
    "A40": ActKind.MERGE_PATIENTS,
    "A42": ActKind.MERGE_VISITS,
    "A44": ActKind.MOVE_ACCOUNT,
    "A45": ActKind.MOVE_VISIT,
    "A47": ActKind.RENAME,
}
"""ADT events that act upon archives, numbers or visits; A18, A30 and A34 are older forms of A40."""
PAIRS = frozenset({ActKind.LINK, ActKind.UNLINK})
_OF_VISITS = frozenset({ActKind.MERGE_VISITS, ActKind.MOVE_VISIT})
_OF_ACCOUNTS = frozenset({ActKind.MERGE_ACCOUNTS, ActKind.MOVE_ACCOUNT})


def map_acts(
    message: Message, kind: ActKind, source: Source, authority: str, flags: list[str]
) -> tuple[r.ActRecord, ...] | r.Unmapped:
    """What the message does, group by group; one that lacks its other side makes the whole message unusable."""
    if kind in PAIRS:
        return _pair(message, kind, source, authority, flags)
    if kind is ActKind.NULLIFY:
        subject = _numbers(message.segment("PID"), 3, source, authority, flags)
        return (r.ActRecord(kind, subject),)
    found: list[r.ActRecord] = []
    for group in message.groups("PID"):
        subject = _numbers(group.segment("PID"), 3, source, authority, flags)
        for part in group.groups("MRG"):
            acts = _of_group(group, part, kind, subject, source, authority, flags)
            if isinstance(acts, r.Unmapped):
                return acts
            found += acts
        if not group.segment("MRG"):
            return r.Unmapped("no_merge_number", "MRG-1")
    return tuple(found)


def _of_group(
    group: Message, part: Message, kind: ActKind, subject: tuple[r.IdentifierRecord, ...], source: Source,
    authority: str, flags: list[str],
) -> list[r.ActRecord] | r.Unmapped:  # fmt: skip
    """One MRG with what stands around it."""
    mrg = part.segment("MRG")
    other = _numbers(mrg, 1, source, authority, flags)
    if kind in _OF_VISITS or kind in _OF_ACCOUNTS:
        # An A35 or A42 need not repeat the patient in MRG-1; what moves to another patient does.
        if not other and kind in (ActKind.MOVE_VISIT, ActKind.MOVE_ACCOUNT):
            return r.Unmapped("no_merge_number", "MRG-1")
        place, number = _here(group, part, kind, source, authority)
        other_place = "MRG-5" if kind in _OF_VISITS else "MRG-3"
        former = _number(mrg, int(other_place[4:]), authority)
        if former is None and number is None:
            return r.Unmapped("no_visit_number", other_place)
        if kind in (ActKind.MERGE_VISITS, ActKind.MERGE_ACCOUNTS) and (former is None or number is None):
            return r.Unmapped("no_visit_number", place if number is None else other_place)
        return [r.ActRecord(kind, subject, other, number, former)]
    if not other:
        return r.Unmapped("no_merge_number", "MRG-1")
    if kind is ActKind.RENAME:
        return [r.ActRecord(kind, subject, other)]
    return [
        r.ActRecord(kind, subject, (item,)) for item in other if item.kind is IdentifierKind.RECORD
    ] or r.Unmapped("no_merge_number", "MRG-1")


def _here(
    group: Message, part: Message, kind: ActKind, source: Source, authority: str
) -> tuple[str, r.VisitNumber | None]:
    """The number the visit or account has from now on, and where it should stand."""
    if kind in _OF_ACCOUNTS:
        return "PID-18", _number(group.segment("PID"), 18, authority)
    own, number = visit_number(part if part.segment("PV1") else group, source)
    return "PV1-19", r.VisitNumber(own or authority, number) if number else None


def _pair(
    message: Message, kind: ActKind, source: Source, authority: str, flags: list[str]
) -> tuple[r.ActRecord, ...] | r.Unmapped:
    first, *rest = message.groups("PID")
    if not rest:
        return r.Unmapped("no_second_pid", "PID")
    subject = _numbers(first.segment("PID"), 3, source, authority, flags)
    return tuple(
        r.ActRecord(kind, subject, _numbers(group.segment("PID"), 3, source, authority, flags))
        for group in rest
    )


def _numbers(
    segment: Segment, field: int, source: Source, authority: str, flags: list[str]
) -> tuple[r.IdentifierRecord, ...]:
    return ranked(read_identifiers(segment.repeats(field), source, authority), source, flags)


def _number(segment: Segment, field: int, authority: str) -> r.VisitNumber | None:
    """A CX: number and assigning authority."""
    number = segment.text(field)
    return r.VisitNumber(segment.text(field, 4) or authority, number) if number else None
