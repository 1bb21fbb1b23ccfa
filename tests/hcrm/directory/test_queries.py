"""Reading the directory: regions as they are written, departments in scope."""

import pytest

from hcrm.core.actor import system_actor
from hcrm.core.paths import config_path
from hcrm.core.work import open_work
from hcrm.directory.queries import list_departments, region_names
from hcrm.directory.service import load_regions
from tests.support.builders import actor_of, make_department, make_practitioner


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("330106", "浙江省杭州市西湖区"),
        ("110105", "北京市朝阳区"),
        ("429004", "湖北省仙桃市"),
        ("330000", "浙江省"),
    ],
)
def test_a_region_is_written_as_on_a_letter(work, code, name):
    load_regions(work, config_path("regions.csv"))

    assert region_names(work, [code]) == {code: name}


def test_a_code_nobody_knows_has_no_name(work):
    assert region_names(work, ["999999", None]) == {}


def test_a_person_of_a_department_chooses_among_their_own(database, clock):
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        own, _ = make_department(work, name="心内科"), make_department(work, name="外科")
        actor = actor_of(make_practitioner(work, department=own), own)
        everything = [row.name for row in list_departments(work)]
    with open_work(database, actor=actor, clock=clock, write=False) as work:
        assert [row.name for row in list_departments(work)] == ["心内科"]
    assert sorted(everything) == ["外科", "心内科"]
