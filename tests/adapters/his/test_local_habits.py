"""Local habits through the socket: the example profiles of docs/howto/connect-a-his.md, and what must not happen."""

from datetime import UTC, date, datetime

import pytest

from hcrm.archive.models import Address, ContactPoint, IdentifierKind, Patient, PatientIdentifier
from hcrm.archive.terms import DischargeWay, EncounterClass, Sex
from hcrm.archive.visit_models import Encounter
from hcrm.centre.models import Instruction
from hcrm.core.work import open_work
from hcrm.directory.models import Department, Practitioner
from hcrm.inbox.models import ApplicationState, InboxApplication
from hcrm.inbox.monitor import watch_interface
from hcrm.inbox.monitor_models import Incident, IncidentKind
from tests.support.adt import adt
from tests.support.hospital import ACTOR, Hospital
from tests.support.profiles import example_files, example_sources
from tests.support.truth_table import evening

__all__ = ["evening"]
LOCAL = """
code: local
title: 本地
sender: LOC
default_authority: H1
events: {ZM1: A40, ZD9: A29}
deletions_per_minute: 1
fields:
  patient.record_number: PID-2
  patient.birth_date: [ZPI-2, PID-7]
  patient.phone: ZPI-3
  patient.marital_status: ZPI-4
"""


@pytest.fixture
def hospital(database, evening):
    with Hospital(database, evening, sources=example_sources(LOCAL)) as hospital:
        yield hospital


def one(hospital: Hospital, model, **values):
    (found,) = hospital.all(model, *[getattr(model, name) == value for name, value in values.items()])
    return found


def numbers(hospital: Hospital, number: str) -> dict[str, IdentifierKind]:
    """Type and kind of everything a patient is known by."""
    patient = hospital.patient(number)
    rows = hospital.all(PatientIdentifier, PatientIdentifier.patient_id == patient.id)
    return {row.type: row.kind for row in rows}


def parked(hospital: Hospital, seq: int = 1) -> tuple[str | None, str | None]:
    application = hospital.application(seq)
    assert application.state is ApplicationState.PARKED
    return application.reason, application.detail


def incidents(hospital: Hospital) -> list[tuple[str, str]]:
    """Open ones about unknown events, after the watch looked."""
    with open_work(hospital.database, actor=ACTOR, clock=hospital.clock) as work:
        watch_interface(work)
    kind = Incident.kind == IncidentKind.UNSUPPORTED
    return [(row.source, row.subject) for row in hospital.all(Incident, kind, Incident.closed_at.is_(None))]


# ── a hospital system of version 2.4 in GBK ─────────────────────────────────


def gbk(event: str, control_id: str, pv1: str, z: str = "", *, pid3: str = "", name: str = "韡玘") -> bytes:
    pid3 = pid3 or "^^^^LocalID~88001^^^^PatientNO~110101199003070011^^^^IdentifyNO~C-77^^^^IDCard"
    lines = [
        f"MSH|^~\\&|ZYHIS|H1|HCRM|H1|20261122103000||ADT^{event}|{control_id}|P|2.4|||||CHN|UNICODE UTF-8",
        f"EVN|{event}|20261122103000",
        f"PID|1||{pid3}||{name}||19900307000000|男|||江苏省某市某路1号||13812345678",
        pv1,
        *([z] if z else []),
    ]
    return ("\r".join(lines) + "\r").encode("gbk")


STAY = (
    "PV1|1|{cls}|W3^^12^0312^心血管内科||||{seven}||{nine}||||||||{seventeen}||V88"
    "|||||||||||||||||{way}||||||||{admitted}|{left}"
)


def stay(cls="I", seven="", nine="", seventeen="", way="", admitted="20261120090000", left="") -> str:
    return STAY.format(
        cls=cls, seven=seven, nine=nine, seventeen=seventeen, way=way, admitted=admitted, left=left
    )


def test_the_gbk_system_ends_in_the_archive(hospital):
    ack = hospital.receive(
        gbk("A01", "1", stay(nine="00223^张  晋")),
        gbk("A03", "2", stay(nine="00223^张  晋", way="9", left="20261122100000"), "ZPV|1|x|01^医嘱离院"),
    )

    assert b"MSA|AA|2" in ack.replace(b"CA", b"AA")
    patient = hospital.patient("88001")
    assert (patient.name, patient.sex, patient.birth_date) == ("韡玘", Sex.MALE, date(1990, 3, 7))
    assert numbers(hospital, "88001") == {
        "PatientNO": IdentifierKind.RECORD, "IdentifyNO": IdentifierKind.CITIZEN, "IDCard": IdentifierKind.OTHER,
    }  # fmt: skip
    visit = hospital.visit("V88")
    assert (visit.location, visit.encounter_class) == ("W3-12", EncounterClass.INPATIENT)
    assert visit.discharge_way is DischargeWay("1")  # ZPV-3, not PV1-36
    department = one(hospital, Department, id=visit.department_id)
    assert (department.code, department.name) == ("0312", "心血管内科")
    doctor = one(hospital, Practitioner, id=visit.attending_id)
    assert (doctor.code, doctor.name) == ("00223", "张晋")
    assert [row.flags for row in hospital.all(InboxApplication)] == ["", ""]
    assert hospital.count(Instruction, Instruction.encounter_id == visit.id) > 0


def test_a_check_up_is_one_and_the_first_staff_number_counts(hospital):
    hospital.receive(gbk("A04", "1", stay("T", seven="", nine="", seventeen="00300^王五")))

    visit = hospital.visit("V88")
    assert visit.encounter_class is EncounterClass.CHECKUP
    assert one(hospital, Practitioner, id=visit.attending_id).code == "00300"

    hospital.receive(gbk("A08", "2", stay("T", seven="00100^李四", seventeen="00300^王五")))
    assert one(hospital, Practitioner, id=hospital.visit("V88").attending_id).code == "00100"


def test_an_empty_marker_is_no_discharge_time_and_no_birth_date(hospital):
    raw = gbk("A01", "1", stay(left="19000101000000"))
    hospital.receive(raw.replace(b"19900307000000", b"1900-01-01"))

    assert hospital.application().flags == ""
    assert hospital.visit("V88").discharged_at is None
    assert hospital.patient("88001").birth_date is None


@pytest.mark.parametrize(("table", "flags"), [("", ""), ("{W1: K01}", ""), ("{W2: K02}", "unmapped:PV1-3.1")])
def test_a_department_its_table_leaves_out_is_flagged_where_it_was_read_from(database, evening, table, flags):
    text = "code: his\ntitle: HIS\nsender: HIS\ndepartment_from: [PV1-3.4, PV1-3.1]\n"
    sources = example_sources(text + (f"departments: {table}\n" if table else ""))
    with Hospital(database, evening, sources=sources) as hospital:
        hospital.send(adt("A01", c=1, loc="W1^101^1"))
        hospital.settle()

        assert hospital.application().flags == flags
        assert hospital.department("V1") == ("K01" if "K01" in table else "W1")


def test_a_way_of_leaving_nobody_knows_is_flagged_where_the_sender_wrote_it(hospital):
    hospital.receive(gbk("A03", "1", stay(left="20261122100000"), "ZPV|1|x|77"))

    assert hospital.application().flags == "unmapped:ZPV-3"


def test_a_visit_card_alone_names_nobody(hospital):
    """It is given out anew: a number of an unknown type may serve as record number, this one never."""
    hospital.receive(gbk("A01", "1", stay(), pid3="C-77^^^^IDCard"))

    assert parked(hospital) == ("no_patient_number", "PID-3 IDCard")
    assert hospital.all(Patient) == []


def test_bytes_that_are_no_gbk_are_parked_not_guessed(hospital):
    hospital.receive(gbk("A01", "1", stay()).replace("韡玘".encode("gbk"), b"\xff\xff"))

    assert parked(hospital) == ("charset", "MSH-18")


# ── a bus with services and events of its own ───────────────────────────────


def bus(kind: str, control_id: str, service: str, *segments: str) -> bytes:
    msh = f"MSH|^~\\&|HIP|H1|HCRM|H1|20261122103000||{kind}|{control_id}|P|2.4||||CHN|UNICODE UTF-8||||{service}"
    return ("\n".join([msh, "EVN||20261122103000", *segments]) + "\n").encode()


def person(name: str = "张三", pid9: bool = True) -> list[str]:
    pid = f"PID|1||7001^^^^PatientNO||ZHANG SAN|||M|{name if pid9 else ''}||某路1号"
    return [pid, "ZPI|1||x|320100|19610203|13900001111"]


def test_the_bus_ends_in_the_archive_and_gets_a_plain_ack(hospital):
    ack = hospital.receive(bus("ADT^ZP1", "1", "BS001", *person()))

    assert ack.split(b"\r")[1] == b"MSA|AA|1"
    assert ack.split(b"\r")[0].split(b"|")[8] == b"ACK^ZP1^ACK"
    patient = hospital.patient("7001")
    assert (patient.name, patient.birth_date) == ("张三", date(1961, 2, 3))
    assert hospital.phones("7001") == ["+8613900001111"]
    (address,) = hospital.standing(Address, "7001")
    assert address.region_code == "320100"

    visit = "PV1|1|I|||||||||||||||||V70||||||||||||||||||||||||||20261122090000"
    z = "ZPV|1||||||0410|骨伤科"
    hospital.receive(bus("ADT^ZP1", "2", "BS010", *person(), visit, z))
    assert hospital.department("V70") == "0410"
    assert one(hospital, Department, code="0410").name == "骨伤科"
    assert [row.flags for row in hospital.all(InboxApplication)] == ["", ""]


def test_without_a_service_code_the_event_itself_is_looked_up(hospital):
    hospital.receive(bus("ADT^ZP1", "1", "", *person(pid9=False)))

    assert hospital.patient("7001").name == "ZHANG SAN"  # the second place of the list


def test_a_result_under_a_service_code_is_a_result(hospital):
    hospital.receive(
        bus("ADT^ZP1", "1", "BS001", *person()),
        bus("ZRU^ZR1", "2", "BS037", *person(), "OBR|1||R1|GLU^血糖", "OBX|1|NM|GLU^血糖||5.1|mmol/L|||||F"),
    )

    assert hospital.application(2).state is ApplicationState.APPLIED


@pytest.mark.parametrize(
    ("kind", "service", "detail"),
    [
        ("ADT^ZP1", "BS099", "MSH-21 BS099"),
        ("ADT^ZQ7", "", "MSH-9 ADT^ZQ7"),
        ("ADT^A01", "张三 110", "MSH-21"),
    ],
)
def test_an_unknown_event_is_stored_answered_parked_and_opens_an_incident(hospital, kind, service, detail):
    """Also where MSH-9 says A01: a service nobody listed is not taken for something else."""
    ack = hospital.receive(bus(kind, "1", service, *person()))

    assert b"MSA|AA|1" in ack
    assert parked(hospital) == ("event_not_supported", detail)
    assert hospital.all(Patient) == []
    assert incidents(hospital) == [("bus", kind)]


# ── numbers for types, dates of all kinds ───────────────────────────────────


def op(
    event: str, control_id: str, when: str, birth: str = "1961-02-03", left: str = "9999-12-31 00:00:00"
) -> bytes:
    lines = [
        f"MSH|^~\\&|OPHIS|H1|HCRM|H1|{when}||ADT^{event}|{control_id}|P|2.4||||||UNICODE UTF-8",
        f"EVN||{when}",
        f"PID|1||11010119610203001X^^^^1~9001^^^^21~K-5^^^^25~Q^^^^51~^^^^21||李四||{birth}|2|||某路2号||13812340000",
        f"PV1|1|O|0501|||||||||||||||||9001-1|||||||||||||||||||||||||{when}|{left}",
    ]
    return ("\r".join(lines) + "\r").encode()


@pytest.mark.parametrize(
    ("when", "birth"),
    [
        ("2026-11-22 10:30:00.123", "1961-02-03"),
        ("20261122103000.123", "1961-02-03 00:00:00.000"),
        ("2026/11/22 10:30:00", "1961/2/3"),
        ("2026年11月22日10时30分", "1961年2月3日"),
    ],
)
def test_the_numbering_system_ends_in_the_archive(hospital, when, birth):
    hospital.receive(op("A04", "1", when, birth))

    patient = hospital.patient("9001")
    assert (patient.name, patient.birth_date, patient.sex) == ("李四", date(1961, 2, 3), Sex.FEMALE)
    assert numbers(hospital, "9001") == {
        "1": IdentifierKind.CITIZEN, "21": IdentifierKind.RECORD, "25": IdentifierKind.OTHER,
        "51": IdentifierKind.OTHER,
    }  # fmt: skip
    (visit,) = hospital.all(Encounter)
    assert visit.admitted_at.replace(microsecond=0) == datetime(2026, 11, 22, 2, 30, tzinfo=UTC)
    assert visit.discharged_at is None
    assert hospital.application().flags == ""


def test_a_day_that_is_none_in_a_configured_form_is_parked_with_its_place(hospital):
    hospital.receive(op("A04", "1", "20261122103000", "1961年13月3日"))

    assert parked(hospital) == ("impossible_date", "PID-7")


def test_a_form_nobody_configured_is_not_guessed(hospital):
    hospital.receive(op("A04", "1", "20261122103000", "3/2/1961"))

    assert parked(hospital) == ("impossible_date", "PID-7")


# ── fields, events and what they must not do ────────────────────────────────


def local(event: str, control_id: str, number: str, *segments: str, when: str = "20261122103000") -> bytes:
    msh = f"MSH|^~\\&|LOC|H1|HCRM|H1|{when}||ADT^{event}|{control_id}|P|2.4||||||UNICODE UTF-8"
    pid = f"PID|1|{number}|^^^^MR||王五||19500101|M|||某路3号||"
    return ("\r".join([msh, f"EVN||{when}", pid, *segments]) + "\r").encode()


def test_a_moved_field_is_three_valued_too(hospital):
    full = "ZPI|1|19610203|13900001111|已婚"
    hospital.receive(local("A31", "1", "500", full))
    assert hospital.patient("500").birth_date == date(1961, 2, 3)
    assert hospital.phones("500") == ["+8613900001111"]

    hospital.receive(local("A31", "2", "500", "ZPI|1|", when="20261122103100").replace(b"19500101", b""))
    assert hospital.patient("500").birth_date == date(1961, 2, 3)  # absent: kept
    assert hospital.phones("500") == ["+8613900001111"]
    assert hospital.patient("500").marital_status == "已婚"

    hospital.receive(local("A31", "3", "500", 'ZPI|1|""|""|""', when="20261122103200"))
    assert hospital.patient("500").birth_date is None  # null: cleared, though PID-7 says something
    assert hospital.phones("500") == []
    assert hospital.patient("500").marital_status is None
    assert hospital.count(ContactPoint, ContactPoint.ended_at.is_(None)) == 0


def test_the_standard_position_counts_only_where_the_file_names_it(hospital):
    raw = local("A31", "1", "500").replace(b"||\r", b"||13700000000\r")
    assert b"13700000000" in raw
    hospital.receive(raw)

    assert hospital.phones("500") == []  # patient.phone is ZPI-3 alone
    assert hospital.patient("500").birth_date == date(1950, 1, 1)  # ZPI-2, else PID-7


def test_a_local_merge_is_a_merge_by_numbers_from_elsewhere(hospital):
    hospital.receive(local("A31", "1", "500"), local("A31", "2", "501"))
    hospital.receive(local("ZM1", "3", "501", "MRG|500^^^^MR"))

    assert hospital.application(3).state is ApplicationState.APPLIED
    assert len(hospital.all(Patient, Patient.merged_into_id.is_(None))) == 1


def test_a_number_that_stands_in_both_places_is_one_number(hospital):
    hospital.receive(local("A31", "1", "500").replace(b"^^^^MR", b"500^^^H1^MR"))

    assert numbers(hospital, "500") == {"MR": IdentifierKind.RECORD}
    assert hospital.count(PatientIdentifier) == 1


def test_local_deletions_are_counted_like_those_of_the_standard(hospital):
    hospital.receive(local("A31", "1", "500"), local("A31", "2", "501"))
    hospital.receive(local("ZD9", "3", "500"), local("ZD9", "4", "501"))

    assert hospital.application(3).state is ApplicationState.APPLIED
    assert parked(hospital, 4) == ("delete_flood", "MSH-9")


def test_the_examples_are_whole():
    assert set(example_files()) == {"his_gbk", "bus", "his_numbers"}
