"""Rows of views, lists and XML become the records HL7 would have made; a stay told on two ways is one stay."""

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.his import soap
from adapters.his.drop_folder import DropFolder
from adapters.his.map_row import loose_moment, map_row
from adapters.his.reception import receive
from hcrm.app.wiring import MAPPERS
from hcrm.archive.models import IdentifierKind, Patient
from hcrm.archive.records import Change, Mapped, Unmapped
from hcrm.archive.terms import DischargeWay, VisitEventKind
from hcrm.archive.visit_models import Encounter, VisitEvent
from hcrm.centre.models import Instruction
from hcrm.core.clock import zone_named
from hcrm.core.sources import Source, Sources
from hcrm.inbox.intake import store_now
from hcrm.inbox.models import ApplicationState, InboxApplication
from hcrm.inbox.rows import cell_text, row_message
from tests.support.adt import adt
from tests.support.hospital import Hospital
from tests.support.truth_table import evening as evening

COLUMNS = {
    "patient_no": "BRID", "visit_no": "ZYH", "name": "XM", "sex": "XB", "birth_date": "CSRQ", "phone": "DH",
    "encounter_class": "LB", "department": "KSDM", "department_name": "KSMC", "attending": "YSGH",
    "attending_name": "YSXM", "admitted_at": "RYSJ", "discharged_at": "CYSJ", "discharge_way": "LYFS",
    "diagnosis": "ZDBM", "diagnosis_name": "ZDMC",
}  # fmt: skip
ROW = {
    "BRID": "100", "ZYH": "V1", "XM": "张三", "XB": "男", "CSRQ": "1990-03-07", "DH": "13912345678", "LB": "住院",
    "KSDM": "W1", "KSMC": "心血管内科", "YSGH": "D1", "YSXM": "李", "RYSJ": "2026-11-22 10:00:00",
    "CYSJ": "2026-11-22 12:00:00", "LYFS": "1", "ZDBM": "I20.0", "ZDMC": "不稳定型心绞痛",
}  # fmt: skip
AT = datetime(2026, 11, 22, 15, tzinfo=UTC)


def view_source(**more) -> Source:
    rows = {"columns": COLUMNS, **more.pop("rows", {})}
    view = {
        "url": "mysql+pymysql://u@127.0.0.1/his",
        "name": "V_CY",
        "watermark": "CYSJ",
        "key": ["ZYH"],
        **rows,
    }
    return Source.model_validate(
        {
            "code": "his_rows",
            "title": "HIS",
            "default_authority": "H1",
            "view": view,
            "soap": {"rows": rows},
            **more,
        }
    )


def mapped(row: dict, **more) -> Mapped:
    source = view_source(**more)
    message = row_message(source, "view", row, peer="view", at=AT)
    return map_row(message.raw, Sources([source]), AT)


def change(row: dict, **more) -> Change:
    result = mapped(row, **more).result
    assert isinstance(result, Change), result
    return result


# ── what a row becomes ──────────────────────────────────────────────────────


def test_a_row_becomes_the_records_of_the_discharge_it_tells():
    found = change(ROW)
    patient, stay = found.patient, found.encounter

    assert patient is not None
    assert stay is not None
    (number,) = patient.identifiers
    assert (number.kind, number.authority, number.type, number.value) == (
        IdentifierKind.RECORD,
        "H1",
        "MR",
        "100",
    )
    assert (patient.name, patient.sex, patient.birth_date) == ("张三", "male", date(1990, 3, 7))
    assert (stay.authority, stay.visit_no, stay.discharge_way) == ("H1", "V1", DischargeWay.BY_ORDER)
    assert stay.department is not None
    assert (stay.department.code, stay.department.name) == ("W1", "心血管内科")
    assert stay.discharged_at == datetime(2026, 11, 22, 4, tzinfo=UTC)  # noon in Shanghai
    assert found.event is not None
    assert (found.event.kind, found.event.happened_at) == (VisitEventKind.DISCHARGE, stay.discharged_at)
    assert stay.diagnoses is not None
    assert [(each.code, each.text, each.is_main) for each in stay.diagnoses] == [
        ("I20.0", "不稳定型心绞痛", True)
    ]


def test_without_a_time_of_discharge_a_stay_is_an_admission():
    found = change({**ROW, "CYSJ": None})

    assert found.event is not None
    assert found.event.kind is VisitEventKind.ADMIT
    assert found.event.happened_at == datetime(2026, 11, 22, 2, tzinfo=UTC)


def test_a_column_may_say_what_happened_in_the_hospitals_own_words():
    rows = {
        "columns": {**COLUMNS, "event": "ZT"},
        "events": {"出院": "discharge", "召回": "cancel_discharge"},
    }

    recalled = change({**ROW, "ZT": "召回"}, rows=rows)
    assert recalled.event is not None
    assert recalled.event.kind is VisitEventKind.CANCEL_DISCHARGE
    assert mapped({**ROW, "ZT": "转科"}, rows=rows).result == Unmapped("event_not_supported", "event（ZT）")


def test_an_empty_cell_says_nothing_and_two_quotes_do_not_clear_a_value():
    found = change({**ROW, "DH": "", "CSRQ": '""'})

    assert found.patient is not None
    assert (found.patient.contacts, found.patient.birth_date) == (None, None)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"BRID": None}, Unmapped("no_patient_number", "patient_no（BRID）")),
        ({"BRID": None, "SFZ": "11010119900307100X"}, Unmapped("no_patient_number", "patient_no（BRID）")),
        ({"CYSJ": "明天"}, Unmapped("impossible_date", "discharged_at（CYSJ）")),
        ({"CSRQ": "2026-13-01"}, Unmapped("impossible_date", "birth_date（CSRQ）")),
        ({"ZYH": "9" * 300}, Unmapped("budget", "visit_no（ZYH）")),
    ],
)
def test_what_a_row_cannot_become_is_said_with_field_and_column_never_a_value(row, expected):
    assert mapped({**ROW, **row}).result == expected


def test_a_code_nobody_knows_is_flagged_with_the_rows_field():
    assert "unmapped:discharge_way" in change({**ROW, "LYFS": "十九"}).flags


@pytest.mark.parametrize(
    ("table", "flag"), [({}, ()), ({"W1": "K01"}, ()), ({"W2": "K02"}, ("unmapped:department",))]
)
def test_a_department_is_flagged_only_where_the_source_has_a_table_that_leaves_it_out(table, flag):
    assert change(ROW, departments=table).flags == flag


def test_a_row_whose_source_is_gone_waits_with_a_reason():
    message = row_message(view_source(), "view", ROW, peer="view", at=AT)

    assert map_row(message.raw, Sources([]), AT).result == Unmapped("source_unknown", "view")
    assert map_row(message.raw, Sources([Source(code="his_rows", title="x")]), AT).result == Unmapped(
        "source_unknown", "view"
    )


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60))
def test_no_cell_breaks_out_of_its_field(text):
    found = mapped({**ROW, "XM": text, "ZDMC": text, "KSMC": text, "LYFS": text}).result

    assert isinstance(found, Change)
    assert found.encounter is not None
    assert found.encounter.visit_no == "V1"
    assert found.encounter.diagnoses is not None
    assert len(found.encounter.diagnoses) == 1
    assert found.patient is not None
    assert found.patient.contacts is not None
    assert [each.value for each in found.patient.contacts] == ["13912345678"]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026/1/2 9:05", "20260102090500"), ("2026年1月2日", "20260102"), ("2026-11-22T10:00:00", "20261122100000"),
        ("2026-11-22 02:00:00+00:00", "20261122100000"), ("2026.11.22 24:00:00", "20261122240000"),
        ("20261122", "20261122"), ("昨天", "昨天"),
    ],
)  # fmt: skip
def test_times_as_spreadsheets_and_drivers_write_them(written, read):
    assert loose_moment(written, zone_named("Asia/Shanghai")) == read


@pytest.mark.parametrize(
    ("value", "text"),
    [(100, "100"), (100.0, "100"), (Decimal("100.00"), "100"), (Decimal("1E+2"), "100"), (1.5, "1.5"), (None, ""),
     (float("nan"), ""), (True, "1"), (" 张三  ", "张三"), ("张".encode("gb18030"), "张"),
     (date(2026, 1, 2), "2026-01-02"), (AT.replace(tzinfo=None), "2026-11-22T15:00:00"), ("a\x00b", "ab"),
     ("V\x01\x1f1\x7f", "V1"), ("a\tb\nc", "a\tb\nc")],
)  # fmt: skip
def test_a_cell_reads_the_same_whatever_driver_it_came_from(value, text):
    assert cell_text(value, "gb18030") == text


def test_the_same_row_is_the_same_message_and_a_changed_one_is_not():
    first = row_message(view_source(), "view", ROW, peer="a", at=AT)
    again = row_message(view_source(), "view", dict(reversed(ROW.items())), peer="b", at=datetime.now(UTC))
    other = row_message(view_source(), "view", {**ROW, "LYFS": "2"}, peer="a", at=AT)

    assert first[:6] == again[:6]
    assert first.control_id != other.control_id
    assert (first.kind, first.format) == ("ROW^DISCHARGE", "row")
    assert not any(word in first.control_id for word in ("100", "V1", "张三"))
    assert json.loads(first.raw)["row"]["XM"] == "张三"


# ── one stay on every way ───────────────────────────────────────────────────


def test_a_stay_known_by_socket_view_list_and_envelope_is_one_stay(database, evening, tmp_path):
    """Told on every way, in several orders: one patient, one encounter, the instructions of one discharge."""
    assert "row" in MAPPERS
    (tmp_path / "drop").mkdir()
    source = view_source(
        folder={"path": str(tmp_path / "drop"), "still_seconds": 0}, list_file={"columns": COLUMNS}
    )
    sources = Sources([Source(code="default", title="default"), source])

    with Hospital(database, evening, sources=sources) as hospital:

        def by_socket() -> None:
            hospital.send(adt("A01", c=1, o="10:00"))
            hospital.send(adt("A03", c=3, o="12:00", PV1_36="1", PV1_45="20261122120000"))

        def by_view() -> None:
            store_now(database, [row_message(source, "view", ROW, peer="view", at=evening.now())])

        def by_list() -> None:
            text = io.StringIO()
            csv.writer(text).writerows([list(ROW), [value.replace("-", "/") for value in ROW.values()]])
            (tmp_path / "drop" / "cy.csv").write_text(text.getvalue(), encoding="utf-8-sig")
            folder = DropFolder(source, sources)
            assert folder.take_all(lambda items: store_now(database, items), evening.now, lambda _: None) == 1

        def by_envelope() -> None:
            elements = "".join(f"<{name}>{value}</{name}>" for name, value in ROW.items())
            told_in = f"<e:Body><Tell><stay>{elements}</stay></Tell></e:Body>"
            body = f'<e:Envelope xmlns:e="{soap.SOAP_11}">{told_in}</e:Envelope>'
            named = {field: f"stay/{column}" for field, column in COLUMNS.items()}
            told = view_source(rows={"columns": named})
            envelope = soap.read_envelope(body.encode(), "", sources=sources, source=told)
            assert dict(envelope.row)["stay/XM"] == "张三"
            row = {name.removeprefix("stay/"): value for name, value in envelope.row}
            store_now(database, [row_message(source, "soap", row, peer="soap", at=evening.now())])

        def by_wrapped_hl7() -> None:
            text = adt("A03", c=9, o="12:00", PV1_36="1", PV1_45="20261122120000").decode()
            body = (
                f'<e:Envelope xmlns:e="{soap.SOAP_12}"><e:Body><Tell><m><![CDATA[{text}]]></m></Tell>'
                "</e:Body></e:Envelope>"
            )
            envelope = soap.read_envelope(body.encode(), "", sources=sources, source=None)
            store_now(database, receive(envelope.message, sources=sources, peer="soap", at=evening.now()))

        by_socket()
        hospital.settle()
        issued = hospital.count(Instruction)
        assert issued > 0
        for ways in list(permutations((by_view, by_list, by_envelope, by_wrapped_hl7)))[::5]:
            for tell in ways:
                tell()
                hospital.settle()

        assert hospital.count(Patient) == 1
        assert hospital.count(Encounter) == 1
        assert hospital.count(Instruction) == issued
        assert hospital.count(InboxApplication, InboxApplication.state == ApplicationState.PARKED) == 0
        assert hospital.visit("V1").discharged_at == datetime(2026, 11, 22, 4, tzinfo=UTC)
        assert {event.kind for event in hospital.all(VisitEvent)} == {
            VisitEventKind.ADMIT,
            VisitEventKind.DISCHARGE,
        }


def test_a_stay_told_by_a_view_first_is_joined_by_hl7(database, evening):
    source = view_source()
    sources = Sources([Source(code="default", title="default"), source])
    with Hospital(database, evening, sources=sources) as hospital:
        store_now(database, [row_message(source, "view", ROW, peer="view", at=evening.now())])
        hospital.settle()
        issued = hospital.count(Instruction)
        hospital.receive(
            adt("A01", c=1, o="10:00"), adt("A03", c=3, o="12:00", PV1_36="1", PV1_45="20261122120000")
        )

        assert issued > 0
        assert (hospital.count(Patient), hospital.count(Encounter)) == (1, 1)
        assert hospital.count(Instruction) == issued
