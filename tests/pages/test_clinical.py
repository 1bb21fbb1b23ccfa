"""The tabs for what other systems tell, and the staff list, in a browser: they fit their screen, axe finds no fault."""

import base64

import pytest

from adapters.his.mapping import map_message
from hcrm.archive.arrivals import Arrival
from hcrm.archive.models import Patient, PatientIdentifier
from hcrm.archive.service import absorb_records
from hcrm.archive.visit_models import DischargeWay
from tests.support.adt import adt, stamp
from tests.support.builders import make_department, make_encounter, make_practitioner
from tests.support.changes import EVENING, SOURCES
from tests.support.clinical import clinical, obr, obx, staff

DESK, PHONE = {"width": 1280, "height": 720}, {"width": 390, "height": 844}
TABS = ("results", "medications", "documents", "appointments", "charges")
LONG = "很长的名称" * 30


def told() -> list[bytes]:
    """One of everything, with words longer than any screen."""
    file = base64.b64encode(b"%PDF-1.4").decode()
    return [
        adt("A01", c=1, m="09:00"),
        clinical(
            "ORU^R01", obr(code=f"CBC^{LONG}"), obx(1, "K^血钾", "7.1", "HH"), obx(2, f"X^{LONG}", "1" * 40, "L"),
            obx(3, "IMP^诊断意见", LONG, kind="TX"), obx(4, "D^删除", "1", status="D"), c=50,
        ),
        clinical("RDE^O11", "ORC|NW|O1|||||^QD^D14^20261122", f"RXE||A^{LONG}|100||mg||~{LONG}|||28|片", c=51),
        clinical(
            "RDE^O11", "ORC|NW|P1|||||^BID^^20261122",
            *(f"RXE||H{number}^黄芪{number}|30||g|||||7|剂" for number in range(18)), c=52,
        ),
        clinical(
            "MDM^T02", "TXA|1|DS|TX|202611221000|D1^李^军|||||||D1", f"OBX|1|TX|1^出院小结||{LONG}||||||F",
            f"OBX|2|ED|2^PDF||^application^pdf^Base64^{file}||||||F", c=53,
        ),
        clinical("SIU^S12", f"SCH|{'9' * 60}||||||复诊||20|min|^^^{stamp('16:00')}", f"AIS|1|A|C^{LONG}", v=None, c=54),
        clinical("SIU^S26", "SCH|B2", v=None, c=55),
        clinical(
            "DFT^P03", f"FT1|1|T1||20261122||CG|A^{LONG}|||2|1234567.80", "FT1|2|T2||20261122||CD|B^退|||1|5", c=56,
        ),
        staff("MFE|MDC|1||S1|CE", f"STF|S1||{LONG}|||||{LONG}"),
    ]  # fmt: skip


@pytest.fixture
def record(make_person, write) -> str:
    """A patient of whom everything was told."""
    make_person("wu", ["service_centre"])

    def add(work):
        changes = [map_message(raw, SOURCES, EVENING).result for raw in told()]
        absorb_records(work, arrivals=[Arrival(seq, change) for seq, change in enumerate(changes, start=1)])
        work.flush()
        return work.one(PatientIdentifier, PatientIdentifier.value == "100").patient_id

    return write(add)


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)  # a page looks alike on both
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_pages_fit_their_screen_and_axe_finds_no_fault(page_of, record, size):
    from axe_playwright_python.sync_playwright import Axe  # only here

    page = page_of("wu")
    page.set_viewport_size(size)
    faults = []
    for path in (
        *(f"/patients/{record}?tab={tab}" for tab in TABS),
        f"/patients/{record}",
        "/staff",
        "/departments",
    ):
        assert page.goto(path).ok, path
        found = Axe().run(page).response["violations"]
        wide = max(0, page.evaluate("document.documentElement.scrollWidth - innerWidth"))
        faults += [(path, fault["id"], fault["nodes"][0]["target"]) for fault in found]
        faults += [(path, "too wide", wide)] if wide else []

    assert faults == []


def test_no_list_of_a_record_covers_the_cards_beside_it(page_of, record, write):
    def end(work):
        patient = work.one(Patient, Patient.id == record)
        stay = make_encounter(
            work, patient=patient, department=make_department(work, name="呼吸内科（肺病科）"),
            attending=make_practitioner(work, name="梁晨"),
            diagnoses=["支气管哮喘", "特发性（原发性）高血压", "慢性胃炎"],
            discharged_at=work.clock.now(),
        )  # fmt: skip
        stay.discharge_way, stay.visit_no = DischargeWay.COMMUNITY, "I26111800001"

    write(end)
    page = page_of("wu")
    page.set_viewport_size(DESK)
    covered = """() => {
        const side = document.querySelector('.record > :last-child').getBoundingClientRect();
        return [...document.querySelectorAll('.record > :first-child .table-wrap')].some(list => {
            const box = list.getBoundingClientRect();
            return list.contains(document.elementFromPoint(side.left + 4, box.top + box.height / 2));
        });
    }"""
    for tab in ("visits", "diagnoses", *TABS):
        page.goto(f"/patients/{record}?tab={tab}")
        assert not page.evaluate(covered), tab


def test_a_herbal_prescription_opens_its_herbs(page_of, record):
    page = page_of("wu")
    page.goto(f"/patients/{record}?tab=medications")
    herb = page.get_by_text("黄芪17", exact=False)

    assert not herb.is_visible()
    page.get_by_text("共 18 味").click()
    assert herb.is_visible()


def test_a_document_is_downloaded_and_not_shown(page_of, record):
    page = page_of("wu")
    page.goto(f"/patients/{record}?tab=documents")
    with page.expect_download() as download:
        page.get_by_role("link", name="下载原件").click()

    assert download.value.suggested_filename == "document.pdf"
