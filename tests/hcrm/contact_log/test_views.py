"""The contact log on its pages: by hand, put right, across patients, with recordings."""

import io
import re

import pytest
import sqlalchemy as sa

from hcrm.archive.reach_models import KnownNumber, NumberState
from hcrm.audit.models import AuditEvent
from hcrm.centre.models import Instruction
from hcrm.contact_log.models import ContactEntry, ContactRecording
from hcrm.contact_log.queries import list_contacts
from hcrm.core.settings import Settings, load_settings
from tests.support.station import Ward

SOUND = b"RIFF\x00\x00\x00\x00WAVEfmt " + b"sound" * 40_000


@pytest.fixture
def settings(tmp_path) -> Settings:
    return load_settings(recordings={"folder": str(tmp_path / "recordings")})


@pytest.fixture
def patient_id(ward: Ward, write) -> str:
    return write(lambda work: work.get(Instruction, ward.first).patient_id)


@pytest.fixture
def service(browser_of, ward):
    return browser_of("wang")


def log(browser, patient_id: str, **fields):
    form = browser.get(f"/patients/{patient_id}/contacts/new").text
    key = re.search(r'name="record_id" value="([0-9a-f]{32})"', form)[1]
    if "recording" in fields:  # a file is made per request: the client closes what it has sent
        name, content = fields["recording"]
        fields["recording"] = (io.BytesIO(content), name)
    empty = dict.fromkeys(
        ("whose", "note", "happened_at", "minutes", "number"), ""
    )  # as a browser sends them
    sent = {"record_id": key, "channel": "phone", "direction": "out", "result": "reached", **empty, **fields}
    return browser.post(f"/patients/{patient_id}/contacts/new", sent, content_type="multipart/form-data")


def entries(write) -> list[ContactEntry]:
    return write(lambda work: list(work.scalars(sa.select(ContactEntry).order_by(ContactEntry.id))))


def test_a_contact_is_logged_by_hand_and_stands_in_both_lists(service, patient_id, write):
    answer = log(
        service,
        patient_id,
        whose="女儿 李红",
        note="询问复诊时间",
        minutes="5",
        happened_at="2026-11-21T09:30",
    )

    assert answer.status_code == 303
    (entry,) = entries(write)
    assert (entry.whose, entry.duration_seconds, entry.actor_name) == ("女儿 李红", 300, "王敏")
    for page in (f"/patients/{patient_id}?tab=contacts", "/contacts"):
        assert "女儿 李红" in service.get(page).text
        assert "登记于" in service.get(page).text  # a day later
    assert "共 1 次联系" in service.get("/contacts").text
    assert "没有符合条件" in service.get("/contacts?channel=visit").text


def test_a_number_found_empty_is_one_press_and_unverified_from_then_on(service, patient_id, write):
    form = service.get(f"/patients/{patient_id}/contacts/new").text
    number = re.search(r'value="(contact:[0-9a-f]{32})"', form)[1]

    log(service, patient_id, quick="invalid_number", number=number)

    assert [entry.result.value for entry in entries(write)] == ["invalid_number"]
    assert write(lambda work: work.one(KnownNumber).state) is NumberState.INVALID


def test_sent_twice_it_is_one_contact(service, patient_id, write):
    form = service.get(f"/patients/{patient_id}/contacts/new").text
    key = re.search(r'name="record_id" value="([0-9a-f]{32})"', form)[1]
    for _ in range(2):
        service.post(
            f"/patients/{patient_id}/contacts/new", {"record_id": key, "channel": "phone", "result": "busy"}
        )

    assert len(entries(write)) == 1


def test_an_entry_is_never_changed_but_put_right_once_by_a_new_one(service, patient_id, write, database):
    log(service, patient_id, note="患者要求周三回电")
    (old,) = entries(write)

    assert log(service, patient_id, note="患者要求周四回电", corrects_id=old.id).status_code == 303
    assert log(service, patient_id, note="又改", corrects_id=old.id).status_code == 409

    shown = service.get(f"/patients/{patient_id}?tab=contacts").text
    assert "已更正" in shown
    assert [entry.note for entry in entries(write)] == ["患者要求周三回电", "患者要求周四回电"]
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), database.writer.begin() as connection:
        connection.execute(sa.text("UPDATE contact_entry SET note = 'x'"))


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"result": ""}, "result"), ({"happened_at": "2027-01-01T00:00"}, "happened_at"),
     ({"happened_at": "0001-01-01T00:00"}, "happened_at"), ({"happened_at": "0001-01-01T00:00+14:00"}, "happened_at"),
     ({"happened_at": "9999-12-31T23:59-12:00"}, "happened_at"), ({"happened_at": "1066-01-01T00:00"}, "happened_at"),
     ({"minutes": "x"}, "minutes"),
     ({"recording": ("a.mp3", b"<html>")}, "recording")],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_what_was_typed(service, patient_id, write, tmp_path, fields, field):
    answer = log(service, patient_id, note="已写的内容", **fields)

    assert answer.status_code == 422
    assert f'id="error-{field}"' in answer.text
    assert "已写的内容" in answer.text
    assert entries(write) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file() and "recordings" in path.parts] == []


@pytest.fixture
def recording_id(service, patient_id, write) -> str:
    log(service, patient_id, recording=("../../张三.wav", SOUND))
    return write(lambda work: work.one(ContactRecording).id)


def test_a_player_gets_the_whole_or_the_range_it_asks_for(service, recording_id, write):
    address = f"/recordings/{recording_id}/sound"
    whole = service.get(address)
    part = service.get(address, headers={"Range": "bytes=70000-70009"})
    tail = service.get(address, headers={"Range": "bytes=-5"})

    assert (whole.status_code, whole.data, whole.mimetype) == (200, SOUND, "audio/wav")
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert (part.status_code, part.data) == (206, SOUND[70000:70010])
    assert part.headers["Content-Range"] == f"bytes 70000-70009/{len(SOUND)}"
    assert tail.data == SOUND[-5:]
    assert service.get(address, headers={"Range": f"bytes={len(SOUND)}-"}).status_code == 416
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    assert "attachment" in whole.headers["Content-Disposition"]
    noted = write(lambda work: len(work.all(AuditEvent, AuditEvent.action == "recording.listen")))
    assert noted == 4


def test_only_who_may_listen_hears_it_and_only_of_their_patients(browser_of, make_person, recording_id):
    assert browser_of("li").get(f"/recordings/{recording_id}/sound").status_code == 403
    make_person("sun", ["department_head"], display_name="孙主任")
    assert browser_of("sun").get(f"/recordings/{recording_id}/sound").status_code == 404


def test_a_department_sees_the_log_of_its_own_patients_only(service, patient_id, browser_of, make_person):
    log(service, patient_id, note="心内科的患者")
    make_person("sun", ["department_head"], display_name="孙主任")

    assert "心内科的患者" in browser_of("zhao").get("/contacts").text
    assert "心内科的患者" not in browser_of("sun").get("/contacts").text
    assert browser_of("li").get("/contacts").status_code == 403


def test_a_list_of_many_is_paged_without_a_gap(service, patient_id, write):
    for _ in range(3):
        log(service, patient_id)

    page = write(lambda work: list_contacts(work, patient_id=patient_id, size=2))

    assert len(page.items) == 2
    assert page.next_key is not None
