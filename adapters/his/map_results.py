"""ORU^R01 and OUL^R21 to R24 to reports (HL7 2.9 sections 7.3 and 7.3.3): OBR with its OBX and NTE. Pure."""

from collections import Counter
from dataclasses import dataclass, field

from adapters.his.clinical_reading import (
    Reading,
    attachment,
    coded,
    fingerprint,
    first,
    is_narrative,
    narrative,
    value_text,
)
from adapters.hl7v2 import Segment
from hcrm.archive.clinical.records import ClinicalRecord, DocumentRecord, ObservationRecord, ReportRecord
from hcrm.archive.clinical.terms import (
    AbnormalFlag,
    DocumentStatus,
    ObservationStatus,
    ReportCategory,
    ReportStatus,
)
from hcrm.archive.records import Unmapped

_REPORT = {
    "O": ReportStatus.REGISTERED, "I": ReportStatus.REGISTERED, "S": ReportStatus.REGISTERED,
    "Y": ReportStatus.REGISTERED, "A": ReportStatus.PARTIAL, "R": ReportStatus.PRELIMINARY,
    "P": ReportStatus.PRELIMINARY,
    "F": ReportStatus.FINAL, "C": ReportStatus.CORRECTED, "X": ReportStatus.CANCELLED,
}  # fmt: skip
"""OBR-25, HL7 table 0123."""
_RESULT = {
    "I": ObservationStatus.REGISTERED, "N": ObservationStatus.REGISTERED, "O": ObservationStatus.REGISTERED,
    "P": ObservationStatus.PRELIMINARY, "R": ObservationStatus.PRELIMINARY, "S": ObservationStatus.PRELIMINARY,
    "F": ObservationStatus.FINAL, "U": ObservationStatus.FINAL, "C": ObservationStatus.CORRECTED,
    "X": ObservationStatus.CANCELLED, "D": ObservationStatus.ENTERED_IN_ERROR, "W": ObservationStatus.ENTERED_IN_ERROR,
}  # fmt: skip
"""OBX-11, HL7 table 0085."""
_IMAGING = frozenset(
    {"RAD", "RUS", "CT", "NMR", "NMS", "RX", "VUS", "OUS", "CUS", "XRC", "EC", "EN", "CTH", "IMG"}
)
_KINDS = {
    "NM": "quantity", "SN": "quantity", "CE": "code", "CWE": "code", "CNE": "code", "IS": "code", "ID": "code",
    "DT": "time", "TS": "time", "DTM": "time", "TM": "time", "ED": "attachment", "RP": "attachment",
}  # fmt: skip
_SEVERITY = [
    AbnormalFlag.UNKNOWN, AbnormalFlag.NORMAL, AbnormalFlag.LOW, AbnormalFlag.HIGH, AbnormalFlag.ABNORMAL,
    AbnormalFlag.CRITICAL, AbnormalFlag.CRITICAL_LOW, AbnormalFlag.CRITICAL_HIGH,
]  # fmt: skip


@dataclass(slots=True)
class _Group:
    """An OBR with what belongs to it."""

    obr: Segment
    orc: Segment
    results: list[tuple[Segment, list[str]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def map_results(reading: Reading) -> ClinicalRecord | Unmapped:
    """Every OBR is a report; results that stand before the first one belong to it."""
    groups = _groups(reading)
    if not groups:
        return Unmapped("no_order", "OBR")
    documents: list[DocumentRecord] = []
    reports = tuple(_report(group, reading, documents) for group in groups)
    return ClinicalRecord(reports=reports, documents=tuple(documents))


def _groups(reading: Reading) -> list[_Group]:
    groups: list[_Group] = []
    early: list[tuple[Segment, list[str]]] = []
    orc = Segment("ORC", [], reading.message.separators)
    has_obr = False
    for segment in reading.message:
        name = segment.name
        if name == "ORC":
            orc, has_obr = segment, False
        elif name == "OBR":
            groups.append(_Group(segment, orc))
            if has_obr:  # a second OBR without an ORC of its own
                groups[-1].orc = Segment("ORC", [], reading.message.separators)
            has_obr = True
        elif name == "OBX":
            (groups[-1].results if groups else early).append((segment, []))
        elif name == "NTE" and groups:
            text = "\n".join(part for repeat in segment.repeats(3) if (part := repeat.whole()))
            notes = groups[-1].results[-1][1] if groups[-1].results else groups[-1].notes
            notes.append(text)
    if groups:
        groups[0].results[:0] = early
    return groups


def _report(group: _Group, reading: Reading, documents: list[DocumentRecord]) -> ReportRecord:
    obr, orc = group.obr, group.orc
    code, text = coded(obr, 4)
    number = first(obr.text(3), orc.text(3), obr.text(2), orc.text(2))
    status = _REPORT.get(obr.text(25).upper(), ReportStatus.FINAL)
    if orc.text(1) in ("CA", "OC") or (orc.text(1) in ("DC", "OD") and not group.results):
        status = ReportStatus.CANCELLED
    seen: Counter[str] = Counter()
    observations = []
    for rank, (obx, notes) in enumerate(group.results, start=1):
        found = _observation(obx, rank, notes, status, seen, reading)
        observations.append(found)
        content = attachment(obx) if obx.text(2) == "ED" else None
        if content is not None:
            documents.append(
                DocumentRecord(
                    number=f"{number or fingerprint(code, obr.text(7))}/{found.key}", kind="DI",
                    title=found.text or text, status=DocumentStatus.FINAL, text=narrative(*content),
                    content=content[0], media_type=content[1],
                    written_at=reading.at(obr, 22),
                )
            )  # fmt: skip
    return ReportRecord(
        number=number or fingerprint(code, text, obr.text(7) or obr.text(14)),
        code=code,
        text=text,
        status=status,
        category=_category(obr, group),
        observed_at=reading.at(obr, 7),
        issued_at=reading.at(obr, 22),
        note="\n".join(group.notes) if group.notes else None,
        observations=tuple(observations),
    )


def _category(obr: Segment, group: _Group) -> ReportCategory:
    """OBR-24; where it says nothing, a report with numbers is the laboratory's."""
    section = obr.text(24).upper()
    if section:
        return ReportCategory.IMAGING if section in _IMAGING else ReportCategory.LABORATORY
    kinds = {obx.text(2) for obx, _ in group.results}
    if kinds & {"NM", "SN"}:
        return ReportCategory.LABORATORY
    return ReportCategory.IMAGING if kinds & {"FT", "TX", "RP", "ED"} else ReportCategory.OTHER


def _observation(
    obx: Segment, rank: int, notes: list[str], report: ReportStatus, seen: Counter[str], reading: Reading
) -> ObservationRecord:
    code, text = coded(obx, 3)
    part = obx.text(4)
    name = f"{code}|{part}" if part else code
    seen[name] += 1
    told = obx.text(11).upper()
    status = _RESULT.get(told) or (
        ObservationStatus.PRELIMINARY
        if report in (ReportStatus.PRELIMINARY, ReportStatus.PARTIAL)
        else ObservationStatus.FINAL
    )
    value = value_text(obx)
    flag, flag_text = _flag(obx, reading)
    return ObservationRecord(
        key=name if seen[name] == 1 else f"{name}#{seen[name]}",
        rank=_rank(obx, rank),
        code=code,
        text=text,
        kind=_KINDS.get(obx.text(2), "text"),
        value=value,
        unit=first(obx.text(6), obx.text(6, 2)),
        reference_range=obx.text(7),
        flag=flag,
        flag_text=flag_text,
        status=status,
        observed_at=reading.at(obx, 14),
        note="\n".join(notes),
        is_narrative=is_narrative(obx),
        is_status_only=told == "U" and not value,
    )


def _rank(obx: Segment, place: int) -> int:
    """OBX-1, so that a correction of some results leaves the others in their order; else the place in the message."""
    told = obx.text(1)
    return int(told) if told.isascii() and told.isdigit() and len(told) < 6 else place


def _flag(obx: Segment, reading: Reading) -> tuple[AbnormalFlag | None, str]:
    """OBX-8, the gravest of its repeats, by the source's map; what is not mapped is kept and flagged."""
    if not obx.has(8):
        return None, ""
    known, texts = reading.source.abnormal_flags, []
    worst: AbnormalFlag | None = None
    for repeat in obx.repeats(8):
        sent = repeat.text(1)
        if not sent:
            continue
        texts.append(sent)
        word = known.get(sent) or known.get(sent.upper())
        if word is None:
            reading.flags.unmapped("OBX-8", "abnormal_flag", sent)
        flag = AbnormalFlag(word) if word else AbnormalFlag.UNKNOWN
        if worst is None or _SEVERITY.index(flag) > _SEVERITY.index(worst):
            worst = flag
    return worst, " ".join(texts)[:64]
