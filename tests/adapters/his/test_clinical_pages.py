"""From a sender's socket to the page a person opens: one message of each type, seen in the console."""

import base64
import re

import pytest

from hcrm.archive.clinical.models import DocumentReference
from hcrm.archive.visit_models import Encounter
from tests.support.adt import adt, stamp
from tests.support.clinical import clinical, obr, obx, staff
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.truth_table import evening, hospital

__all__ = ["app", "browser_of", "cheap_passwords", "evening", "hospital", "make_person", "settings"]

ADMITTED = adt("A01", c=1, m="09:00")


@pytest.fixture
def clock(evening):
    """The console goes by the worker's clock."""
    return evening


@pytest.fixture
def centre(make_person, browser_of):
    make_person("wang", ["service_centre"])
    return browser_of("wang")


def shown(browser, hospital, tab: str = "") -> str:
    answer = browser.get(f"/patients/{hospital.patient(100).id}" + (f"?tab={tab}" if tab else ""))
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize("kind", ["ORU^R01", "OUL^R21", "OUL^R24"])
def test_results_and_a_critical_value(hospital, centre, kind):
    finding = obx(2, "IMP^诊断意见", "考虑<肺炎>，建议复查", kind="TX", unit="", reference="")
    hospital.receive(ADMITTED, clinical(kind, obr(), obx(1, "K^血钾", "7.10", "HH", unit="mmol/L"), finding))
    page = shown(centre, hospital, "results")

    for words in (
        "血常规",
        "血钾",
        "7.10",
        "mmol/L",
        "危急高值",
        "危急值",
        "考虑&lt;肺炎&gt;，建议复查",
        "第 2 号消息",
    ):
        assert words in page
    assert re.search(r'单号 <span[^>]*>[^<]*</span> · <span class="hint">\S+ <span class="num">', page)
    line = shown(centre, hospital)
    assert "检验 · 血常规（危急值）" in line
    assert "?tab=results" in line


def test_a_corrected_result_shows_its_new_value_only(hospital, centre):
    hospital.receive(ADMITTED, clinical("ORU^R01", obr(), obx(value="5.55", flag="H")))
    hospital.receive(clinical("ORU^R01", obr(status="C"), obx(value="4.44", status="C"), c=51, m="12:00"))
    page = shown(centre, hospital, "results")

    assert "4.44" in page
    assert "已更正" in page
    assert "5.55" not in page


@pytest.mark.parametrize("kind", ["RDE^O11", "RAS^O17"])
def test_drugs_with_the_end_of_their_course(hospital, centre, kind):
    order = ("ORC|NW|O1|||||^QD^D14^20261122^^R", "RXE||A01^阿司匹林肠溶片|100||mg^毫克", "RXR|PO^口服")
    herbs = ("ORC|NW|P1|||||^BID^^20261122", "RXE||H1^黄芪|30||g|||||7|剂", "RXE||H2^当归|10||g|||||7|剂")
    hospital.receive(ADMITTED, clinical(kind, *order, *herbs))
    page = shown(centre, hospital, "medications")

    for words in (
        "阿司匹林肠溶片",
        "100毫克 QD 口服",
        "12-05",
        "按疗程",
        "中药 7 剂",
        "共 2 味",
        "黄芪",
        "30g",
        "每日一剂",
    ):
        assert words in page
    assert "医嘱 · 阿司匹林肠溶片等 2 种（用到 2026-12-05）" in shown(centre, hospital)


def test_charges_with_what_the_stay_comes_to(hospital, centre):
    lines = ("FT1|1|T1||20261122||CG|A^床位费|||2|80.00", "FT1|2|T2||20261122||CD|B^血常规|||1|25.50")
    hospital.receive(ADMITTED, clinical("DFT^P03", *lines))
    page = shown(centre, hospital, "charges")

    for words in ("床位费", "80.00", "-25.50", "54.50", "退费"):
        assert words in page


def test_a_discharge_summary_and_its_file(hospital, centre):
    content = base64.b64encode(
        "<?xml version='1.0'?><ClinicalDocument><title>住院小结</title></ClinicalDocument>".encode()
    )
    txa = "TXA|1|DS|TX|202611221000|D1^李^军|||||||D1"
    hospital.receive(
        ADMITTED,
        clinical("MDM^T02", txa, "OBX|1|TX|1^出院小结||出院医嘱：<b>一周后</b>复诊||||||F",
                 f"OBX|2|ED|2^CDA||^text^xml^Base64^{content.decode()}||||||F"),
    )  # fmt: skip
    page = shown(centre, hospital, "documents")

    for words in ("&lt;b&gt;一周后&lt;/b&gt;复诊", "李军", "下载原件", "住院小结"):
        assert words in page
    (document,) = hospital.all(DocumentReference)
    got = centre.get(f"/patients/{hospital.patient(100).id}/documents/{document.id}")
    assert got.data.startswith(b"<?xml")
    assert got.headers["Content-Disposition"].startswith("attachment")
    assert got.headers["Content-Type"] == "application/octet-stream"
    other = centre.get(f"/patients/{hospital.patient(100).id}/documents/{'0' * 32}")
    assert other.status_code == 404


@pytest.mark.parametrize(
    ("event", "state"),
    [("S12", "已预约"), ("S13", "已预约"), ("S14", "已预约"), ("S15", "已取消"), ("S16", "已取消"), ("S17", "已删除"),
     ("S26", "爽约")],
)  # fmt: skip
def test_a_booking_and_its_state(hospital, centre, event, state):
    sch = f"SCH|B1||||||复诊||20|min|^^^{stamp('16:00')}"
    ais = f"AIS|1|A|C01^心内科复诊|{stamp('16:00')}|||20|min"
    hospital.receive(ADMITTED, clinical(f"SIU^{event}", sch, ais, "AIP|1|A|D1^李^军", v=None))
    page = shown(centre, hospital, "appointments")

    for words in ("心内科复诊", "李军", "B1", f">{state}<"):
        assert words in page


@pytest.mark.parametrize(
    ("event", "day", "is_said"), [("S12", 22, True), ("S12", 23, False), ("S26", 22, False)]
)
def test_a_booking_whose_time_has_passed_without_a_word_says_so(hospital, centre, event, day, is_said):
    start = f"202611{day}160000"
    sch, ais = f"SCH|B1||||||复诊||20|min|^^^{start}", f"AIS|1|A|C01^心内科复诊|{start}|||20|min"
    hospital.receive(ADMITTED, clinical(f"SIU^{event}", sch, ais, v=None))

    assert ("时间已过" in shown(centre, hospital, "appointments")) is is_said


def test_allergies_of_an_admission(hospital, centre):
    hospital.receive(adt("A01", c=1, m="09:00", segments=["AL1|1|DA|P^青霉素|SV|皮疹"]))

    page = shown(centre, hospital, "allergies")
    for words in ("青霉素", "药物", "重", "皮疹"):
        assert words in page


def test_the_staff_list_shows_whom_nobody_has_verified_first(hospital, centre, make_person, browser_of):
    hospital.receive(ADMITTED)
    fields = ["STF", "A1", "", "王^主任", "", "", "", "A", "CARD^心血管内科", *[""] * 9, "主任医师"]
    hospital.receive(staff("MFE|MAD|1||A1|CE", "|".join(fields)))
    page = centre.get("/staff").text

    assert page.index(">D1<") < page.index(">A1<")
    for words in ("王主任", "主任医师", "心血管内科", "待核实", "在岗"):
        assert words in page
    assert ">A1<" not in centre.get("/staff?unverified=1").text
    assert "心血管内科" in centre.get("/departments").text
    make_person("root", ["sysadmin"])
    assert browser_of("root").get("/staff").status_code == 200


def test_every_tab_is_empty_in_words_before_anything_came(hospital, centre):
    hospital.receive(ADMITTED)
    for tab in ("results", "medications", "charges", "documents", "appointments"):
        assert "还没有收到" in shown(centre, hospital, tab)


def test_what_hangs_on_a_stay_is_shown_to_whom_the_stay_is(hospital, make_person, browser_of):
    text = "OBX|1|TX|1^小结||他科的正文||||||F"
    hospital.receive(
        ADMITTED,
        adt("A01", c=2, v="V2", loc="W2^1^1", doctor="D2^王", m="09:30"),
        clinical("ORU^R01", obr(code="A^他科的报告"), obx(), v="V2", c=50),
        clinical("RDE^O11", "ORC|NW|O1", "RXE||A^他科的药", v="V2", c=51),
        clinical("DFT^P03", "FT1|1|T1||20261122||CG|A^他科的费用|||1|80", v="V2", c=52),
        clinical("MDM^T02", "TXA|1|DS|TX|202611221000||||||||D1", text, v="V2", c=53),
        clinical("SIU^S12", f"SCH|B1||||||复诊||20|min|^^^{stamp('16:00')}", "AIS|1|A|C01^他科的预约", v="V2", c=54),
        clinical("ORU^R01", obr("F9", code="B^无就诊的报告"), obx(), v=None, c=55),
        clinical("DFT^P03", "FT1|1|T2||20261122||CG|B^本科的费用|||1|25.5", c=56),
    )  # fmt: skip
    make_person("li", ["physician"], department_code="W1")
    ours = browser_of("li")

    for tab, words in (("results", "他科的报告"), ("medications", "他科的药"), ("charges", "他科的费用"),
                       ("documents", "他科的正文"), ("appointments", "他科的预约"), ("", "他科的")):  # fmt: skip
        assert words not in shown(ours, hospital, tab)
    charges = shown(ours, hospital, "charges")
    assert "25.50" in charges
    assert "80.00" not in charges  # nor in what the stays come to
    assert "105.50" not in charges
    assert "无就诊的报告" in shown(ours, hospital, "results")
    (document,) = hospital.all(DocumentReference)
    assert ours.get(f"/patients/{hospital.patient(100).id}/documents/{document.id}").status_code == 404
    assert hospital.count(Encounter) == 2
