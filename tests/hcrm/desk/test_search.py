"""Finding patients on the console: whom each role finds, what leads straight on, what stands in no address."""

import base64
import html
import re
from datetime import timedelta
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from hcrm.accounts.models import Account, KeptSearch
from hcrm.accounts.sign_in import end_sessions
from hcrm.archive.exports import patients_export
from hcrm.archive.models import IdentifierKind, Patient, PatientIdentifier, RelatedPerson
from hcrm.archive.reach.contact_stop import end_contact
from hcrm.archive.terms import StopKind
from hcrm.archive.visit_models import EncounterClass
from hcrm.audit.models import AuditEvent, AuditSubject
from hcrm.centre.models import Classification
from hcrm.core import limits
from hcrm.core.errors import HcrmError
from hcrm.core.text import is_han
from hcrm.desk.search import fix_list_filters, is_full_number, read_list_filters
from hcrm.directory.models import Department
from tests.support.builders import SOURCE, make_encounter, make_patient

FRAGMENT = {"Origin": "http://localhost", "HX-Request": "true"}


def search(browser, words, **fields):
    """Enter in the box, and the list it leads to."""
    return browser.get(browser.post("/patients", {"q": words, **fields}).location)


def add_number(work, name, value):
    patient = work.one(Patient, Patient.name == name)
    work.add(
        PatientIdentifier(
            id=work.new_id(),
            patient_id=patient.id,
            kind=IdentifierKind.RECORD,
            authority="H1",
            type="MR",
            value=value,
            source=SOURCE,
            as_of=work.clock.now(),
            seq=1,
        )
    )
    return patient.id


@pytest.mark.parametrize(
    ("words", "is_full"),
    [("00001234", True), ("138 0013 8000", True), ("110101195903071518", True), ("A-77", True), ("8000", False),
     ("151X", False), ("zhang", False), ("张3", False), ("", False)],
)  # fmt: skip
def test_a_full_number_is_told_from_the_last_four_and_from_names(words, is_full):
    assert is_full_number(words) is is_full


@given(st.text(max_size=30))
def test_no_name_and_no_four_characters_ever_count_as_a_full_number(words):
    if is_han(words) or (len(words) == 4 and words.isalnum()):
        assert not is_full_number(words)


def test_a_physician_finds_the_patients_of_the_department_and_no_other(ward, browser_of):
    own, strange = browser_of("li").get("/patients"), browser_of("qian").get("/patients")

    assert "我的患者" in own.text
    assert "张建国" in own.text
    assert "李秀英" in own.text
    assert "张建国" not in strange.text
    assert "HIS 发来建档或入院消息后" in strange.text  # nobody yet, not "no right"


def test_an_account_without_department_and_physician_reads_whom_to_ask(ward, make_person, browser_of):
    make_person("sun", ["physician"], display_name="孙大夫")

    assert "没有对应的科室或医师" in browser_of("sun").get("/patients").text


def test_words_narrow_the_list_and_a_search_without_hits_says_so(ward, browser_of):
    centre = browser_of("wang")
    found, missed = search(centre, "建国"), search(centre, "欧阳")

    assert "张建国" in found.text
    assert "李秀英" not in found.text
    assert 'value="建国"' in found.text  # the words stay in the box
    assert "没有符合条件的记录" in missed.text


def test_a_full_number_leads_straight_to_the_patient(ward, browser_of, write):
    key = write(lambda work: add_number(work, "张建国", "00481516"))
    centre = browser_of("wang")
    answer = centre.post("/patients", {"q": " 00481516 "})

    assert (answer.status_code, answer.location) == (303, f"/patients/{key}")
    typing = centre.post("/patients", {"q": "00481516"}, headers=FRAGMENT)
    assert typing.status_code == 200  # nobody is carried off while typing
    assert "张建国" in typing.text


@pytest.mark.parametrize("words", ["38", "038", "0000038", "00000038", "000000038"])
def test_zeros_before_a_record_number_may_be_left_out(ward, browser_of, write, words):
    key = write(lambda work: add_number(work, "张建国", "00000038"))
    write(lambda work: add_number(work, "李秀英", "00000380") and None)

    assert browser_of("wang").post("/patients", {"q": words}).location == f"/patients/{key}"


def test_a_full_number_outside_the_scope_leads_nowhere(ward, browser_of, write):
    write(lambda work: add_number(work, "张建国", "00481516"))
    answer = search(browser_of("qian"), "00481516")

    assert answer.status_code == 200
    assert "张建国" not in answer.text


def test_the_words_never_stand_in_an_address(ward, browser_of):
    centre = browser_of("wang")
    typing = centre.post("/patients", {"q": "建国", "status": "finished"}, headers=FRAGMENT)

    assert re.fullmatch(r"/patients\?status=finished&kept=[0-9a-f]{32}", typing.headers["HX-Replace-Url"])
    assert "建国" in centre.get(typing.headers["HX-Replace-Url"]).text
    assert "<html" not in typing.text
    assert (
        "李秀英" in centre.get("/patients?q=建国").text
    )  # an address that carries words is opened without them
    empty = centre.post("/patients", {"q": "", "status": "finished"})
    assert (empty.status_code, empty.location) == (303, "/patients?status=finished")


def test_filters_stand_in_the_address(ward, browser_of, write):
    def add(work):
        department = work.one(Department, Department.name == "外科")
        make_encounter(
            work, patient=make_patient(work, name="周在院"), department=department, discharged_at=None
        )
        make_encounter(
            work,
            patient=make_patient(work, name="吴门诊"),
            department=department,
            discharged_at=None,
            encounter_class=EncounterClass.OUTPATIENT,
        )
        return department.id

    department = write(add)
    centre = browser_of("wang")
    surgery = centre.get(f"/patients?department={department}").text
    lying = centre.get("/patients?status=in-progress").text

    assert "周在院" in surgery
    assert "吴门诊" in surgery
    assert "张建国" not in surgery
    assert "周在院" in lying
    assert "吴门诊" not in lying  # an outpatient is registered, not in a bed
    assert "已登记" in surgery


def test_a_long_result_is_turned_page_by_page_with_its_words(ward, browser_of, write):
    write(lambda work: [make_patient(work, name=f"赵大{i:03}") for i in range(60)] and None)
    centre = browser_of("wang")
    first = search(centre, "赵大")
    second = centre.get(first.text.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&"))

    assert first.text.count("row-link") == 50
    assert second.text.count("row-link") == 10
    assert 'value="赵大"' in second.text


def test_a_name_cannot_become_markup(ward, browser_of, write):
    write(lambda work: make_patient(work, name='<img src=x onerror="1">'))

    assert "&lt;img" in browser_of("wang").get("/patients").text


def test_unknown_filters_and_a_broken_page_key_are_refused_in_chinese(ward, browser_of):
    centre = browser_of("wang")

    assert centre.get("/patients?status=gone").status_code == 422
    assert centre.get("/patients?key=%3Cx%3E").status_code == 400
    assert centre.get("/patients?department=nowhere").status_code == 200


def test_a_search_notes_whom_it_showed_and_not_what_was_typed(ward, browser_of, write):
    search(browser_of("wang"), "建国")

    def noted(work):
        event = work.session.scalars(
            sa.select(AuditEvent).where(AuditEvent.action == "patient.search").order_by(AuditEvent.id.desc())
        ).first()
        shown = work.scalars(
            sa.select(AuditSubject.subject_patient_id).where(AuditSubject.audit_id == event.id)
        )
        return event.detail, shown == [work.one(Patient, Patient.name == "张建国").id]

    detail, is_right = write(noted)
    assert is_right
    assert "建国" not in str(detail)


def test_words_somebody_is_typing_are_noted_only_where_they_show_a_patient(ward, browser_of, write):
    centre = browser_of("wang")

    def noted(path, words, **options):
        def count(work):
            return len(work.all(AuditEvent, AuditEvent.action == "patient.search"))

        before = write(count)
        centre.post(path, {"q": words}, **options)
        return write(count) - before

    for path in ("/patients/quick", "/patients"):
        assert noted(path, "查无此人", headers=FRAGMENT) == 0
        assert noted(path, "建国", headers=FRAGMENT) == 1
    assert noted("/patients", "查无此人") == 1


def test_every_filter_stands_in_the_address_and_is_cleared_by_its_chip(ward, browser_of):
    centre = browser_of("wang")
    asked = {"status": "finished", "discharged": "7d", "region": "same_county", "since": "2026-11-01"}
    page = centre.post("/patients", {"q": "建国", **asked}, headers=FRAGMENT)

    kept = "/patients?region=same_county&discharged=7d&since=2026-11-01&status=finished&kept="
    assert page.headers["HX-Replace-Url"].startswith(kept)
    for words in ("出院 2026-11-01 起", "所选区域", "已出院"):
        assert words in page.text
    cleared = centre.post("/patients", {"q": "建国", **asked, "without": "since"}, headers=FRAGMENT)
    kept = "/patients?region=same_county&discharged=7d&status=finished&kept="
    assert cleared.headers["HX-Replace-Url"].startswith(kept)
    assert "近 7 天出院" in cleared.text
    assert centre.post("/patients", {"q": "", **asked, "without": "status"}).location.endswith(
        "since=2026-11-01"
    )


def test_stays_are_found_by_discharge_department_and_class_together(ward, browser_of, write):
    def add(work):
        department = work.one(Department, Department.name == "外科")
        for name, days, group in (("周近一", 2, "stroke"), ("周近二", 2, "mental"), ("周早三", 20, "stroke")):
            moment = work.clock.now() - timedelta(days=days)
            stay = make_encounter(
                work, patient=make_patient(work, name=name), department=department, discharged_at=moment
            )
            work.add(
                Classification(
                    id=work.new_id(), encounter_id=stay.id, department_id=department.id, axis="disease_group",
                    code=group, label=group, rank=0, rule_code="t", rule_version=1,
                    is_sensitive=group == "mental", classified_at=work.clock.now(),
                )
            )  # fmt: skip
        return department.id

    department = write(add)
    centre = browser_of("wang")

    def shown(address):
        text = centre.get(f"/patients?{address}").text
        return [name for name in ("周近一", "周近二", "周早三") if name in text]

    assert shown(f"department={department}&discharged=7d") == ["周近一", "周近二"]
    assert shown(f"department={department}&discharged=7d&disease=stroke") == ["周近一"]
    assert shown("disease=stroke&discharged=30d") == ["周近一", "周早三"]
    assert shown("disease=stroke&until=2026-11-10") == ["周早三"]
    assert shown("disease=mental") == []  # of restricted view: not to be looked for
    assert "精神" not in centre.get("/patients").text
    assert shown("status=deceased") == []
    assert shown("status=contact_ended") == []
    write(
        lambda work: end_contact(
            work,
            patient_id=work.one(Patient, Patient.name == "周早三").id,
            kind=StopKind.TERMINATED,
            reason="要求",
        )
    )
    assert shown("status=contact_ended") == ["周早三"]


def test_signs_nobody_sees_do_not_hide_anybody(ward, browser_of):
    found = search(browser_of("li"), "张\u200b建\ufeff国\u202e").text

    assert "张建国" in found
    assert "共 1 位" in found


@pytest.mark.parametrize("words", ["张" * 65, "x" * 10_000, "·"])
def test_words_that_cannot_be_taken_are_said_to_be_so(ward, browser_of, words):
    centre = browser_of("wang")
    page, typing = (
        centre.post("/patients", {"q": words}),
        centre.post("/patients", {"q": words}, headers=FRAGMENT),
    )

    assert (page.status_code, typing.status_code) == (422, 200)
    for text in (page.text, typing.text):
        assert "请" in text.split('role="alert">')[1].split("<")[0]
        assert words not in text or words == "·"
        assert "张建国" not in text


@pytest.mark.parametrize(
    "words", ["%", "_", "'", '"', "' OR 1=1", "😀", "１３８", "𠀀", "a\0b", "{{7*7}}", "<b>"]
)
def test_strange_words_are_answered(ward, browser_of, words):
    assert search(browser_of("wang"), words).status_code == 200
    assert browser_of("wang").get("/patients?" + urlencode({"q": words.replace("\0", "")})).status_code == 200


def test_a_relatives_phone_finds_the_patient_and_the_line_says_so_without_the_number(ward, browser_of, write):
    def add(work):
        patient = work.one(Patient, Patient.name == "张建国")
        number = "+8613912349876"
        work.add(
            RelatedPerson(
                id=work.new_id(), patient_id=patient.id, rank=1, name="王芳", relation="妻",
                phone_sealed=work.keys.seal_text(number), phone_index=work.keys.blind("phone", number),
                phone_last4_index=work.keys.blind("phone4", "9876"), source=SOURCE, as_of=work.clock.now(), seq=1,
            )
        )  # fmt: skip

    write(add)
    centre = browser_of("wang")
    typing = centre.post("/patients", {"q": "139 1234 9876"}, headers=FRAGMENT)

    assert "亲属电话" in typing.text
    assert "张建国" in typing.text
    assert "9876" not in typing.text
    assert "亲属电话后四位" in centre.post("/patients", {"q": "9876"}, headers=FRAGMENT).text


def test_days_in_the_wrong_order_are_marked_and_nothing_typed_is_lost(ward, browser_of):
    centre = browser_of("wang")
    days = {"since": "2026-11-20", "until": "2026-11-01", "status": "finished"}
    answers = (centre.get(f"/patients?{urlencode(days)}"), search(centre, "建国", **days))

    for answer in answers:
        assert answer.status_code == 422
        assert "起始日不能晚于截止日" in answer.text
        assert re.search(r'id="f-until"[^>]*value="2026-11-01"[^>]*aria-invalid="true"', answer.text)
        assert 'value="2026-11-20"' in answer.text
        assert '<option value="finished" selected>' in answer.text
    assert 'value="建国"' in answers[1].text
    typing = centre.post("/patients", {"q": "建国", **days}, headers=FRAGMENT)
    assert (typing.status_code, "起始日不能晚于截止日" in typing.text) == (200, True)


def test_a_search_comes_back_by_its_address_to_the_session_it_was_made_in_and_to_no_other(ward, browser_of):
    centre = browser_of("wang")
    address = centre.post("/patients", {"q": "建国", "status": "finished"}).location
    again = centre.get(address)
    assert 'value="建国"' in again.text
    assert centre.post("/patients", {"q": "建国", "kept": address[-32:]}).location[-32:] == address[-32:]

    for stranger in (browser_of("wang"), browser_of("li")):
        foreign = stranger.get(address)
        assert (foreign.status_code, "刚才的搜索已失效" in foreign.text) == (200, True)
        assert "建国" not in foreign.text.replace("张建国", "")
        assert 'value="finished" selected' in foreign.text


def test_the_next_page_of_a_spelling_names_nobody_in_its_address_and_ends_with_its_search(
    ward, browser_of, write, monkeypatch
):
    write(lambda work: [make_patient(work, name="欧阳翠花") for _ in range(60)] and None)
    centre, other = browser_of("wang"), browser_of("wang")
    first = centre.get(centre.post("/patients", {"q": "ouyang"}).location)
    address = html.unescape(re.search(r'rel="next" href="([^"]+)"', first.text)[1])
    key = re.search(r"key=([^&]+)", address)[1]

    assert b"ouyang" not in base64.urlsafe_b64decode(key + "=" * (-len(key) % 4))
    second = centre.get(address)
    assert (second.status_code, 'rel="prev"' in second.text) == (200, True)
    gone = other.get(address)
    assert (gone.status_code, "刚才的搜索已失效" in gone.text) == (200, True)
    for broken in (key[:-3], "x" * 40, "中"):
        assert centre.get(address.replace(key, broken)).status_code == 400


def test_words_are_kept_sealed_so_many_of_a_session_and_gone_when_it_ends(
    ward, browser_of, write, monkeypatch
):
    monkeypatch.setattr(limits, "KEPT_SEARCHES", 3)
    centre, other = browser_of("wang"), browser_of("wang")
    other.post("/patients", {"q": "李秀"})
    addresses = [centre.post("/patients", {"q": words}).location for words in ("张", "张建", "建国", "国")]
    rows = write(lambda work: [(row.session_id, row.words_sealed) for row in work.all(KeptSearch)])

    assert len(rows) == 4  # three and the other browser's
    assert not any("建".encode() in sealed for _, sealed in rows)
    assert "刚才的搜索已失效" in centre.get(addresses[0]).text
    assert 'value="张建"' in centre.get(addresses[1]).text
    centre.post("/logout")
    assert write(lambda work: len(work.all(KeptSearch))) == 1
    write(lambda work: end_sessions(work, account_id=work.one(Account, Account.username == "wang").id))
    assert write(lambda work: work.all(KeptSearch)) == []


def test_the_box_in_the_head_of_every_page_finds_while_one_types(ward, browser_of, make_person, write):
    write(lambda work: [make_patient(work, name=f"赵大{i:03}") for i in range(10)] and None)
    centre = browser_of("wang")
    assert 'hx-post="/patients/quick"' in centre.get("/workbench").text
    found = centre.post("/patients/quick", {"q": "建国"}, headers=FRAGMENT)
    many = centre.post("/patients/quick", {"q": "赵大"}, headers=FRAGMENT)

    assert "张建国" in found.text
    assert "李秀英" not in found.text
    assert (many.text.count("row-link"), "看全部" in many.text) == (8, True)
    assert "张建国" not in browser_of("qian").post("/patients/quick", {"q": "建国"}, headers=FRAGMENT).text
    assert centre.post("/patients/quick", {"q": " "}, headers=FRAGMENT).text == ""
    assert "最多" in centre.post("/patients/quick", {"q": "x" * 10_000}, headers=FRAGMENT).text
    make_person("gu", ["sysadmin"])
    assert browser_of("gu").post("/patients/quick", {"q": "建国"}).status_code == 403


def test_who_is_registered_is_told_from_who_lies_in_a_bed(ward, browser_of, write):
    def add(work):
        make_encounter(work, patient=make_patient(work, name="周在院"), discharged_at=None)
        make_encounter(
            work, patient=make_patient(work, name="吴门诊"), discharged_at=None,
            encounter_class=EncounterClass.OUTPATIENT,
        )  # fmt: skip

    write(add)
    listed = browser_of("wang").get("/patients?status=registered").text

    assert "吴门诊" in listed
    assert "周在院" not in listed
    assert '<option value="registered" selected>已登记' in listed


def test_the_list_is_taken_out_with_every_filter_it_shows(work):
    make_encounter(work, patient=make_patient(work, name="周近"), discharged_at=work.clock.now())
    make_encounter(work, patient=make_patient(work, name="周早"))
    export = patients_export(read_list_filters, fix_list_filters)

    for asked, words, count in (
        ({}, "患者名单", 2),
        ({"discharged": "today", "status": "finished"}, "患者名单、今天出院、已出院", 1),
        ({"status": "deceased"}, "患者名单、已故", 0),
    ):
        assert (export.title(work, asked), export.count(work, asked)) == (words, count)
    with pytest.raises(HcrmError, match="不带搜索内容"):
        export.title(work, {"q": "周"})


def test_who_may_not_see_patients_gets_no_search(ward, make_person, browser_of):
    make_person("gu", ["sysadmin"])

    assert browser_of("gu").get("/patients").status_code == 403
