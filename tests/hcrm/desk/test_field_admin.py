"""The hospital's own fields: added, renamed, retired; what was kept reads as it was meant."""

import re
from threading import Thread

import pytest
import sqlalchemy as sa

from hcrm.archive.fields.admin import change_field
from hcrm.archive.fields.service import published_fields
from hcrm.archive.models import Patient
from hcrm.core.actor import system_actor
from hcrm.core.definitions import Definition
from hcrm.core.errors import HcrmError
from hcrm.core.work import open_work
from tests.support.builders import publish_fields
from tests.support.record import page


@pytest.fixture
def admin(browser_of, make_person, write):
    write(publish_fields)
    make_person("root", roles=("sysadmin",))
    return browser_of("root")


def seen_of(browser, path="/fields/new"):
    return re.search(r'name="seen" value="(\d+)"', browser.get(path).text).group(1)


def add(browser, **fields):
    wanted = {
        "title": "腰围",
        "group": "体格",
        "type": "number",
        "unit": "cm",
        "goes_stale_after_days": "",  # as a browser sends what was left empty
        "seen": seen_of(browser),
        **fields,
    }
    return browser.post("/fields/new", wanted)


def test_an_added_field_is_filled_on_a_patients_page_and_survives_its_retirement(
    admin, patient, browser_of, write
):
    assert add(admin).status_code == 303
    staff = browser_of("li")
    assert (
        staff.post(f"/patients/{patient}/fields/own_yaowei", {"value": "８８.50", "seen": ""}).status_code
        == 303
    )
    assert "88.5 cm" in page(staff, patient, "profile").text

    admin.post("/fields/own_yaowei/retire", {"seen": seen_of(admin)})

    shown = page(staff, patient, "profile").text
    assert "88.5 cm" in shown
    assert "已停用" in shown
    refused = staff.post(f"/patients/{patient}/fields/own_yaowei", {"value": "90", "seen": ""})
    assert refused.status_code == 422
    admin.post("/fields/own_yaowei/restore", {"seen": seen_of(admin)})
    assert "88.5" in staff.get(f"/patients/{patient}/fields/own_yaowei").text


def test_renaming_keeps_what_was_chosen_and_options_are_only_added(admin, patient, browser_of, write):
    add(admin, title="血型", type="choice", options="A 型\nB 型", unit="", group="体格")
    staff = browser_of("li")
    staff.post(f"/patients/{patient}/fields/own_xuexing", {"value": "o2", "seen": ""})

    admin.post(
        "/fields/own_xuexing", {"title": "ABO 血型", "more_options": "O 型\nB 型", "seen": seen_of(admin)}
    )

    field = write(published_fields).by_code["own_xuexing"]
    assert list(field.option_titles.items()) == [("o1", "A 型"), ("o2", "B 型"), ("o3", "O 型")]
    shown = re.sub(r"\s+", " ", page(staff, patient, "profile").text)
    assert re.search("ABO 血型.*B 型", shown)
    versions = write(
        lambda work: [(row.code, row.version) for row in work.all(Definition, Definition.kind == "fields")]
    )
    assert sorted(versions) == [("fields", 2), ("fields_own", 1), ("fields_own", 2)]


def test_a_shipped_field_is_renamed_and_retired_without_touching_the_file(admin, write):
    admin.post("/fields/employer", {"title": "单位", "seen": seen_of(admin)})
    admin.post("/fields/employer/retire", {"seen": seen_of(admin)})

    field = write(published_fields).by_code["employer"]
    assert (field.title, field.is_retired) == ("单位", True)


def test_two_administrators_do_not_undo_each_other(admin, write):
    seen = seen_of(admin)
    add(admin, title="腰围")

    answer = add(admin, title="臀围", seen=seen)

    assert answer.status_code == 409
    assert 'value="臀围"' in answer.text


@pytest.mark.parametrize(
    ("wrong", "at"),
    [
        ({"title": "职业"}, "title"),
        ({"title": ""}, "title"),
        ({"type": "choice", "options": "只有一个"}, "options"),
        ({"type": "text", "options": "a\nb"}, "options"),
        ({"goes_stale_after_days": "0"}, "goes_stale_after_days"),
        ({"goes_stale_after_days": "30"}, "goes_stale_after_days"),
    ],
)
def test_what_cannot_be_is_refused_at_its_field_and_nothing_is_published(admin, write, wrong, at):
    answer = add(admin, **wrong)

    assert answer.status_code == 422
    assert f'id="error-{at}"' in answer.text
    assert write(lambda work: work.all(Definition, Definition.code == "fields_own")) == []


def test_only_the_administrator_of_the_system_defines_fields(admin, patient, browser_of, write):
    assert browser_of("wang").get("/fields").status_code == 403
    assert admin.get(f"/patients/{patient}").status_code == 403
    assert write(lambda work: work.get(Patient, patient).name) == "张建国"


def test_of_two_who_publish_at_once_one_is_told(database, clock, write):
    """Both have read the same version before either writes: PostgreSQL lets them, SQLite lets one wait at the door."""
    write(publish_fields)
    told = []

    def add_another():
        try:
            with open_work(database, actor=system_actor("b"), clock=clock) as work:
                change_field(work, seen=0, code="employer", title="单位")
        except HcrmError as error:
            told.append(error.code)

    with open_work(database, actor=system_actor("a"), clock=clock) as work:
        change_field(work, seen=0, code="employer", title="所在单位")
        other = Thread(target=add_another)
        other.start()
        while database.main.dialect.name == "postgresql" and other.is_alive():
            with database.main.connect() as connection:
                if connection.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
                    break  # it waits for us with what it has read
    other.join()

    assert told == ["field.defined"]
    assert write(lambda work: published_fields(work).by_code["employer"].title) == "所在单位"
