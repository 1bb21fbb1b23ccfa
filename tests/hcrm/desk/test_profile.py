"""What people enter on a patient's page: fields, allergies, tags and notes, from the page inwards."""

import re
from datetime import date

import pytest

from hcrm.archive.fields.models import PatientFieldValue, PatientNote, PatientTag
from hcrm.archive.models import Allergy, Patient
from hcrm.archive.terms import Sex
from hcrm.audit.models import AuditEvent
from tests.support.builders import publish_fields
from tests.support.record import page


@pytest.fixture(autouse=True)
def fields(write):
    write(publish_fields)


@pytest.fixture
def patient(patient, write):
    """Somebody every field is asked of."""

    def change(work):
        row = work.get(Patient, patient)
        row.sex, row.birth_date = Sex.FEMALE, date(1990, 3, 7)
        return patient

    return write(change)


def field_url(patient, code):
    return f"/patients/{patient}/fields/{code}"


def seen_in(text):
    return re.search(r'name="seen" value="([^"]*)"', text).group(1)


def undo_in(text):
    return re.search(r'data-undo="([^"]+)"', text).group(1)


def live(write, model, patient):
    return write(
        lambda work: [row for row in work.all(model, model.patient_id == patient) if row.ended_at is None]
    )


# ── fields ──────────────────────────────────────────────────────────────────


def test_what_blocks_something_stands_on_top_with_its_source_on_the_tab(patient, browser_of, write):
    browser = browser_of("li")
    answer = browser.post(
        field_url(patient, "pregnancy"),
        {"value": "pregnant", "informant": "patient", "asked_on": "2026-11-20", "note": "12 周", "seen": ""},
    )

    assert answer.headers["Location"].endswith("?tab=profile")
    shown = page(browser, patient, "profile").text
    assert re.search(r'<span class="tag late" title="孕产状态：12 周">怀孕</span>', shown)
    assert "患者自述" in shown
    assert "11-20" in shown


def test_an_old_answer_says_when_it_was_asked(patient, browser_of, write, clock):
    browser = browser_of("li")
    browser.post(
        field_url(patient, "pregnancy"), {"value": "not_pregnant", "asked_on": "2026-08-20", "seen": ""}
    )

    assert "孕产状态 3 个月前询问，请重新询问" in page(browser, patient).text


def test_a_stale_page_shows_mine_the_present_and_the_former(patient, browser_of, write):
    mine, other = browser_of("li"), browser_of("li")
    other.post(field_url(patient, "employer"), {"value": "一厂", "seen": ""})
    seen = seen_in(mine.get(field_url(patient, "employer")).text)
    other.post(field_url(patient, "employer"), {"value": "二厂", "seen": seen})

    answer = mine.post(field_url(patient, "employer"), {"value": "三厂", "seen": seen})

    assert answer.status_code == 409
    text = re.sub(r"\s+", " ", answer.text)
    assert re.search("我的.*三厂.*现有.*二厂.*原来.*一厂", text)
    mine.post(field_url(patient, "employer"), {"value": "三厂", "seen": seen_in(answer.text)})
    assert [row.value for row in live(write, PatientFieldValue, patient)] == ["三厂"]


def test_saving_offers_to_take_it_back_and_the_history_keeps_both(patient, browser_of, write):
    browser = browser_of("li")
    browser.post(field_url(patient, "employer"), {"value": "一厂", "seen": ""})
    shown = page(browser, patient, "profile").text

    browser.post(undo_in(shown))

    assert live(write, PatientFieldValue, patient) == []
    assert "一厂" in browser.get(field_url(patient, "employer")).text


def test_a_wrong_value_is_said_at_its_field_and_what_was_typed_stays(patient, browser_of):
    answer = browser_of("li").post(
        field_url(patient, "pregnancy"),
        {"value": "pregnant", "asked_on": "2027-01-01", "note": "=cmd()%'\"", "seen": ""},
    )

    assert answer.status_code == 422
    assert 'id="error-asked_on"' in answer.text
    assert "=cmd()%&#39;&#34;" in answer.text


@pytest.mark.parametrize("path", ["fields/employer", "allergies/new", "tags", "notes"])
def test_another_departments_patient_takes_nothing(patient, browser_of, path):
    fields = {"value": "x", "text": "x", "tag": "x", "seen": ""}
    wanted = {
        "fields/employer": ("value", "seen"),
        "allergies/new": ("text",),
        "tags": ("tag",),
        "notes": ("text",),
    }
    answer = browser_of("qian").post(
        f"/patients/{patient}/{path}", {name: fields[name] for name in wanted[path]}
    )

    assert answer.status_code == 404


def test_who_may_only_read_gets_no_form(patient, browser_of, make_person):
    make_person("yiwu", roles=("medical_office",))
    browser = browser_of("yiwu")

    assert "<textarea" not in browser.get(field_url(patient, "past_history")).text
    assert browser.post(field_url(patient, "employer"), {"value": "x"}).status_code == 403


# ── allergies ───────────────────────────────────────────────────────────────


def test_what_was_entered_stands_beside_what_a_message_told(patient, browser_of, write):
    browser = browser_of("li")
    browser.post(
        f"/patients/{patient}/allergies/new", {"text": "海鲜", "kind": "FA", "informant": "relative"}
    )

    shown = page(browser, patient, "allergies").text
    assert "青霉素过敏" in shown
    assert "海鲜过敏" in shown
    assert "家属述" in shown


def test_who_had_no_allergy_has_one_once_it_is_entered(patient, browser_of, write):
    browser = browser_of("li")
    browser.post(
        field_url(patient, "allergy_state"), {"value": "none_known", "asked_on": "2026-11-22", "seen": ""}
    )
    browser.post(f"/patients/{patient}/allergies/new", {"text": "海鲜"})

    assert live(write, PatientFieldValue, patient) == []
    shown = browser.get(f"/patients/{patient}?tab=profile").text
    assert "海鲜，见“过敏”" in shown  # not 未填 beside an allergy that is known


def test_only_what_was_entered_here_can_be_ended_and_it_can_stand_again(patient, browser_of, write):
    browser = browser_of("li")
    told = live(write, Allergy, patient)[0].id
    browser.post(f"/patients/{patient}/allergies/new", {"text": "海鲜"})
    own = next(row.id for row in live(write, Allergy, patient) if row.text == "海鲜")

    assert browser.post(f"/patients/{patient}/allergies/{told}/end").status_code == 404
    browser.post(f"/patients/{patient}/allergies/{own}/end")
    assert [row.id for row in live(write, Allergy, patient)] == [told]
    browser.post(undo_in(page(browser, patient).text))
    assert len(live(write, Allergy, patient)) == 2


# ── tags and notes ──────────────────────────────────────────────────────────


def test_a_tag_stands_once_goes_and_comes_back(patient, browser_of, write):
    browser = browser_of("li")
    for word in ("慢病管理", " 慢病管理 ", "长" * 21):
        browser.post(f"/patients/{patient}/tags", {"tag": word})
    (tag,) = live(write, PatientTag, patient)
    assert tag.tag == "慢病管理"

    browser.post(f"/patients/{patient}/tags/{tag.id}/remove")
    assert live(write, PatientTag, patient) == []
    page(browser, patient)
    browser.post(f"/patients/{patient}/tags/{tag.id}/restore")
    assert [one.tag for one in live(write, PatientTag, patient)] == ["慢病管理"]


def test_a_note_is_mended_by_its_author_for_ten_minutes_then_only_struck_out(
    patient, browser_of, write, clock
):
    mine = browser_of("li")
    mine.post(f"/patients/{patient}/notes", {"text": "爱人陪同\n下午方便"})
    (note,) = write(lambda work: work.all(PatientNote))
    url = f"/patients/{patient}/notes/{note.id}"

    clock.move(minutes=9)
    assert mine.post(url, {"text": "爱人陪同"}).status_code == 303
    clock.move(minutes=2)
    assert mine.post(url, {"text": "改"}).status_code == 409
    mine.post(f"{url}/strike")

    shown = page(mine, patient, "notes").text
    assert re.search(r"<s[^>]*>爱人陪同</s>", shown)
    assert re.search(r"看原文</summary>.*爱人陪同<br>下午方便</s>", shown)
    assert "划去" in shown


def test_nobody_mends_the_note_of_another(patient, browser_of, write):
    browser_of("li").post(f"/patients/{patient}/notes", {"text": "第一"})
    (note,) = write(lambda work: work.all(PatientNote))

    answer = browser_of("wang").post(f"/patients/{patient}/notes/{note.id}", {"text": "改"})

    assert answer.status_code == 409
    assert write(lambda work: work.get(PatientNote, note.id).text) == "第一"


def test_what_is_written_never_reaches_the_audit_log(patient, browser_of, write):
    browser = browser_of("li")
    browser.post(f"/patients/{patient}/notes", {"text": "秘密的话"})
    browser.post(f"/patients/{patient}/tags", {"tag": "秘密的话"})
    browser.post(field_url(patient, "employer"), {"value": "秘密的话", "seen": ""})

    events = write(lambda work: [(one.action, str(one.detail)) for one in work.all(AuditEvent)])
    assert {"note.write", "tag.write", "field.write"} <= {action for action, _ in events}
    assert not any("秘密" in detail for _, detail in events)
