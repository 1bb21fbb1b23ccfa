"""MDM through the socket: documents as text, as CDA, as a file; replaced, cancelled, too long."""

import base64

import pytest

from hcrm.archive.clinical.models import DocumentReference
from hcrm.archive.clinical.terms import DocumentStatus
from hcrm.archive.models import TimelineEntry
from hcrm.core import limits
from hcrm.inbox.models import ApplicationState
from tests.support.adt import adt, moment
from tests.support.clinical import clinical
from tests.support.hospital import Hospital
from tests.support.truth_table import evening, hospital

__all__ = ["evening", "hospital"]

ADMITTED = adt("A01", c=1, m="09:00")
CDA = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE x [<!ENTITY boom "boom"><!ENTITY file SYSTEM "file:///etc/passwd">]>
<ClinicalDocument xmlns="urn:hl7-org:v3"><title>出院小结</title>
<recordTarget><patient><name>不在正文里</name></patient></recordTarget>
<component><section><title>出院诊断</title><text>2 型糖尿病<br/>高血压 &file; &lt;3级&gt;</text></section></component>
</ClinicalDocument>"""


def txa(
    number: str = "D1", kind: str = "DS", *, state: str = "AU", replaces: str = "", availability: str = ""
) -> str:
    fields = ["TXA", "1", kind, "TX", "202611221000", "D1^李^军", "", "", "", "", "", "", number, replaces, "", "", "",
              state, "", availability]  # fmt: skip
    return "|".join(fields)


def text(value: str = "入院情况：……\\.br\\出院医嘱：一周后复诊") -> str:
    return f"OBX|1|TX|1^出院小结||{value}||||||F"


def live(hospital: Hospital) -> list[DocumentReference]:
    rows = hospital.all(DocumentReference, DocumentReference.ended_at.is_(None))
    return sorted(rows, key=lambda row: row.number)


def opened(hospital: Hospital, row: DocumentReference) -> str:
    return hospital.database.keys.open_text(row.text_sealed)


def attached(content: bytes, kind: str = "text^xml") -> str:
    return f"OBX|1|ED|1^报告||^{kind}^Base64^{base64.b64encode(content).decode()}||||||F"


def test_a_discharge_summary_is_kept_sealed_and_told(hospital):
    hospital.receive(ADMITTED, clinical("MDM^T02", txa(), text()))

    (document,) = live(hospital)
    assert (document.number, document.kind, document.title) == ("D1", "DS", "出院小结")
    assert (document.status, document.author) == (DocumentStatus.FINAL, "李军")
    assert document.written_at == moment("10:00")
    assert document.encounter_id == hospital.visit("V1").id
    assert opened(hospital, document) == "入院情况：……\n出院医嘱：一周后复诊"
    assert "复诊".encode() not in document.text_sealed
    (line,) = hospital.all(TimelineEntry, TimelineEntry.kind == "document")
    assert line.title == "出院小结"


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_an_attached_cda_is_kept_as_it_came_and_read_without_its_entities(hospital, encoding):
    content = CDA.encode(encoding)
    hospital.receive(ADMITTED, clinical("MDM^T02", txa(kind="C0053"), attached(content)))

    (document,) = live(hospital)
    assert hospital.database.keys.open(document.content_sealed) == content
    assert (document.media_type, document.size) == ("text/xml", len(content))
    told = opened(hospital, document)
    assert told.splitlines()[:3] == ["出院小结", "出院诊断", "2 型糖尿病"]
    assert "<3级>" in told
    assert "不在正文里" not in told
    assert "root:" not in told


def test_a_pdf_is_kept_as_a_file(hospital):
    hospital.receive(
        ADMITTED, clinical("MDM^T02", txa(), attached(b"%PDF-1.4 ...", "application^octet-stream"))
    )

    (document,) = live(hospital)
    assert (document.media_type, document.text_sealed) == ("application/pdf", None)


def test_several_files_are_several_documents(hospital):
    hospital.receive(
        ADMITTED,
        clinical("MDM^T02", txa(), attached(b"%PDF-1"), attached(b"%PDF-2").replace("|1|ED", "|2|ED")),
    )

    assert [row.number for row in live(hospital)] == ["D1", "D1#2"]


def test_a_file_nobody_can_decode_is_flagged(hospital):
    hospital.receive(
        ADMITTED, clinical("MDM^T02", txa(), "OBX|1|ED|1^报告||^application^pdf^Base64^<not base64>", text())
    )

    assert hospital.application().flags == "bad_content:OBX-5"
    assert live(hospital)[0].content_sealed is None


@pytest.mark.parametrize(
    ("state", "availability", "status"),
    [("DO", "", DocumentStatus.FINAL), ("LA", "AV", DocumentStatus.FINAL), ("IP", "", DocumentStatus.PRELIMINARY),
     ("DI", "", DocumentStatus.PRELIMINARY), ("AU", "CA", DocumentStatus.CANCELLED),
     ("AU", "OB", DocumentStatus.SUPERSEDED)],
)  # fmt: skip
def test_the_state_of_a_document_is_read(hospital, state, availability, status):
    hospital.receive(ADMITTED, clinical("MDM^T02", txa(state=state, availability=availability), text()))

    assert live(hospital)[0].status is status


def test_a_replacement_supersedes_in_either_order(hospital):
    original = clinical("MDM^T02", txa(), text())
    replacement = clinical("MDM^T10", txa("D2", replaces="D1"), text("更正后"), c=51, m="12:00")
    for number, pair in enumerate(((original, replacement), (replacement, original))):
        change = (f"D{number}9".encode(), f"D{number}8".encode())
        named = [
            raw.replace(b"|D1|", b"|" + change[0] + b"|").replace(b"|D2|", b"|" + change[1] + b"|")
            for raw in pair
        ]
        hospital.receive(ADMITTED, *(raw.replace(b"|5", b"|%d5" % (number + 1), 1) for raw in named))

    assert [(row.number, row.status) for row in live(hospital)] == [
        ("D08", DocumentStatus.FINAL), ("D09", DocumentStatus.SUPERSEDED),
        ("D18", DocumentStatus.FINAL), ("D19", DocumentStatus.SUPERSEDED)]  # fmt: skip


def test_a_cancelled_document_says_so_on_the_timeline(hospital):
    hospital.receive(
        ADMITTED, clinical("MDM^T02", txa(), text()), clinical("MDM^T11", txa(), c=51, m="12:00")
    )

    (document,) = live(hospital)
    assert document.status is DocumentStatus.CANCELLED
    (line,) = hospital.all(TimelineEntry, TimelineEntry.kind == "document")
    assert line.title == "出院小结（已作废）"


def test_an_edited_document_keeps_its_former_text(hospital):
    hospital.receive(
        ADMITTED,
        clinical("MDM^T02", txa(), text("旧")),
        clinical("MDM^T08", txa(), text("新"), c=51, m="12:00"),
    )

    (document,) = live(hospital)
    (old,) = hospital.all(DocumentReference, DocumentReference.ended_at.is_not(None))
    assert (opened(hospital, document), opened(hospital, old)) == ("新", "旧")


def test_a_document_longer_than_the_limit_is_parked(hospital):
    content = b"x" * (limits.MAX_DOCUMENT_BYTES + 1)
    hospital.receive(ADMITTED, clinical("MDM^T02", txa(), attached(content, "text^plain")))

    row = hospital.application()
    assert (row.state, row.reason, row.detail) == (ApplicationState.PARKED, "budget", "OBX-5")
    assert live(hospital) == []


def test_a_message_without_a_document_is_parked(hospital):
    hospital.receive(clinical("MDM^T02", text()))

    assert hospital.application().reason == "no_document"
