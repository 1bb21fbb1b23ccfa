"""MDM^T02, T08, T10, T11 to documents (HL7 2.9 chapter 9): TXA with OBX; an attached file is kept as it came. Pure."""

from typing import Any

from adapters.his.clinical_reading import (
    Reading,
    attachment,
    fingerprint,
    first,
    is_narrative,
    narrative,
    staff_name,
    value_text,
)
from adapters.hl7v2 import Segment
from hcrm.archive.clinical.records import ClinicalRecord, DocumentRecord
from hcrm.archive.clinical.terms import DocumentStatus
from hcrm.archive.records import Unmapped
from hcrm.core import limits

_UNSIGNED = frozenset({"DI", "IP", "IN", "PA"})  # TXA-17, HL7 table 0271
_VOID = frozenset({"CA", "UN"})  # TXA-19, HL7 table 0273: deleted, unavailable


def map_documents(reading: Reading) -> ClinicalRecord | Unmapped:
    """The document of the message; a second and third attachment are documents of their own."""
    txa = reading.message.segment("TXA")
    if not txa:
        return Unmapped("no_document", "TXA")
    texts: list[str] = []
    files: list[tuple[bytes, str]] = []
    for obx in reading.message.segments("OBX"):
        if obx.text(2) == "ED":
            found = attachment(obx)
            if found is not None:
                files.append(found)
            elif obx.text(5, 5):
                reading.flags.append("bad_content:OBX-5")
        elif text := value_text(obx):
            label = obx.text(3, 2)
            texts.append(text if is_narrative(obx) or not label else f"{label}：{text}")
    if sum(len(content) for content, _ in files) + sum(map(len, texts)) > limits.MAX_DOCUMENT_BYTES:
        return Unmapped("budget", "OBX-5")
    texts += [text for content, media in files[:1] if (text := narrative(content, media))]
    number = _number(txa, reading)
    written_at = reading.at(txa, 4) or reading.at(txa, 6)
    common: dict[str, Any] = {
        "kind": txa.text(2), "status": _status(txa, reading), "written_at": written_at,
        "author": first(staff_name(txa, 9), staff_name(txa, 5), txa.text(5)),
    }  # fmt: skip
    main = DocumentRecord(
        number=number, title=_title(txa, reading), text="\n".join(texts) or None,
        content=files[0][0] if files else None, media_type=files[0][1] if files else None,
        replaces=txa.text(13) or None if reading.message.at("MSH-9.2") == "T10" else None, **common,
    )  # fmt: skip
    further = [
        DocumentRecord(
            number=f"{number}#{rank}", title=f"{_title(txa, reading)} 附件 {rank}".strip(),
            text=narrative(content, media) or None, content=content, media_type=media, **common,
        )
        for rank, (content, media) in enumerate(files[1:], start=2)
    ]  # fmt: skip
    return ClinicalRecord(documents=(main, *further))


def _number(txa: Segment, reading: Reading) -> str:
    """TXA-12, else the order it reports on, else what it is and of when."""
    message = reading.message
    sent = first(txa.text(12), txa.text(14), txa.text(15), message.at("ORC-2"), message.at("ORC-3"))
    return sent or fingerprint(txa.text(2), txa.text(4), message.at("PV1-19"), message.at("PID-3"))


def _title(txa: Segment, reading: Reading) -> str:
    """TXA-25 (2.7 and later), else the name of the first part where it is one for all."""
    if txa.text(25):
        return txa.text(25)
    names = {obx.text(3, 2) for obx in reading.message.segments("OBX")} - {""}
    return names.pop() if len(names) == 1 else ""


def _status(txa: Segment, reading: Reading) -> DocumentStatus:
    if reading.message.at("MSH-9.2") == "T11" or txa.text(19) in _VOID:
        return DocumentStatus.CANCELLED
    if txa.text(19) == "OB":
        return DocumentStatus.SUPERSEDED
    return DocumentStatus.PRELIMINARY if txa.text(17) in _UNSIGNED else DocumentStatus.FINAL
