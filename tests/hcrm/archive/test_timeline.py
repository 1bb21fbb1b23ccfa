from datetime import timedelta

import pytest

from hcrm.archive.timeline import add_entry, list_timeline
from hcrm.core.work import Work
from tests.support.builders import (
    actor_of,
    make_department,
    make_encounter,
    make_instruction,
    make_patient,
    make_practitioner,
)


@pytest.fixture
def tell(work: Work):
    patient = make_patient(work)

    def tell(title: str, *, hours: int = 0, kind: str = "visit", about: str | None = None) -> str:
        add_entry(
            work, patient_id=patient.id, happened_at=work.clock.now() + timedelta(hours=hours), kind=kind,
            title=title, subject_type="test", subject_id="1", encounter_id=about,
        )  # fmt: skip
        work.flush()
        return patient.id

    return tell


def titles(page) -> list[str]:
    return [entry.title for entry in page.items]


def test_the_newest_comes_first_and_older_ones_by_key(work: Work, tell):
    tell("二", hours=2)
    tell("一", hours=1)
    patient_id = tell("三", hours=3)

    page = list_timeline(work, patient_id=patient_id, size=2)
    rest = list_timeline(work, patient_id=patient_id, size=2, key=page.next_key)

    assert (titles(page), titles(rest)) == (["三", "二"], ["一"])


def test_kinds_can_be_chosen(work: Work, tell):
    tell("住院")
    patient_id = tell("电话", kind="contact")

    assert titles(list_timeline(work, patient_id=patient_id, kinds=["contact"])) == ["电话"]


def test_what_is_about_a_stay_is_for_whom_the_stay_is(work: Work, tell):
    home, other = make_department(work), make_department(work)
    doctor = make_practitioner(work, department=home)
    stays = {
        "本科": make_encounter(work, department=home),
        "外科": make_encounter(work, department=other),
        "主管": make_encounter(work, department=other, attending=doctor),
        "指令": make_encounter(work, department=other),
    }
    make_instruction(work, encounter=stays["指令"], assignee=doctor)
    for title, stay in stays.items():
        tell(title, about=stay.id)
    patient_id = tell("公开")

    def told_to(*departments) -> set[str]:
        work.actor = actor_of(doctor, *departments)
        return set(titles(list_timeline(work, patient_id=patient_id)))

    everybody = set(titles(list_timeline(work, patient_id=patient_id)))

    assert everybody == {"本科", "外科", "主管", "指令", "公开"}
    assert told_to(home) == {"本科", "主管", "指令", "公开"}
    assert told_to() == {"主管", "指令", "公开"}  # only their own


def test_another_patient_s_story_is_another_story(work: Work, tell):
    tell("住院")

    assert titles(list_timeline(work, patient_id=make_patient(work).id)) == []
