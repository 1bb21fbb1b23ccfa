"""Segments, grades and classification rules in Chromium: their pages fit their screen, and axe finds no fault."""

from datetime import date

import pytest

from hcrm.centre.classification import classify_encounters
from hcrm.centre.classification_rules import Axis
from hcrm.centre.rerun import continue_runs, start_preview
from hcrm.centre.rule_drafts import rule_text, rules_draft, save_rules_draft
from hcrm.segments.editor import DEFAULT_COLUMNS
from hcrm.segments.filters import SegmentFilter
from hcrm.segments.models import ShareScope
from hcrm.segments.profile import refresh_profiles
from hcrm.segments.service import SegmentInput, create_segment, publish_shipped_segments
from tests.support.builders import discharged, make_encounter, make_patient, publish_rules

LONG = "买买提·阿不都热依木·艾尼瓦尔·吐尔逊江·玉素甫艾山"
RULE = "- code: e14\n  gives: diabetes\n  label: 糖尿病\n  when:\n  - fact: diagnosis.code\n    starts_with: [E14]\n"


@pytest.fixture
def paths(ward, write):
    def add(work):
        publish_rules(work)
        publish_shipped_segments(work)
        patient = make_patient(work, name=LONG, birth_date=date(1950, 1, 1))
        stays = [make_encounter(work, patient=patient, diagnoses=["E14.9"])]
        others = [make_patient(work, name=f"{LONG}{number}") for number in range(55)]
        stays += [make_encounter(work, patient=each, diagnoses=["E11"]) for each in others]
        classify_encounters(work, [discharged(stay) for stay in stays])
        refresh_profiles(work, [stay.patient_id for stay in stays])
        lines = [
            {"field": "stay.main_diagnosis", "operator": "starts_with", "values": ["E10-E14", "I60"]}
        ] * 3
        wanted = SegmentFilter.model_validate({"groups": [{"lines": lines}, {"match": "none", "lines": []}]})
        entered = SegmentInput(
            name="长" * 60, note="注" * 200, filter=wanted, columns=DEFAULT_COLUMNS, scope=ShareScope.ALL
        )
        segment = create_segment(work, entered=entered).id
        axis = Axis.DISEASE_GROUP
        text = rule_text(work, axis)
        save_rules_draft(work, axis=axis, seen=text.seen, text=f"{text.text.rstrip()}\n{RULE}")
        run = start_preview(work, draft=rules_draft(work, axis)).id
        while continue_runs(work):
            pass
        rules = "/classification/rules/disease_group"
        return [
            "/segments", "/segments/new", f"/segments/{segment}", f"/segments/{segment}/edit", "/grades",
            f"/grades/{patient.id}", "/classification", f"/classification/runs/{run}", rules, f"{rules}/draft",
            f"{rules}/versions/1",
        ]  # fmt: skip

    return write(add)


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)  # a page looks alike on both
def test_their_pages_fit_their_screen_and_axe_finds_no_fault(page_of, paths):
    from axe_playwright_python.sync_playwright import Axe  # only here

    page = page_of("wang")
    faults = []
    for size in ({"width": 1280, "height": 720}, {"width": 390, "height": 844}):
        page.set_viewport_size(size)
        for path in paths:
            assert page.goto(path).ok, path
            faults += [
                (path, fault["id"], fault["nodes"][0]["target"])
                for fault in Axe().run(page).response["violations"]
            ]
            wide = max(0, page.evaluate("document.documentElement.scrollWidth - innerWidth"))
            faults += [(path, "too wide", wide)] if wide else []

    assert faults == []
