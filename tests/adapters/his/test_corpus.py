"""Every HL7 message of the public corpus, sent through the socket: its ACK, its row, and what it leaves in the archive.

What is expected stands beside the corpus: facts read by an independent splitter (`expected.json`) and the manifest,
as far as the truth table and assurance section 0 do not say otherwise. Events of a later feature are stored,
acknowledged and parked.
"""

import json
import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from adapters.his.map_acts import ACTS
from adapters.his.map_clinical import CLINICAL_EVENTS
from adapters.his.mapping import EVENTS, PERSON_EVENTS, SWAP
from adapters.his.moments import moment
from hcrm.archive.clinical.models import (
    Appointment,
    ChargeItem,
    DocumentReference,
    MedicationRequest,
    Observation,
)
from hcrm.archive.clinical.terms import AppointmentStatus
from hcrm.archive.models import Allergy, DeceasedState, Patient, PatientIdentifier, Sex
from hcrm.archive.visit_models import Encounter, EncounterClass, EncounterStatus
from hcrm.centre.models import Instruction, InstructionState
from hcrm.core.clock import HOSPITAL_ZONE, FixedClock
from hcrm.core.db import Database
from hcrm.core.paths import config_path
from hcrm.core.sources import Source, Sources, load_sources
from hcrm.core.text import clean_id_number, is_han
from hcrm.inbox.models import ApplicationState, InboxMessage, RefusedMessage
from tests.support.hospital import Hospital

CORPUS = Path(os.environ.get("HCRM_CORPUS", "no corpus"))
CLINICAL = {f"{kind}^{event}" for kind, event in CLINICAL_EVENTS}
SUPPORTED = CLINICAL | {f"ADT^{event}" for event in (*EVENTS, *PERSON_EVENTS, *ACTS, SWAP)}
BOOKED = {
    "S12": AppointmentStatus.BOOKED, "S13": AppointmentStatus.BOOKED, "S14": AppointmentStatus.BOOKED,
    "S15": AppointmentStatus.CANCELLED, "S26": AppointmentStatus.NO_SHOW,
}  # fmt: skip
AFTER = datetime(2026, 11, 23, tzinfo=UTC)  # later than every message
CLASSES = {
    "I": EncounterClass.INPATIENT, "O": EncounterClass.OUTPATIENT, "E": EncounterClass.EMERGENCY,
    "EMERGENCY": EncounterClass.EMERGENCY, "P": EncounterClass.PREADMIT,
}  # fmt: skip
STATUS = {
    "A01": EncounterStatus.IN_PROGRESS, "A03": EncounterStatus.FINISHED, "A04": EncounterStatus.IN_PROGRESS,
    "A11": EncounterStatus.CANCELLED, "A13": EncounterStatus.IN_PROGRESS, "A02": EncounterStatus.IN_PROGRESS,
    "A05": EncounterStatus.PLANNED, "A12": EncounterStatus.IN_PROGRESS, "A23": EncounterStatus.CANCELLED,
    "A17": EncounterStatus.IN_PROGRESS,
}  # fmt: skip
SEXES = {"F": Sex.FEMALE, "M": Sex.MALE, "female": Sex.FEMALE}


@cache
def expected() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CORPUS / "expected.json").read_text(encoding="utf-8"))
    return found


def facts_of(path: str) -> dict[str, Any]:
    facts: dict[str, Any] = expected()[path]["facts"]
    return facts


def read(path: str) -> bytes:
    return (CORPUS / path).read_bytes()


def files(folder: str) -> list[str]:
    return sorted(str(path.relative_to(CORPUS)) for path in CORPUS.glob(f"hl7/{folder}/*.*"))


def flows() -> list[str]:
    return sorted(path.name for path in CORPUS.glob("hl7/flows/*"))


def supported(paths: list[str]) -> list[str]:
    return [path for path in paths if facts_of(path)["event"] in SUPPORTED]


SINGLES = [path for path in files("single") if path != "hl7/single/lfh-0140.hl7"]
LIKE_A_SINGLE = [
    f"hl7/odd/{name}.hl7"
    for name in ("enc5-in-2.5", "lf-doubled-backslash", "crlf-doubled-backslash", "version-2.9", "version-blank",
                 "zseg")
]  # fmt: skip
CHINESE = [f"hl7/derived-zh/{name}.hl7" for name in
           ("a01-utf8", "a01-gb18030", "a01-gb18030-delimiter-bytes", "a08-gb18030")]  # fmt: skip
ODD_CLINICAL = ["hl7/odd/large-obx.hl7", "hl7/odd/mixed-eol-multiline.hl7"]
CUT = {f"hl7/odd/batch-{name}.hl7" for name in ("bhs-0009", "fhs-0017", "fhs-0018")}


@pytest.fixture
def hospital(corpus: Path, database: Database) -> Iterator[Hospital]:
    with Hospital(database, FixedClock(AFTER)) as hospital:
        yield hospital


def wire_code(raw: bytes) -> bytes | None:
    """The positive code MSH-15 and MSH-16 ask for, None where no answer is wanted (HL7 table 0155)."""
    line = re.split(rb"[\r\n]", raw[raw.index(b"MSH") :])[0]
    fields = [*line.split(line[3:4]), *[b""] * 20]
    accept, application = fields[14].strip(), fields[15].strip()
    if not accept and not application:
        return b"AA"
    if (accept or application) in (b"NE", b"ER"):
        return None
    return b"CA" if accept else b"AA"


def send(hospital: Hospital, path: str) -> None:
    """Send one message, see its ACK, let it be applied."""
    raw = read(path)
    stored = hospital.count(InboxMessage)
    code = wire_code(raw)
    if code is None:
        hospital.connect().frame(raw)
        wait_for(hospital, stored + 1)
    else:
        control_id = facts_of(path)["control_id"].encode()
        assert b"\rMSA|" + code + b"|" + control_id + b"\r" in hospital.send(raw)
        assert hospital.count(InboxMessage) == stored + 1
    hospital.settle()


def wait_for(hospital: Hospital, messages: int) -> None:
    """Where no answer is wanted, the inbox tells."""
    patience = time.monotonic() + 60
    while hospital.count(InboxMessage) < messages and time.monotonic() < patience:
        time.sleep(0.005)
    assert hospital.count(InboxMessage) == messages


# ── what a message leaves behind ────────────────────────────────────────────


def assert_parked(hospital: Hospital, path: str) -> None:
    parked = hospital.application()
    event = facts_of(path)["event"]
    assert (parked.state, parked.reason) == (ApplicationState.PARKED, "event_not_supported")
    assert parked.detail == f"MSH-9 {event}"


def assert_facts(hospital: Hospital, path: str) -> None:
    """The archive says what the message says."""
    facts = facts_of(path)
    application = hospital.application()
    assert application.state is ApplicationState.APPLIED, application.reason
    patient = owner(hospital, facts["patient_ids"][0])
    assert_patient(hospital, patient, facts)
    if "al1" in facts:
        rows = hospital.all(Allergy, Allergy.patient_id == patient.id, Allergy.ended_at.is_(None))
        assert [f"{row.code} {row.text}" for row in sorted(rows, key=lambda row: row.rank)] == facts["al1"]
    event = facts["event"].removeprefix("ADT^")
    if event in EVENTS and EVENTS[event] is not None:
        assert_visit(hospital, patient, facts, event)
    if facts["event"] in CLINICAL:
        assert_clinical(hospital, patient, facts)


def assert_clinical(hospital: Hospital, patient: Patient, facts: dict[str, Any]) -> None:
    """What the message told beside the patient lies there."""
    kind, _, event = facts["event"].partition("^")
    number = hospital.application().seq

    def told(model: Any) -> list[Any]:
        rows = hospital.all(model, model.patient_id == patient.id, model.ended_at.is_(None))
        return sorted((row for row in rows if row.seq == number), key=lambda row: row.id)

    if kind == "ORU":
        assert len(told(Observation)) == facts["obx"]
    elif kind == "MDM":
        (document,) = told(DocumentReference)
        assert facts.get("txa", document.number).split("^")[0] == document.number
        assert bool(document.text_sealed or document.content_sealed) == ("obx" in facts)
    elif kind == "DFT":
        assert len(told(ChargeItem)) == facts["ft1"]
    elif kind == "RDE":
        assert [f"{row.code} {row.text}" for row in told(MedicationRequest)] == facts["rxe"]
    elif kind == "SIU":
        (booking,) = told(Appointment)
        assert (booking.number, booking.status) == (facts["sch"], BOOKED[event])
        assert booking.starts_at is not None


def assert_patient(hospital: Hospital, patient: Patient, facts: dict[str, Any]) -> None:
    keys = hospital.database.keys
    known = hospital.all(PatientIdentifier, PatientIdentifier.patient_id == patient.id)
    for told in facts["patient_ids"]:
        value, authority, _ = split_id(told)
        index = keys.blind("id", clean_id_number(value))
        assert any(
            value == row.value or index == row.value_index
            for row in known
            if row.authority.startswith(authority)
        ), told
    assert not patient.is_stub or facts["event"] == "ADT^A08" or facts["event"] in CLINICAL
    if "name" in facts:
        assert patient.name == (facts["name"].replace(" ", "") if is_han(facts["name"]) else facts["name"])
    else:
        assert patient.name == ""
    if "birth" in facts:
        assert patient.birth_date == datetime.strptime(facts["birth"][:8], "%Y%m%d").date()  # noqa: DTZ007  a day
    if "sex" in facts:
        assert patient.sex is SEXES[facts["sex"]]
    if facts.get("deceased") == "Y":
        assert patient.deceased is DeceasedState.DECEASED


def assert_visit(hospital: Hospital, patient: Patient, facts: dict[str, Any], event: str) -> None:
    number = facts.get("visit") or facts.get("account")
    visits = hospital.all(Encounter, Encounter.patient_id == patient.id)
    (visit,) = [row for row in visits if number is None or row.visit_no == number]
    assert visit.status is STATUS[event]
    told = facts.get("class", "")
    assert visit.encounter_class is CLASSES.get(told, EncounterClass.UNKNOWN)
    assert visit.class_text == (told if told and told not in CLASSES else None)
    if "location" in facts:
        assert (visit.location or "") == "-".join(
            part.split("&")[0] for part in facts["location"].split("^")[:3] if part
        )
    if "admit" in facts and event != "A11":  # a cancelled admission was none
        assert visit.admitted_at == instant(facts["admit"])
    if event != "A03":
        assert visit.discharged_at is None
        assert InstructionState.ISSUED not in hospital.instructions(visit.visit_no)
        return
    if "discharge" in facts:
        assert visit.discharged_at == instant(facts["discharge"])
    else:
        assert "no_discharge_time" in hospital.application().flags
    if "dg1" in facts:
        assert hospital.diagnoses(visit.visit_no) == facts["dg1"]
    if "pr1" in facts:
        assert hospital.procedures(visit.visit_no) == facts["pr1"]
    assert_follow_up(hospital, visit, has_died=facts.get("deceased") == "Y")


def assert_follow_up(hospital: Hospital, visit: Encounter, *, has_died: bool) -> None:
    """Planned once, for this discharge, or missed where we heard of it too late; for nobody who has died."""
    planned = (InstructionState.ISSUED, InstructionState.MISSED)
    waiting = hospital.all(Instruction, Instruction.encounter_id == visit.id, Instruction.state.in_(planned))
    assert {row.trigger_id for row in waiting} == (set() if has_died else {visit.discharge_id})
    assert len({(row.protocol_code, row.step_code) for row in waiting}) == len(waiting)


def owner(hospital: Hospital, told: str) -> Patient:
    """Whom the record number finds; a lone second part may be authority or type."""
    number, authority, _ = split_id(told)
    (row,) = hospital.all(PatientIdentifier, PatientIdentifier.value == number)
    assert row.authority.startswith(authority)
    (patient,) = hospital.all(Patient, Patient.id == row.patient_id)
    return patient


def split_id(text: str) -> tuple[str, str, str]:
    """`value/authority/type`; the authority may be missing."""
    value, *rest = text.split("/")
    return value, rest[0] if len(rest) > 1 else "", rest[-1] if rest else ""


def instant(text: str) -> datetime:
    found = moment(text, HOSPITAL_ZONE)
    assert found is not None
    return found.at


# ── flows ───────────────────────────────────────────────────────────────────


MERGED = {
    "hl7/flows/merge-a40/03-A03.hl7": ("1148484163451928943", "2768492426", "973521591"),
    "hl7/flows/merge-a34/03-A03.hl7": ("13197456684529098890", "1076233175", "2810017497"),
}
"""A discharge without a visit number, after a merge: visit, retired number, survivor."""


@pytest.mark.parametrize("flow", flows())
def test_a_flow_leaves_after_each_message_what_the_message_says(hospital, flow):
    for path in files(f"flows/{flow}"):
        before = hospital.snapshot()
        send(hospital, path)
        if facts_of(path)["event"] not in SUPPORTED:
            assert_parked(hospital, path)
            assert hospital.snapshot() == before
        elif path in MERGED:
            assert_discharged_without_number(hospital, path)
        else:
            assert_facts(hospital, path)
    hospital.assert_repeats_change_nothing(resend=False)


def assert_discharged_without_number(hospital: Hospital, path: str) -> None:
    """It closes the survivor's only open visit, which the merge brought along."""
    (visit,) = hospital.all(Encounter)
    number, retired, survivor = MERGED[path]
    assert visit.patient_id == hospital.patient(retired, "SIMULATOR MRN").id
    assert visit.patient_id == hospital.patient(survivor, "SIMULATOR MRN").id
    assert (visit.visit_no, visit.status) == (number, EncounterStatus.FINISHED)
    assert visit.discharged_at == instant(facts_of(path)["discharge"])
    assert_follow_up(hospital, visit, has_died=False)


# ── single messages ─────────────────────────────────────────────────────────

CANCELS = ["hl7/single/ms-ADT-A11-01.hl7", "hl7/single/ms-ADT-A13-01.hl7"]


@pytest.mark.parametrize("path", [*supported(SINGLES), *LIKE_A_SINGLE, *CHINESE, *ODD_CLINICAL])
def test_a_single_message_leaves_what_it_says(hospital, path):
    send(hospital, path)
    if path in CANCELS:  # of a visit nobody knows: truth table B9
        assert hospital.application().state is ApplicationState.HELD
        assert hospital.count(Encounter) == 0
        return
    assert_facts(hospital, path)
    if facts_of(path)["event"] == "ADT^A40":
        survivors = {"MR4": "MR3", "569": "145"}  # the manifest reads all groups as one
        for retired in facts_of(path)["mrg"]:
            survivor = survivors.get(retired, facts_of(path)["patient_ids"][0])
            assert owner(hospital, retired).id == owner(hospital, survivor).id


def test_messages_of_events_to_come_are_stored_acknowledged_and_parked(hospital):
    paths = [path for path in SINGLES if path not in supported(SINGLES)]
    for path in paths:
        send(hospital, path)
        assert_parked(hospital, path)

    assert hospital.count(InboxMessage) == len(paths) > 0
    assert hospital.count(Patient) == 0


def test_a_result_without_an_order_is_parked(hospital):
    send(hospital, "hl7/odd/reps-garbage-pid.hl7")

    assert hospital.application().reason == "no_order"


def test_a_message_without_control_id_is_refused_with_ae(hospital):
    ack = hospital.send(read("hl7/single/lfh-0140.hl7"))

    assert b"\rMSA|AE|\r" in ack or b"\rMSA|AE||" in ack
    assert b"101" in ack.split(b"\rERR|")[1]
    assert hospital.count(InboxMessage) == 0
    assert hospital.count(RefusedMessage) == 1


# ── odd ones ────────────────────────────────────────────────────────────────


def test_the_same_message_with_other_line_ends_makes_no_second_patient(hospital):
    for path in LIKE_A_SINGLE[1:3]:
        send(hospital, path)
        assert_facts(hospital, path)

    assert hospital.count(InboxMessage) == 2
    assert hospital.count(Patient) == hospital.count(Encounter) == 1
    assert hospital.application().flags.split()[0] == "control_id_reused"
    assert "unmapped:PV1-2" in hospital.application().flags


@pytest.mark.parametrize("path", [path for path in files("odd") if "batch-" in path])
def test_a_batch_is_taken_apart(hospital, path):
    raw = read(path)
    control_ids = set(re.findall(rb"A04\^ADT_A01\|(\d+)", raw))
    hospital.connect().frame(raw)
    wait_for(hospital, len(control_ids))
    hospital.settle()

    if path in CUT:
        cut = hospital.application()
        assert (cut.state, cut.reason, cut.flags) == (ApplicationState.PARKED, "batch_cut", "batch_cut")
        assert hospital.count(Patient) == 0
        return
    assert {state for state, _ in hospital.outcomes()} == {ApplicationState.APPLIED}
    (patient,) = hospital.all(Patient)
    assert_patient(hospital, patient, facts_of(path) | {"sex": "M"})  # PID-8 is 1
    (visit,) = hospital.all(Encounter)
    assert visit.encounter_class is EncounterClass.OUTPATIENT


def test_a_message_without_pid_is_acknowledged_and_parked(hospital):
    ack = hospital.send(read("hl7/odd/no-pid.hl7"))
    hospital.settle()

    assert b"\rMSA|AA|X1\r" in ack
    parked = hospital.application()
    assert (parked.state, parked.reason, parked.detail) == (ApplicationState.PARKED, "no_pid", "PID")


def test_two_identical_frames_in_one_write_are_one_visit_with_two_answers(hospital):
    peer = hospital.connect()
    peer.send(read("hl7/odd/same-control-id-twice.hl7"))
    first, second = peer.answer(), peer.answer()
    hospital.settle()

    assert b"\rMSA|CA|61\r" in first == second or first == second
    assert hospital.count(InboxMessage) == hospital.count(Encounter) == 1
    assert_facts(hospital, "hl7/odd/same-control-id-twice.hl7")


def test_a_discharge_under_the_control_id_of_its_admission_is_handled_as_new(hospital):
    send(hospital, "hl7/flows/full-stay/02-A01.hl7")
    send(hospital, "hl7/odd/same-control-id-other-content.hl7")

    assert "control_id_reused" in hospital.application().flags
    assert_facts(hospital, "hl7/odd/same-control-id-other-content.hl7")


def test_a_discharge_before_its_admission_is_not_reopened_by_it(hospital):
    peer = hospital.connect()
    peer.send(read("hl7/odd/a03-before-a01.hl7"))
    for control_id in (b"661", b"61"):
        assert b"\rMSA|CA|" + control_id + b"\r" in peer.answer()
    hospital.settle()

    visit = hospital.visit("15769758705172373445")
    assert visit.status is EncounterStatus.FINISHED
    assert visit.discharged_at == instant("20261118081042")
    assert (
        hospital.patient("1645876667", "SIMULATOR MRN").name == "Carter Teresa"
    )  # the discharge is the newer word
    assert len(hospital.events("EncounterDischarged")) == 1


def test_what_is_no_hl7_closes_the_connection_and_the_next_one_works(hospital):
    peer = hospital.connect()
    peer.send(read("hl7/odd/not-hl7.txt") + b"\x0b" + read("hl7/odd/not-hl7.txt") + b"\x1c\r")
    assert peer.is_closed()
    hospital.hang_up()

    send(hospital, "hl7/derived-zh/a01-utf8.hl7")
    assert hospital.count(InboxMessage) == 1
    assert hospital.count(RefusedMessage) >= 1


# ── Chinese senders ─────────────────────────────────────────────────────────

UNDECLARED = "hl7/derived-zh/a01-gb18030-undeclared.hl7"
LYING = "hl7/derived-zh/a01-gb18030-declared-utf8.hl7"


def test_one_patient_in_two_charsets_is_one_patient(hospital):
    for path in CHINESE[:2]:
        send(hospital, path)
        assert_facts(hospital, path)

    assert hospital.count(Patient) == hospital.count(Encounter) == 1
    assert hospital.diagnoses("15769758705172373445") == ["I10 原发性高血压"]


@pytest.mark.parametrize("path", [UNDECLARED, LYING])
def test_without_a_true_word_of_the_charset_the_message_is_parked(hospital, path):
    send(hospital, path)

    parked = hospital.application()
    assert (parked.state, parked.reason) == (ApplicationState.PARKED, "charset")
    assert hospital.count(Patient) == 0


@pytest.fixture
def gb18030_hospital(corpus: Path, database: Database) -> Iterator[Hospital]:
    """Where the senders of both messages are known to write GB18030."""
    shipped = load_sources(config_path("sources"))
    source = Source(code="old", title="老系统", sender="SIMHOSP", charset="gb18030")
    sources = Sources([*shipped.by_code.values(), source])
    with Hospital(database, FixedClock(AFTER), sources=sources) as hospital:
        yield hospital


@pytest.mark.parametrize(("path", "flags"), [(UNDECLARED, ""), (LYING, "charset_declared_wrong")])
def test_the_charset_of_the_sources_file_reads_what_msh_18_does_not_tell(gb18030_hospital, path, flags):
    send(gb18030_hospital, path)

    assert_facts(gb18030_hospital, path)
    assert gb18030_hospital.application().flags == flags


# ── the corpus itself ───────────────────────────────────────────────────────


def test_every_hl7_file_of_the_corpus_is_sent(corpus):
    sent = {path for flow in flows() for path in files(f"flows/{flow}")}
    sent |= {*SINGLES, "hl7/single/lfh-0140.hl7", *files("odd"), *CHINESE, UNDECLARED, LYING}

    assert sent == {path for path in expected() if path.startswith("hl7/")} | {"hl7/odd/not-hl7.txt"}
