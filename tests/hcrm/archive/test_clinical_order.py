"""Whatever the order in which results, orders, documents and bookings arrive, the same stands in the end."""

from itertools import count
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.his.mapping import map_message
from hcrm.archive.arrivals import Arrival
from hcrm.archive.clinical.models import (
    Appointment,
    ChargeItem,
    DiagnosticReport,
    DocumentReference,
    MedicationRequest,
    Observation,
)
from hcrm.archive.models import PatientIdentifier, TimelineEntry
from hcrm.archive.records import Change
from hcrm.archive.service import absorb_records
from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock
from hcrm.core.work import open_work
from tests.support.adt import adt, stamp
from tests.support.changes import EVENING, SOURCES
from tests.support.clinical import clinical, obr, obx

MODELS = (DiagnosticReport, Observation, MedicationRequest, ChargeItem, DocumentReference, Appointment)
NUMBERS = count(1000)
BOOKKEEPING = {
    "id", "patient_id", "encounter_id", "report_id", "seq", "as_of", "confirmed_at", "provenance", "ended_at",
}  # fmt: skip


def messages(p: int) -> list[bytes]:
    """A stay and what is told of it, each at a time of its own."""
    say: dict[str, Any] = {"p": p, "v": f"V{p}"}
    txa = "TXA|1|DS|TX|202611221000|D1^李^军|||||||{}|{}||||{}"
    sch = f"SCH|B1||||||复诊||20|min|^^^{stamp('16:00')}"
    return [
        adt("A01", c=1, p=p, v=f"V{p}", m="09:00"),
        clinical("ORU^R01", obr(status="P"), obx(value="1.1", status="P"), m="10:01", **say),
        clinical("ORU^R01", obr(), obx(value="2.2", flag="HH"), obx(2, "B^乙", "5"), m="10:02", **say),
        clinical("ORU^R01", obr(status="P"), obx(value="3.3", status="P"), m="10:03", **say),
        clinical("ORU^R01", obr(status="C"), obx(value="4.4", flag="N", status="C"), m="10:04", **say),
        clinical("ORU^R01", obr(), obx(2, "B^乙", "", status="D"), m="10:05", **say),
        clinical(
            "RDE^O11", "ORC|NW|O1|||||^QD^D7^20261120", "RXE||A^甲|1||mg", "RXR|PO^口服", m="10:06", **say
        ),
        clinical("RDE^O11", "ORC|XO|O1|||||^BID", "RXE||A^甲|2", m="10:07", **say),
        clinical("RAS^O17", "ORC|RE|O1", "RXA|0|1|202611221007||A^甲|2|mg", m="10:08", **say),
        clinical("RDE^O11", "ORC|DC|O1", "RXE||A^甲", m="10:09", **say),
        clinical("MDM^T02", txa.format("D1", "", "IP"), "OBX|1|TX|1^小结||一||||||F", m="10:10", **say),
        clinical("MDM^T08", txa.format("D1", "", "AU"), "OBX|1|TX|1^小结||二||||||F", m="10:11", **say),
        clinical("MDM^T10", txa.format("D2", "D1", "AU"), "OBX|1|TX|1^小结||三||||||F", m="10:12", **say),
        clinical("SIU^S12", sch, "AIP|1|A|D1^李^军", m="10:13", **say),
        clinical("SIU^S13", f"SCH|B1||||||||||^^^{stamp('17:00')}", m="10:14", **say),
        clinical("SIU^S15", "SCH|B1", m="10:15", **say),
        clinical("DFT^P03", "FT1|1|T1||20261122||CG|A^床位费|||1|80", m="10:16", **say),
        clinical("DFT^P03", "FT1|1|T1||20261122||CG|A^床位费|||1|90", m="10:17", **say),
    ]


def absorbed(database, order: list[int], cut: int) -> dict[str, Any]:
    """What stands after the messages came in that order, in two transactions."""
    p = next(NUMBERS)
    told = messages(p)
    arrivals = []
    for seq, index in enumerate(order, start=p * 1000):
        change = map_message(told[index], SOURCES, EVENING).result
        assert isinstance(change, Change)
        arrivals.append(Arrival(seq, change))
    opened = next(place for place, index in enumerate(order) if index == 0)
    for part in (arrivals[:cut], arrivals[cut:]):
        with open_work(database, actor=system_actor("test"), clock=FixedClock(EVENING)) as work:
            early = arrivals[:cut] if part and cut <= opened and part[0].seq == arrivals[cut].seq else []
            absorb_records(work, arrivals=[*early, *part])  # the inbox hands over what waited for the visit
            patient_id = work.scalars(_patients(p))[0]
    with open_work(database, actor=system_actor("test"), clock=FixedClock(EVENING), write=False) as work:
        found: dict[str, Any] = {
            model.__tablename__: sorted(
                _content(work, row)
                for row in work.all(model, model.patient_id == patient_id, model.ended_at.is_(None))
            )
            for model in MODELS
        }
        lines = work.all(
            TimelineEntry,
            TimelineEntry.patient_id == patient_id,
            TimelineEntry.kind.not_in(["visit", "order"]),
        )
        found["lines"] = sorted(f"{row.kind} {row.title} {row.encounter_id is not None}" for row in lines)
        found["attached"] = all(
            row.encounter_id is not None
            for model in MODELS
            if model is not Observation
            for row in work.all(model, model.patient_id == patient_id, model.ended_at.is_(None))
        )
    return found


def _patients(p: int):
    return sa.select(PatientIdentifier.patient_id).where(PatientIdentifier.value == str(p))


def _content(work, row) -> str:
    names = [column.name for column in row.__table__.columns if column.name not in BOOKKEEPING]
    values = {}
    for name in sorted(names):
        value = getattr(row, name)
        if name.endswith("_sealed"):
            value = None if value is None else work.keys.open_text(value)
        values[name] = value
    return repr(values)


def expected(database) -> dict[str, Any]:
    return absorbed(database, list(range(len(messages(1)))), 1)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(18)), st.integers(1, 17))
def test_any_order_of_arrival_leaves_what_the_clocks_say(database, order, cut):
    assert absorbed(database, order, cut) == expected(database)


def test_in_order_the_last_words_stand(database):
    stands = expected(database)

    assert "'4.4'" in stands["observation"][0] + stands["observation"][1]
    (booking,) = stands["appointment"]
    assert "cancelled" in booking
    assert "17, 0" not in booking
    assert "9, 0" in booking  # 17:00 there is 09:00 UTC
    (order,) = stands["medication_request"]
    for words in ("stopped", "'dose': '2'", "'route': '口服'", "'frequency': 'BID'", "2026, 11, 26"):
        assert words in order
    assert ["'三'" in row for row in stands["document_reference"]].count(True) == 1
    assert "9000" in stands["charge_item"][0]
    assert stands["attached"]
