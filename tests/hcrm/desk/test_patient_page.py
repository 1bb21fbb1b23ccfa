"""The patient's page with much on it: filters, diagnoses of a visit, sums, history, the sheet, and what it costs."""

import re
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from hcrm.archive.arrivals import Arrival
from hcrm.archive.clinical.models import ChargeItem
from hcrm.archive.clinical.terms import ChargeKind
from hcrm.archive.models import Patient, TimelineEntry
from hcrm.archive.service import absorb_records
from hcrm.archive.terms import EncounterClass
from hcrm.archive.visit_models import Diagnosis
from hcrm.audit.models import AuditEvent
from hcrm.desk.masked import source_name
from tests.support.builders import make_encounter, make_patient, publish_fields
from tests.support.changes import change
from tests.support.record import page


@pytest.fixture
def browser(browser_of, patient, write):
    write(publish_fields)
    return browser_of("wang")


def entries(work, patient_id, *lines):
    work.insert(
        TimelineEntry,
        [{"id": work.new_id(), "patient_id": patient_id, "happened_at": at, "kind": kind, "title": title,
          "subject_type": "none", "subject_id": "x", "encounter_id": None} for kind, title, at in lines],
    )  # fmt: skip


def shown_titles(answer):
    return set(re.findall(r"第[一二三四]件", answer.text))


def test_the_timeline_is_narrowed_to_several_kinds_and_a_period(patient, browser, write):
    day = datetime(2026, 3, 1, 4, tzinfo=UTC)
    write(
        lambda work: entries(
            work, patient, ("result", "第一件", day), ("order", "第二件", day),
            ("document", "第三件", day), ("result", "第四件", day + timedelta(days=40)),
        )
    )  # fmt: skip

    both = browser.get(f"/patients/{patient}?kind=result&kind=order")
    assert shown_titles(both) == {"第一件", "第二件", "第四件"}
    assert both.text.count('class="chip on"') == 2
    narrowed = browser.get(f"/patients/{patient}?kind=result&since=2026-03-01&until=2026-03-01")
    assert shown_titles(narrowed) == {"第一件"}
    assert browser.get(f"/patients/{patient}?since=soon").status_code == 422
    assert shown_titles(browser.get(f"/patients/{patient}?kind=nothing_of_ours")) >= {"第一件"}


def test_visits_are_narrowed_to_a_class_and_tell_chinese_diagnoses_apart(patient, browser, write):
    def fill(work):
        stay = make_encounter(
            work, patient=work.get(Patient, patient), encounter_class=EncounterClass.EMERGENCY
        )
        now = work.clock.now()
        stamp = {
            "encounter_id": stay.id,
            "patient_id": patient,
            "kind": "F",
            "source": "t",
            "as_of": now,
            "seq": 1,
        }
        for rank, (text, system) in enumerate(
            (("胃炎", "I10"), ("胃脘痛", "GB/T 15657"), ("肝胃不和证", "GB/T 15657"))
        ):
            work.add(
                Diagnosis(
                    id=work.new_id(), rank=rank + 5, is_main=False, code=f"X{rank}", text=text, system=system,
                    ended_at=None, **stamp,
                )
            )  # fmt: skip

    write(fill)

    shown = browser.get(f"/patients/{patient}?tab=visits&visits=emergency").text
    assert re.search(r"胃炎[\s\S]*中医</span> 胃脘痛；肝胃不和证", shown)
    assert "<td>住院" not in shown
    assert "<td>住院" in browser.get(f"/patients/{patient}?tab=visits").text


def test_channel_and_time_are_asked_for_beside_the_numbers(browser, patient):
    page = browser.get(f"/patients/{patient}").text

    for code in ("preferred_channel", "preferred_time"):
        assert f'href="/patients/{patient}/fields/{code}"' in page
    assert "}}" not in page


def test_a_source_is_called_by_its_title_and_not_by_the_name_of_its_file():
    assert (source_name("default"), source_name("console"), source_name("gone")) == (
        "HIS",
        "人工登记",
        "gone",
    )


def test_costs_are_summed_by_year(patient, browser, write):
    def fill(work):
        for year, fen in ((2024, 10_050), (2025, 20_000), (2025, 5)):
            at = datetime(year, 6, 1, tzinfo=UTC)
            stay = make_encounter(work, patient=work.get(Patient, patient), discharged_at=at)
            work.add(
                ChargeItem(
                    id=work.new_id(), patient_id=patient, encounter_id=stay.id, number="1", code="", text="床位",
                    cost_class="床位费", kind=ChargeKind.CHARGE, is_total=False, amount_fen=fen, quantity=None,
                    charged_at=at, source="t", as_of=at, seq=1, confirmed_at=at, ended_at=None,
                )
            )  # fmt: skip

    write(fill)

    shown = re.sub(r"\s+", " ", page(browser, patient, "charges").text)
    assert re.search(r"2025 年</dt><dd>200.05 元.*2024 年</dt><dd>100.50 元", shown)


def test_the_history_says_what_gave_way_and_what_came_too_late(browser_of, browser, write):
    def tell(work):
        for seq, (name, at) in enumerate(
            (("张^三", "09:00"), ("张^三丰", "12:00"), ("张^叁", "10:00")), start=1
        ):
            told = change("A08", c=seq, p=777, name=name, m=at, r=at)
            absorb_records(work, arrivals=[Arrival(seq=seq, change=told)])
        return work.scalar(sa.select(Patient.id).where(Patient.name == "张三丰"))

    shown = re.sub(r"\s+", " ", page(browser, write(tell), "history").text)

    assert re.search(r"张三</td> <td>[^<]*</td> <td>已被代替", shown)
    assert re.search(r"张叁</td> <td>[^<]*</td> <td><span[^>]*>收到时已有更新的内容，没有采用", shown)


def test_the_sheet_is_masked_and_noted(patient, browser, write):
    browser.post(f"/patients/{patient}/fields/implant", {"value": "pacemaker", "seen": ""})
    told = {"value": "warfarin", "informant": "patient", "asked_on": "2026-11-20", "seen": ""}
    browser.post(f"/patients/{patient}/fields/anticoagulant", told)

    shown = browser.get(f"/patients/{patient}/sheet").text

    assert '<p class="sheet-who">' in shown  # on every page of paper
    assert re.search(r"华法林 <span[^>]*>患者自述，2026-11-20 询问", shown)

    assert "138****8000" in shown
    assert "起搏器或除颤器" in shown
    assert "青霉素过敏" in shown
    assert write(lambda work: work.all(AuditEvent, AuditEvent.action == "patient.print"))


def test_the_sheet_of_another_departments_patient_is_not_there(patient, browser_of):
    assert browser_of("qian").get(f"/patients/{patient}/sheet").status_code == 404


# ── what the page costs ─────────────────────────────────────────────────────


@pytest.mark.parametrize("tab", ["timeline", "profile", "visits", "charges", "history"])
def test_the_number_of_queries_does_not_grow_with_what_the_patient_has(browser, database, write, tab):
    def fill(work, size):
        patient = make_patient(work)
        at = work.clock.now()
        for number in range(size):
            make_encounter(work, patient=patient, discharged_at=at - timedelta(days=9 * number))
        entries(work, patient.id, *(("visit", f"第{number}次", at) for number in range(size * 2)))
        return patient.id

    def queries(patient_id):
        seen = []
        engine = database.main
        listen = lambda *arguments: seen.append(arguments[2])  # noqa: E731
        sa.event.listen(engine, "before_cursor_execute", listen)
        try:
            assert page(browser, patient_id, tab).status_code == 200
        finally:
            sa.event.remove(engine, "before_cursor_execute", listen)
        return len(seen)

    few, many = (write(lambda work, size=size: fill(work, size)) for size in (2, 40))
    queries(few)  # what is read once a process
    assert queries(many) <= queries(few)
    assert queries(many) < 60
