"""The contact log on its pages: by hand, put right, across patients, with recordings."""

import io
import re

import pytest
import sqlalchemy as sa

from hcrm.archive.models import Patient
from hcrm.archive.reach.people import put_relative
from hcrm.archive.reach_models import KnownNumber, NumberState
from hcrm.archive.terms import Informant
from hcrm.audit.models import AuditEvent
from hcrm.centre.models import Instruction
from hcrm.contact_log.models import Channel, ContactEntry, ContactRecording, ContactResult
from hcrm.contact_log.queries import list_contacts
from hcrm.contact_log.recordings import attach_recording, store_sound
from hcrm.contact_log.service import record_contact
from hcrm.core.settings import Settings, load_settings
from hcrm.directory.models import Department
from tests.support.builders import make_encounter, make_patient
from tests.support.sounds import wav
from tests.support.station import Ward

SOUND = wav(b"sound" * 40_000)


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


def test_a_list_says_who_was_spoken_to_and_who_began(service, patient_id):
    log(service, patient_id, direction="in", note="来电询问")

    for page in (f"/patients/{patient_id}?tab=contacts", "/contacts"):
        assert "电话（来电）" in service.get(page).text
    row = service.get("/contacts").text.split("电话（来电）")[1]
    assert re.search(r'text-wrap">本人<', row.split("</tr>")[0])  # the result says so, nobody had to write it
    assert "电话（来电）：接通，本人" in service.get(f"/patients/{patient_id}").text


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


def send_under(service, patient_id: str, key: str, **fields):
    sent = {
        "record_id": key,
        "channel": "phone",
        "direction": "out",
        "result": "reached",
        "note": "询问复诊",
        **fields,
    }
    if "recording" in fields:
        sent["recording"] = (io.BytesIO(fields["recording"]), "a.wav")
    address = f"/patients/{patient_id}/contacts/new"
    return service.post(address, sent, content_type="multipart/form-data")


def key_in(page: str) -> str:
    return re.search(r'name="record_id" value="([0-9a-f]{32})"', page)[1]


@pytest.mark.parametrize(
    "change",
    [{"note": "询问复诊，另要病历"}, {"result": "relative", "whose": "女儿"}, {"channel": "wechat"},
     {"direction": "in"}, {"whose": "女儿"}, {"minutes": "3"}, {"happened_at": "2026-11-21T09:30"},
     {"recording": wav(b"other")}],
)  # fmt: skip
def test_sent_again_with_something_changed_it_is_refused_and_nothing_typed_is_lost(
    service, patient_id, write, change
):
    key = key_in(service.get(f"/patients/{patient_id}/contacts/new").text)
    for _ in range(2):
        assert send_under(service, patient_id, key, recording=SOUND).status_code == 303

    answer = send_under(service, patient_id, key, **change)

    assert answer.status_code == 409
    assert "已登记为“电话，接通，本人”" in answer.text
    assert "询问复诊" in answer.text
    assert len(entries(write)) == 1
    assert write(lambda work: work.one(ContactRecording)).size == len(SOUND)
    fresh = key_in(answer.text)
    assert fresh != key
    assert send_under(service, patient_id, fresh, **change).status_code == 303
    assert len(entries(write)) == 2


def test_a_page_of_another_patient_or_number_is_no_repetition(service, patient_id, write):
    number = re.search(
        r'value="(contact:[0-9a-f]{32})"', service.get(f"/patients/{patient_id}/contacts/new").text
    )[1]
    key = key_in(service.get(f"/patients/{patient_id}/contacts/new").text)
    assert send_under(service, patient_id, key, result="invalid_number").status_code == 303

    assert send_under(service, patient_id, key, result="invalid_number", number=number).status_code == 409
    other = write(lambda work: make_patient(work).id)
    assert send_under(service, other, key, result="invalid_number").status_code == 409
    assert write(lambda work: work.all(KnownNumber)) == []


def test_who_of_the_family_answered_is_asked_for_unless_the_number_says_it(service, patient_id, write):
    answer = log(
        service,
        patient_id,
        result="relative",
        note="说已好转",
        happened_at="2027-01-01T00:00",
        recording=("a.mp3", b"<html>"),
    )

    assert answer.status_code == 422
    assert "家属接听的，请写明是谁" in answer.text
    for field in ("whose", "happened_at", "recording"):  # all mistakes at once
        assert f'id="error-{field}"' in answer.text
    assert "说已好转" in answer.text
    number = write(
        lambda work: put_relative(
            work,
            patient_id=patient_id,
            relation="女儿",
            name="李红",
            phone="13900001234",
            informant=Informant.STAFF,
        )
    )
    assert log(service, patient_id, result="relative", number=f"related:{number}").status_code == 303
    assert [entry.whose for entry in entries(write)] == ["女儿 李红"]


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
     ({"recording": ("a.mp3", b"<html>")}, "recording"),
     ({"recording": ("a.wav", SOUND[:12] + b"<html>" * 9)}, "recording")],
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
    tail = service.get(address, headers={"Range": "bytes=-500"})
    beyond = service.get(address, headers={"Range": f"bytes=-{10 * len(SOUND)}"})

    assert (whole.status_code, whole.data, whole.mimetype) == (200, SOUND, "audio/wav")
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert (part.status_code, part.data) == (206, SOUND[70000:70010])
    assert part.headers["Content-Range"] == f"bytes 70000-70009/{len(SOUND)}"
    assert (tail.status_code, tail.data) == (206, SOUND[-500:])
    assert tail.headers["Content-Range"] == f"bytes {len(SOUND) - 500}-{len(SOUND) - 1}/{len(SOUND)}"
    assert (beyond.status_code, beyond.data) == (206, SOUND)
    for asked in (f"bytes={len(SOUND)}-", "bytes=-0"):
        refused = service.get(address, headers={"Range": asked})
        assert (refused.status_code, refused.headers["Content-Range"]) == (416, f"bytes */{len(SOUND)}")
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    assert "attachment" in whole.headers["Content-Disposition"]
    noted = write(lambda work: len(work.all(AuditEvent, AuditEvent.action == "recording.listen")))
    assert noted == 6


def test_a_range_of_another_sound_or_of_no_get_is_the_whole(service, recording_id):
    address = f"/recordings/{recording_id}/sound"
    tag = service.get(address).headers["ETag"]

    for condition, status in ((tag, 206), ('"other"', 200), ("Sun, 22 Nov 2026 08:00:00 GMT", 200)):
        answer = service.get(address, headers={"Range": "bytes=0-9", "If-Range": condition})
        assert answer.status_code == status, condition
    head = service.client.head(address, headers={"Range": "bytes=0-9"})
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(SOUND)))


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


def test_what_hangs_on_another_department_s_stay_is_neither_heard_nor_put_right(
    patient_id, browser_of, write, tmp_path, keys, ward
):
    """The patient is theirs too, by a stay of their own."""
    folder = tmp_path / "recordings"

    def add(work, stay):
        entry_id = record_contact(
            work,
            patient_id=patient_id,
            encounter_id=stay,
            channel=Channel.PHONE,
            result=ContactResult.REACHED,
        )
        sound = store_sound(keys, folder, io.BytesIO(SOUND), file_name=work.new_id())
        return entry_id, attach_recording(work, entry_id=entry_id, stored=sound)

    def add_both(work):
        patient, surgery = work.get(Patient, patient_id), work.one(Department, Department.name == "外科")
        theirs = make_encounter(work, patient=patient, department=surgery, discharged_at=work.clock.now())
        return add(work, work.get(Instruction, ward.first).encounter_id), add(work, theirs.id)

    form = f"/patients/{patient_id}/contacts/new"
    head = browser_of("zhao")
    answers = []
    for entry_id, recording_id in write(add_both):
        shown = head.get(f"{form}?corrects={entry_id}").status_code
        answers.append(
            (
                shown,
                head.get(f"/recordings/{recording_id}/sound").status_code,
                log(head, patient_id, note="更正", corrects_id=entry_id).status_code,
            )
        )

    assert answers == [(200, 200, 303), (404, 404, 404)]
    assert [entry.note for entry in entries(write)] == [None, None, "更正"]


def test_a_list_of_many_is_paged_without_a_gap(service, patient_id, write):
    for _ in range(3):
        log(service, patient_id)

    page = write(lambda work: list_contacts(work, patient_id=patient_id, size=2))

    assert len(page.items) == 2
    assert page.next_key is not None
