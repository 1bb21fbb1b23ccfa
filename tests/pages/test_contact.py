"""The console of a patient in Chromium: a contact logged by keys alone, its recording heard, the sheet on paper."""

import io
import math
import re
import struct
import wave

import pytest
from playwright.sync_api import expect

from hcrm.archive import death
from hcrm.archive.fields.service import set_field
from hcrm.archive.models import Patient
from hcrm.archive.reach import disclosure
from hcrm.archive.reach.numbers import add_number
from hcrm.archive.reach.people import put_address, put_relative
from hcrm.archive.reach_models import DisclosureState
from hcrm.archive.terms import Informant
from hcrm.contact_log.models import Channel, ContactResult
from hcrm.contact_log.service import record_contact
from hcrm.core.settings import load_settings
from tests.support.builders import make_patient, publish_fields

DESK = {"width": 1280, "height": 720}
PHONE = {"width": 390, "height": 844}
LONG = "买买提·阿不都热依木·艾尼瓦尔·吐尔逊江·玉素甫艾山"


@pytest.fixture
def settings(tmp_path):
    return load_settings(recordings={"folder": str(tmp_path / "recordings")})


@pytest.fixture
def patient_id(ward, write) -> str:
    """张建国, with a daughter, silence about the illness, and wishes; the id."""
    write(publish_fields)
    return write(lambda work: _fill(work, work.one(Patient, Patient.name == "张建国").id, "李红"))


def _fill(work, patient_id: str, relative: str) -> str:
    related = put_relative(
        work,
        patient_id=patient_id,
        name=relative,
        relation="女儿",
        phone="13600136000",
        informant=Informant.PATIENT,
    )
    put_address(
        work,
        patient_id=patient_id,
        use="home",
        text="文三路 138 号",
        informant=Informant.STAFF,
        region_code=None,
    )
    disclosure.set_disclosure(
        work, patient_id=patient_id, state=DisclosureState.CONFIDENTIAL, related_id=related
    )
    for code, values in (
        ("preferred_channel", ["phone"]),
        ("preferred_time", ["morning", "evening", "weekend"]),
    ):
        set_field(work, patient_id=patient_id, field_code=code, values=values)
    number = add_number(
        work, patient_id=patient_id, number="13700137000", relation="女儿", owner_name=relative
    )
    record_contact(
        work, patient_id=patient_id, channel=Channel.PHONE, result=ContactResult.RELATIVE, note="约好周三复诊" * 20,
        number=f"contact:{number}",
    )  # fmt: skip
    return patient_id


def sound(seconds: int) -> bytes:
    """A tone as a real WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(8000)
        samples = (int(9000 * math.sin(at / 3)) for at in range(8000 * seconds))
        target.writeframes(b"".join(struct.pack("<h", one) for one in samples))
    return file.getvalue()


HEARD = """async () => {
  const player = document.querySelector("audio");
  const until = (name) => new Promise((done) => player.addEventListener(name, done, { once: true }));
  if (player.readyState < 1) await until("loadedmetadata");
  player.currentTime = 12;
  await until("seeked");
  await player.play();
  await until("timeupdate");
  return [Math.round(player.duration), player.currentTime >= 12, player.error];
}"""


def test_a_contact_is_found_logged_and_heard_with_the_keyboard(page_of, patient_id):
    page = page_of("wang")
    page.goto("/patients")
    page.keyboard.press("/")
    page.keyboard.type("建国")
    expect(page.locator("#results a.row-link")).to_have_text(["张建国"])
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/patients/{patient_id}")
    page.keyboard.press("c")
    page.wait_for_url("**/contacts/new")
    assert "病情只与 女儿 李红 沟通" in page.inner_text("main")
    assert "首选电话，方便：上午、晚上、周末" in page.inner_text("main")

    page.get_by_label("接通，家属").focus()
    page.keyboard.press("Space")
    page.get_by_role("textbox", name="对方").focus()
    page.keyboard.type("女儿 李红")
    page.get_by_label("内容").focus()
    page.keyboard.type("问能否提前复诊")
    page.set_input_files(
        "[name=recording]", {"name": "a.mp3", "mimeType": "audio/mpeg", "buffer": b"<html>" * 20}
    )
    page.keyboard.press("Control+Enter")
    expect(page.locator("#error-recording")).to_contain_text("只能上传")
    assert page.input_value("[name=note]") == "问能否提前复诊"  # nothing typed is lost
    page.set_input_files("[name=recording]", {"name": "a.wav", "mimeType": "audio/wav", "buffer": sound(16)})
    page.get_by_label("内容").focus()
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**tab=contacts")
    page.get_by_role("link", name="收听").click()
    page.locator("audio").wait_for()

    assert page.evaluate(HEARD) == [16, True, None]


def test_one_key_opens_the_death_which_says_what_it_closes_and_is_taken_back(page_of, patient_id):
    page = page_of("wang")
    page.goto(f"/patients/{patient_id}")
    page.keyboard.press("d")
    page.wait_for_url("**/death")
    assert "1 条待办将撤回" in page.inner_text("main")
    assert "节哀" in page.inner_text("aside")
    page.fill("[name=told_by]", "女儿来电")
    page.keyboard.press("Control+Enter")
    page.wait_for_url(f"**/patients/{patient_id}")
    expect(page.locator(".identity")).to_contain_text("已故待核实")

    page.goto("/workbench")
    page.get_by_role("link", name=re.compile("待核实的死亡登记")).click()
    page.get_by_role("link", name="张建国").click()
    page.fill("[name=confirmation]", "死亡证明")
    page.keyboard.press("Control+Enter")
    page.wait_for_url(f"**/patients/{patient_id}")
    page.get_by_text("撤销死亡登记", exact=True).first.click()
    page.fill("[name=reason]", "看错了人")
    page.get_by_role("button", name="撤销死亡登记").click()

    page.get_by_text("已撤销死亡登记").wait_for()


def test_the_sheet_is_one_page_of_paper_without_the_console(page_of, patient_id):
    page = page_of("wang")
    page.goto(f"/patients/{patient_id}/sheet")
    paper = page.pdf(format="A4")
    page.emulate_media(media="print")

    assert paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") == 1
    for part in (".topbar", ".side", ".actions"):
        assert not page.locator(part).first.is_visible()
    assert page.locator(".print-head").is_visible()
    assert "家属要求保密" in page.inner_text("main")


OVER = "[...document.querySelectorAll('.table-wrap')].filter((one) => one.scrollWidth > one.clientWidth + 1).length"
PAGES = (
    "?tab=people", "?tab=contacts", "?tab=profile", "?tab=visits", "/numbers", "/disclosure", "/contact-end", "/death",
    "/contacts/new", "/consents", "/people/related/new", "/people/address/new", "/sheet", "/allergies/new",
    "/fields/preferred_time",
)  # fmt: skip


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)  # a page looks alike on both
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_the_console_of_a_patient_fits_its_screen_and_axe_finds_no_fault(
    page_of, ward, patient_id, write, size
):
    from axe_playwright_python.sync_playwright import Axe  # only here

    long = write(lambda work: _fill(work, make_patient(work, name=LONG).id, LONG))
    write(lambda work: death.record_death(work, patient_id=make_patient(work, name=LONG).id, told_by=LONG))
    write(
        lambda work: put_relative(
            work, patient_id=patient_id, name=LONG, phone="13500135000", informant=Informant.STAFF
        )
    )
    page = page_of("wang")
    page.set_viewport_size(size)
    faults, form = [], f"/instructions/{ward.first}/form"
    for path in [*(f"/patients/{long}{one}" for one in PAGES), "/contacts", "/deaths", "/workbench", form]:
        assert page.goto(path).ok, path
        found = Axe().run(page).response["violations"]
        wide = max(0, page.evaluate("document.documentElement.scrollWidth - innerWidth"))
        over = page.evaluate(OVER)
        faults += [(path, fault["id"], fault["nodes"][0]["target"]) for fault in found]
        faults += [(path, "too wide", wide)] if wide else []
        faults += [(path, "a table leaves its place", over)] if over and size is DESK else []

    assert faults == []
