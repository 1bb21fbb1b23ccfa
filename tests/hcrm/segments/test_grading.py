import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hcrm.accounts.permissions import roles
from hcrm.archive.exports import PATIENT_COLUMNS
from hcrm.core.clock import local_date
from hcrm.core.errors import HcrmError
from hcrm.core.paths import config_path
from hcrm.core.work import Work
from hcrm.segments import catalogue
from hcrm.segments.catalogue import fields_for, use_fields
from hcrm.segments.columns import COLUMNS, SORTS
from hcrm.segments.fields import segment_fields
from hcrm.segments.grade_queries import count_grades
from hcrm.segments.grading import (
    Churn,
    churn_condition,
    grade_fields,
    grades_of,
    loyalty_condition,
    spending_condition,
)
from hcrm.segments.grading_rules import grading_rules
from hcrm.segments.life_cycle import LifeStage, stage_condition
from hcrm.segments.models import PatientLoss, PatientProfile
from hcrm.segments.profile import refresh_profiles
from tests.support.builders import make_department, make_encounter, make_patient
from tests.support.console import Browser, MakePerson

Write = Callable[[Callable[[Work], Any]], Any]
ROOT = Path(__file__).resolve().parents[3]


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.integers(0, 1_500), st.integers(0, 9), st.integers(-1, 60_000))
def test_grades_in_words_and_grades_in_sql_are_the_same(work: Work, days: int, visits: int, yuan: int):
    rules, today = grading_rules(), local_date(work.clock.now())
    row = profile(work)
    row.seen_on, row.visits, row.spending_fen = today - timedelta(days=days), visits, yuan * 100
    work.session.flush()

    grades = grades_of(row, today)

    def holds(condition: Any) -> bool:
        return bool(work.scalar(sa.select(sa.func.count()).select_from(PatientProfile).where(condition)))

    assert [band.label for band in rules.spending_bands if holds(spending_condition(band.code))] == [
        grades.spending_band
    ]
    assert [grade.label for grade in rules.loyalty.grades if holds(loyalty_condition(grade.code, today))] == [
        grades.loyalty
    ]
    assert [churn for churn in Churn if holds(churn_condition(churn, today))] == [grades.churn]
    assert [stage for stage in LifeStage if holds(stage_condition(stage, today))] == [grades.stage]


def profile(work: Work) -> PatientProfile:
    found = work.all(PatientProfile)
    if not found:
        refresh_profiles(work, [make_encounter(work).patient_id])
        found = work.all(PatientProfile)
    return found[0]


def test_a_stage_begins_the_day_after_its_limit(work: Work):
    row, today = profile(work), local_date(work.clock.now())
    limits = grading_rules().life_cycle

    def stage(days: int) -> LifeStage:
        row.seen_on = today - timedelta(days=days)
        return grades_of(row, today).stage

    assert [stage(limits.dormant_after_days + more) for more in (0, 1)] == [
        LifeStage.ACTIVE,
        LifeStage.DORMANT,
    ]
    assert [stage(limits.lost_after_days + more) for more in (0, 1)] == [LifeStage.DORMANT, LifeStage.LOST]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            ("dormant_after_days: 365", "dormant_after_days: 3650"),
            "dormant_after_days 应小于 lost_after_days",
        ),
        (("from_yuan: 5000}", "from_yuan: 90000}"), "由高到低"),
        (("visits: [6, 3, 2]", "visits: [2, 3, 6]"), "由大到小"),
        (("churn_risk_visits: 2", "churn_risk_visit: 2"), "churn_risk_visits"),
    ],
)
def test_a_mistake_in_the_file_is_refused_in_words(tmp_path: Path, wrong: tuple[str, str], said: str):
    text = config_path("grading.yaml").read_text(encoding="utf-8")
    (tmp_path / "grading.yaml").write_text(text.replace(*wrong), encoding="utf-8")

    with pytest.raises(HcrmError, match=said):
        grading_rules(tmp_path / "grading.yaml")


def test_grades_are_for_those_who_may_read_them_and_order_nothing(work: Work):
    before = catalogue._makers
    use_fields((segment_fields, grade_fields))
    try:
        every = fields_for(work)
        work.actor = type(work.actor)(
            id="a", name="甲", permissions=frozenset({"segment.read"}), department_ids=None
        )
        left = fields_for(work)
    finally:
        use_fields(before)
    hidden = every.keys() - left.keys()

    assert hidden == {field.code for field in grade_fields(work)}
    assert (
        "loss.reason" in hidden
    )  # why somebody no longer comes is told with the grades, and with nothing else
    assert not re.search("spending|fen|loyal|churn|grade", " ".join([*COLUMNS, *SORTS]))
    # Nothing that decides whom to call, answer or book knows of them.
    for folder in ("followup", "community", "hcrm/centre", "hcrm/contact_log", "hcrm/exchange", "tcm_care"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert not re.search(
                r"segments\.(grading|grade_|loss)|spending_fen|drug_fen|treatment_fen", text
            ), path


def test_the_pages_of_grades_count_show_and_take_a_reason(
    browser_of: Callable[..., Browser], make_person: MakePerson, write: Write
):
    def make(work: Work) -> str:
        patient = make_patient(work, name="甲一", birth_date=date(1960, 1, 1))
        make_encounter(work, patient=patient)
        refresh_profiles(work, [patient.id])
        return patient.id

    patient_id = write(make)
    make_person("wang", ["service_centre"])
    make_person("li", ["medical_office"])
    service, office = browser_of("wang"), browser_of("li")

    assert office.get("/grades").status_code == office.get(f"/grades/{patient_id}").status_code == 403
    assert "生命周期" in service.get("/grades").text
    assert "忠诚度" in service.get(f"/grades/{patient_id}").text
    wrong = service.post(f"/grades/{patient_id}/loss", {"reason": "bored"})
    assert (wrong.status_code, "请从列出的原因中选择" in wrong.text) == (422, True)
    service.post(f"/grades/{patient_id}/loss", {"reason": "moved", "note": "去了外省"})
    service.post(f"/grades/{patient_id}/loss", {"reason": "cost"})
    rows = write(lambda work: {row.reason: row.ended_at is None for row in work.all(PatientLoss)})
    assert rows == {"moved": False, "cost": True}
    numbers = write(lambda work: {(line.axis, line.word): line.number for line in count_grades(work)})
    assert numbers["流失原因", "费用原因"] == numbers["生命周期", "活跃"] == 1
    assert "费用原因" in service.get(f"/grades/{patient_id}").text
    for line in write(count_grades):  # each number opens those it counts
        found = service.get(f"/grades/list?field={line.field}&value={line.value}")
        assert (found.status_code, found.text.count(f"/grades/{patient_id}")) == (200, line.number), line
    assert service.get("/grades/list?field=patient.sex&value=male").status_code == 404
    assert office.get("/grades/list?field=grade.loyalty&value=high").status_code == 403


def test_spending_and_loyalty_are_seen_by_the_service_office_and_the_director_only(
    browser_of: Callable[..., Browser], make_person: MakePerson, write: Write
):
    def make(work: Work) -> tuple[str, str]:
        patient = make_patient(work, name="甲一")
        ward = make_department(work, name="肾内科")
        make_encounter(work, patient=patient, department=ward)
        refresh_profiles(work, [patient.id])
        return patient.id, ward.code

    patient_id, code = write(make)
    make_person("wang", ["service_centre"])
    spent = {"g0-0-field": "grade.spending_band", "g0-0-operator": "in", "g0-0-value": "low"}
    saved = {"name": "低消费", "columns": ["sex"], "scope": "all", **spent}
    service = browser_of("wang")
    service.get("/segments/new")
    address = service.post("/segments", saved).location

    for place, role in enumerate(roles()):
        may = role in ("service_centre", "director")
        person = f"p{place}"
        make_person(person, [role], department_code=code)
        browser = browser_of(person)
        assert browser.get(f"/grades/{patient_id}").status_code == (200 if may else 403), role
        assert browser.get("/grades").status_code == (200 if may else 403), role
        patient = browser.get(f"/patients/{patient_id}")
        assert ("/grades/" in patient.text) is may, role
        assert not re.search("忠诚度|消费分级|累计费用", patient.text), role
        assert not re.search("忠诚度|消费分级|累计费用", browser.get("/patients?all=1").text), role
        if browser.get("/segments").status_code != 200:
            continue
        form = browser.get("/segments/new").text
        assert ("消费分级" in form) is may, role
        # A shared segment that asks for a grade is closed to who may not see grades: members would tell them.
        assert browser.get(address).status_code == (200 if may else 422), role
        assert ("甲一" in browser.get(address).text) is may, role
        low, high = (
            browser.post("/segments/preview", {**spent, "g0-0-value": band}).text for band in ("low", "high")
        )
        assert (low != high) is may, role  # whoever may not ask is not told by the answer
    assert not re.search("spending|fen|loyal|churn|grade", " ".join(str(each) for each in PATIENT_COLUMNS))
