"""ORU and OUL through the socket: reports, their results, flags and states, and the facts that follow."""

import pytest

from hcrm.archive.clinical.models import DiagnosticReport, DocumentReference, Observation
from hcrm.archive.clinical.terms import AbnormalFlag, ObservationStatus, ReportCategory, ReportStatus
from hcrm.archive.models import Patient, TimelineEntry
from hcrm.archive.visit_models import Encounter, EncounterStatus
from hcrm.core.paths import config_path
from hcrm.core.sources import Source, Sources, load_sources
from hcrm.inbox.models import ApplicationState
from tests.support.adt import adt, moment
from tests.support.clinical import clinical, obr, obx
from tests.support.hospital import Hospital
from tests.support.truth_table import evening, hospital

__all__ = ["evening", "hospital"]

ADMITTED = adt("A01", c=1, m="09:00")
RESULT = clinical(
    "ORU^R01", obr(), obx(1, value="6.3", flag="N"), obx(2, "HGB^血红蛋白", "88", "L", unit="g/L"),
    "NTE|1||标本轻度溶血", m="11:00",
)  # fmt: skip


def live(hospital: Hospital, model=Observation):
    rows = hospital.all(model, model.ended_at.is_(None))
    return sorted(rows, key=lambda row: getattr(row, "rank", 0))


def values(hospital: Hospital) -> list[tuple[str, str | None]]:
    return [(row.code, row.value) for row in live(hospital)]


def test_a_report_lies_with_its_results_on_the_patient_and_the_stay(hospital):
    hospital.receive(ADMITTED, RESULT)

    (report,) = live(hospital, DiagnosticReport)
    assert report.patient_id == hospital.patient(100).id
    assert report.encounter_id == hospital.visit("V1").id
    assert (report.number, report.code, report.text) == ("F1", "CBC", "血常规")
    assert (report.status, report.category) == (ReportStatus.FINAL, ReportCategory.LABORATORY)
    assert (report.results, report.abnormal, report.is_critical) == (2, 1, False)
    assert report.issued_at == moment("10:40")
    white, red = live(hospital)
    assert (white.value, white.unit, white.reference_range, white.flag) == (
        "6.3", "10^9/L", "3.5-9.5", AbnormalFlag.NORMAL)  # fmt: skip
    assert (red.text, red.flag, red.status) == ("血红蛋白", AbnormalFlag.LOW, ObservationStatus.FINAL)
    assert hospital.database.keys.open_text(red.note_sealed) == "标本轻度溶血"
    assert hospital.application().became_encounter_id == report.encounter_id


def test_a_report_is_one_line_of_the_timeline_that_says_how_it_stands_now(hospital):
    hospital.receive(ADMITTED, clinical("ORU^R01", obr(status="P"), obx(status="P"), m="10:50"), RESULT)

    (line,) = hospital.all(TimelineEntry, TimelineEntry.kind == "result")
    assert line.title == "检验 · 血常规（1 项异常）"
    assert line.encounter_id == hospital.visit("V1").id


def test_a_laboratory_never_alters_the_stay_it_names(hospital):
    hospital.receive(ADMITTED)
    before = hospital.visit("V1")
    hospital.receive(RESULT)

    after = hospital.visit("V1")
    assert (after.location, after.attending_id, after.status) == (
        before.location, before.attending_id, EncounterStatus.IN_PROGRESS)  # fmt: skip
    assert len(hospital.log("V1")) == 1


def test_results_for_someone_unknown_make_a_provisional_archive_and_no_stay(hospital):
    hospital.receive(RESULT)

    assert hospital.patient(100).is_stub
    assert hospital.count(Encounter) == 0
    (report,) = live(hospital, DiagnosticReport)
    assert report.encounter_id is None


def test_results_before_their_stay_belong_to_it_once_it_is_known(hospital):
    hospital.receive(RESULT)
    hospital.receive(adt("A01", c=9, m="11:30", o="09:00"))

    (report,) = live(hospital, DiagnosticReport)
    assert report.encounter_id == hospital.visit("V1").id
    (line,) = hospital.all(TimelineEntry, TimelineEntry.kind == "result")
    assert line.encounter_id == report.encounter_id


def test_results_and_their_stay_in_one_batch_find_each_other(hospital):
    hospital.send(RESULT)
    hospital.send(adt("A01", c=9, m="11:30", o="09:00"))
    hospital.settle()

    (report,) = live(hospital, DiagnosticReport)
    assert report.encounter_id == hospital.visit("V1").id


def test_a_correction_replaces_with_history_and_an_older_word_changes_nothing(hospital):
    corrected = clinical(
        "ORU^R01", obr(status="C"), obx(2, "HGB^血红蛋白", "118", "N", status="C"), c=52, m="12:00"
    )
    late = clinical("ORU^R01", obr(), obx(2, "HGB^血红蛋白", "77", "L"), c=53, m="11:30")
    hospital.receive(ADMITTED, RESULT, corrected, late)

    assert values(hospital) == [("WBC", "6.3"), ("HGB", "118")]
    (report,) = live(hospital, DiagnosticReport)
    assert (report.status, report.results, report.abnormal) == (ReportStatus.CORRECTED, 2, 0)
    (old,) = hospital.all(Observation, Observation.ended_at.is_not(None))
    assert (old.value, old.flag) == ("88", AbnormalFlag.LOW)


def test_the_id_of_a_result_outlives_its_correction(hospital):
    hospital.receive(ADMITTED, RESULT)
    before = [row.id for row in live(hospital)]
    hospital.receive(clinical("ORU^R01", obr(), obx(1, value="6.4", status="C"), c=52, m="12:00"))

    assert [row.id for row in live(hospital)] == before


def test_a_preliminary_word_never_takes_the_place_of_a_final_one(hospital):
    preliminary = clinical("ORU^R01", obr(status="P"), obx(1, value="9.9", status="P"), c=52, m="12:00")
    hospital.receive(ADMITTED, RESULT, preliminary)

    assert values(hospital)[0] == ("WBC", "6.3")
    (report,) = live(hospital, DiagnosticReport)
    assert report.status is ReportStatus.FINAL


def test_a_final_word_takes_the_place_of_a_preliminary_one_told_later(hospital):
    preliminary = clinical("ORU^R01", obr(status="P"), obx(1, value="9.9", status="P"), c=52, m="12:00")
    hospital.receive(ADMITTED, preliminary, RESULT)

    assert values(hospital)[0] == ("WBC", "6.3")


def test_a_deleted_result_no_longer_counts_and_does_not_come_back(hospital):
    deleted = clinical("ORU^R01", obr(), obx(2, "HGB^血红蛋白", "", status="D"), c=52, m="12:00")
    hospital.receive(
        ADMITTED, RESULT, deleted, clinical("ORU^R01", obr(), obx(2, "HGB^血红蛋白", "88", "L"), c=53)
    )

    (report,) = live(hospital, DiagnosticReport)
    assert (report.results, report.abnormal) == (1, 0)
    assert live(hospital)[1].status is ObservationStatus.ENTERED_IN_ERROR


def test_a_void_report_counts_nothing(hospital):
    hospital.receive(ADMITTED, clinical("ORU^R01", obr(), obx(flag="HH"), m="11:00"))
    hospital.receive(clinical("ORU^R01", "ORC|CA||F1", obr(status="X"), c=52, m="12:00"))

    (report,) = live(hospital, DiagnosticReport)
    assert (report.status, report.results, report.is_critical) == (ReportStatus.CANCELLED, 0, False)
    assert len(hospital.events("CriticalResultWithdrawn")) == 1


def test_a_status_told_alone_keeps_the_value(hospital):
    preliminary = clinical("ORU^R01", obr(status="P"), obx(value="7.7", status="P"), m="10:50")
    hospital.receive(
        ADMITTED, preliminary, clinical("ORU^R01", obr(), obx(value="", status="U"), c=52, m="11:00")
    )

    (row,) = live(hospital)
    assert (row.value, row.status) == ("7.7", ObservationStatus.FINAL)


# ── critical values ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("sent", "flag"),
    [("HH", AbnormalFlag.CRITICAL_HIGH), ("LL", AbnormalFlag.CRITICAL_LOW), ("AA", AbnormalFlag.CRITICAL),
     ("↑↑", AbnormalFlag.CRITICAL_HIGH), ("H~HH", AbnormalFlag.CRITICAL_HIGH), ("危急值", AbnormalFlag.CRITICAL)],
)  # fmt: skip
def test_a_critical_value_is_a_fact_told_once(hospital, sent, flag):
    hospital.receive(ADMITTED, clinical("ORU^R01", obr(), obx(1, "K^钾", "7.1", sent)))

    (row,) = live(hospital)
    assert row.flag is flag
    assert hospital.events("CriticalResultReceived") == [
        {"report_id": row.report_id, "observation_id": row.id}
    ]
    (line,) = hospital.all(TimelineEntry, TimelineEntry.kind == "result")
    assert "危急值" in line.title


def test_a_critical_value_that_was_none_is_taken_back(hospital):
    hospital.receive(ADMITTED, clinical("ORU^R01", obr(), obx(1, "K^钾", "7.1", "HH")))
    hospital.receive(
        clinical("ORU^R01", obr(status="C"), obx(1, "K^钾", "4.1", "N", status="C"), c=52, m="12:00")
    )

    (row,) = live(hospital)
    assert hospital.events("CriticalResultWithdrawn") == [
        {"report_id": row.report_id, "observation_id": row.id}
    ]
    (report,) = live(hospital, DiagnosticReport)
    assert not report.is_critical


@pytest.mark.parametrize(
    ("sent", "flag"),
    [("H", AbnormalFlag.HIGH), ("l", AbnormalFlag.LOW), ("M", AbnormalFlag.NORMAL), ("↑", AbnormalFlag.HIGH),
     ("↓", AbnormalFlag.LOW), ("A^A^HL70078", AbnormalFlag.ABNORMAL), ("偏高", AbnormalFlag.HIGH)],
)  # fmt: skip
def test_flags_are_read_as_chinese_laboratories_write_them(hospital, sent, flag):
    hospital.receive(ADMITTED, clinical("ORU^R01", obr(), obx(flag=sent)))

    assert live(hospital)[0].flag is flag


def test_a_flag_nobody_mapped_is_kept_and_flagged(hospital):
    hospital.receive(ADMITTED, clinical("ORU^R01", obr(), obx(flag="1")))

    (row,) = live(hospital)
    assert (row.flag, row.flag_text) == (AbnormalFlag.UNKNOWN, "1")
    assert "unmapped:OBX-8" in hospital.application().flags


def test_a_source_says_what_its_numbers_mean(database, evening):
    shipped = load_sources(config_path("sources")).by_code.values()
    lis = Source(code="lis", title="检验", sender="HIS", abnormal_flags={"1": "critical-high", "2": "low"})
    with Hospital(database, evening, sources=Sources([*shipped, lis])) as hospital:
        hospital.receive(ADMITTED, clinical("ORU^R01", obr(), obx(flag="1")))

        assert live(hospital)[0].flag is AbnormalFlag.CRITICAL_HIGH


# ── how results are written ─────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "sent", "value"),
    [("NM", "4.60", "4.60"), ("SN", ">^400", ">400"), ("SN", "1^:^128", "1:128"), ("CE", "POS^阳性^L", "阳性"),
     ("CWE", "^^^^^^^^大肠埃希菌", "大肠埃希菌"), ("ST", "O型", "O型"), ("ST", "A & B ^ C", "A & B ^ C"),
     ("DT", "20261122", "20261122"), ("NM", "27~25", "27；25"), ("RP", "https://pacs.example/1^^image", "https://pacs.example/1"),
     ("ST", '""', "")],
)  # fmt: skip
def test_a_value_is_kept_as_it_was_sent(hospital, kind, sent, value):
    hospital.receive(ADMITTED, clinical("ORU^R01", obr(), obx(value=sent, kind=kind)))

    assert live(hospital)[0].value == value


def test_free_text_is_sealed(hospital):
    hospital.receive(
        ADMITTED, clinical("ORU^R01", obr(), obx(value="印象：张三，未见异常\\.br\\建议复查", kind="TX"))
    )

    (row,) = live(hospital)
    assert row.value is None
    assert hospital.database.keys.open_text(row.value_sealed) == "印象：张三，未见异常\n建议复查"


def test_results_that_look_alike_stay_apart(hospital):
    lines = [
        obx(number, "TXT^所见", f"第{number}行", kind="TX", unit="", reference="") for number in (1, 2, 3)
    ]
    hospital.receive(ADMITTED, clinical("ORU^R01", obr(), *lines))

    opened = [hospital.database.keys.open_text(row.value_sealed) for row in live(hospital)]
    assert opened == ["第1行", "第2行", "第3行"]


def test_an_attached_file_of_a_report_is_a_document(hospital):
    sent = obx(1, "RPT^报告单", "^application^pdf^Base64^JVBERi0xLjQ=", kind="ED", unit="", reference="")
    hospital.receive(ADMITTED, clinical("ORU^R01", obr(), sent))

    (document,) = hospital.all(DocumentReference)
    assert (document.title, document.media_type, document.size) == ("报告单", "application/pdf", 8)


@pytest.mark.parametrize("event", ["R21", "R22", "R23", "R24"])
def test_oul_is_read_as_oru(hospital, event):
    specimen = "SPM|1|S1||BLD^血液"
    hospital.receive(ADMITTED, clinical(f"OUL^{event}", specimen, obr(), "ORC|RE||F1", obx(), specimen))

    assert values(hospital) == [("WBC", "6.3")]


def test_two_orders_are_two_reports(hospital):
    hospital.receive(
        ADMITTED,
        clinical("ORU^R01", obr("F1"), obx(), obr("F2", "LIVER^肝功能"), obx(1, "ALT^谷丙转氨酶", "31")),
    )

    assert sorted((row.number, row.results) for row in live(hospital, DiagnosticReport)) == [
        ("F1", 1),
        ("F2", 1),
    ]


def test_another_sender_writes_with_other_delimiters(hospital):
    raw = RESULT.replace(b"|", b"#").replace(b"^~\\&", b"@~\\&").replace(b"^", b"@")
    hospital.receive(ADMITTED, raw)

    assert values(hospital) == [("WBC", "6.3"), ("HGB", "88")]


def test_results_follow_their_patient_into_a_merge(hospital):
    hospital.receive(
        ADMITTED, RESULT, adt("A28", c=8, p=200, m="11:10"), adt("A40", c=9, p=200, mrg=100, m="11:20")
    )
    hospital.receive(clinical("ORU^R01", obr(), obx(1, value="6.5", status="C"), c=60, p=100, m="12:00"))

    survivor = hospital.patient(200).id
    assert {row.patient_id for row in hospital.all(Observation)} == {survivor}
    assert {row.patient_id for row in hospital.all(DiagnosticReport)} == {survivor}
    assert values(hospital)[0] == ("WBC", "6.5")


# ── what is not taken ───────────────────────────────────────────────────────


def outcome(hospital: Hospital) -> tuple[ApplicationState, str | None, str | None]:
    row = hospital.application()
    return row.state, row.reason, row.detail


def test_results_without_an_order_are_parked(hospital):
    hospital.receive(clinical("ORU^R01", obx()))

    assert outcome(hospital) == (ApplicationState.PARKED, "no_order", "OBR")


def test_two_patients_in_one_message_are_parked(hospital):
    hospital.receive(clinical("ORU^R01", obr(), obx(), extra=["PID|2||200^^^H1^MR||李^四", obr("F2"), obx()]))

    assert outcome(hospital) == (ApplicationState.PARKED, "several_patients", "PID")
    assert hospital.count(Patient) == 0


def test_a_number_of_someone_else_is_refused(hospital):
    hospital.receive(
        ADMITTED, clinical("ORU^R01", obr(), obx(), name="王^五").replace(b"19900307|M", b"19550101|F")
    )

    assert outcome(hospital)[:2] == (ApplicationState.PARKED, "identity_conflict")
    assert hospital.count(DiagnosticReport) == 0


def test_results_under_the_stay_of_another_patient_are_refused(hospital):
    hospital.receive(ADMITTED, adt("A28", c=8, p=200, name="李^四", dob="19550101"))
    hospital.receive(clinical("ORU^R01", obr(), obx(), p=200, name="李^四").replace(b"19900307", b"19550101"))

    assert outcome(hospital)[:2] == (ApplicationState.PARKED, "visit_of_other_patient")
    assert hospital.count(DiagnosticReport) == 0


def test_old_demographics_of_a_laboratory_do_not_overwrite(hospital):
    hospital.receive(adt("A01", c=1, m="12:00", name="张^三丰"), clinical("ORU^R01", obr(), obx(), m="11:00"))

    assert hospital.patient(100).name == "张三丰"
