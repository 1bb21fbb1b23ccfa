"""`hcrm directory load`: the hospital's own list of departments and staff."""

import pytest
import sqlalchemy as sa

from hcrm.core.actor import system_actor
from hcrm.core.work import open_work
from hcrm.directory.models import Department, Practitioner
from tests.hcrm.cli.test_account import hcrm
from tests.support.console import cheap_passwords

__all__ = ["cheap_passwords", "hcrm"]

HEAD = "kind,code,name,specialty,title,department,is_head\n"
STAFF = (
    HEAD + "practitioner,1001,沈怀仁,,主任医师,K01,是\n"
    "department,K01,心血管内科,03.04,,,\npractitioner,1002,李国维,,,K01,\n"
)


@pytest.fixture
def load(hcrm, tmp_path):
    """Load a text as a file; the result of the command."""

    def run(text, charset="utf-8"):
        path = tmp_path / "staff.csv"
        path.write_bytes(text.encode(charset))
        return hcrm("directory", "load", str(path))

    return run


@pytest.fixture
def names(database):
    """Every name of the directory by its code, and the code of the department's head."""

    def read():
        with open_work(database, actor=system_actor("test"), write=False) as work:
            staff = {one.id: one for one in work.session.scalars(sa.select(Practitioner))}
            rows = work.session.scalars(sa.select(Department)).all()
            held = {one.code: one.name for one in (*rows, *staff.values())}
            return held, [staff[one.head_id].code for one in rows if one.head_id]

    return read


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_list_names_what_is_known_by_its_code_only(hcrm, load, names, charset):
    hcrm("account", "add", "li", "--role", "physician", "--department", "K01", "--practitioner", "1002")

    result = load(STAFF, charset)

    assert result.exit_code == 0
    assert result.output.startswith("已载入科室 1 个、医师 2 名\n新增 1 条，改动 2 条，未变 0 条")
    assert load(STAFF, charset).exit_code == 0
    assert names() == ({"K01": "心血管内科", "1001": "沈怀仁", "1002": "李国维"}, ["1001"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("practitioner,1003,王,,,K09,\n", "第 5 行：文件中没有科室 K09"),
        ("nurse,1003,王,,,K01,\n", "第 5 行：kind 请从列出的选项中选择"),
        ("department,,外科,,,,\n", "第 5 行：code 此项必填"),
        ("department,K01,外科,,,,\n", "第 5 行：K01 重复"),
        ("department,K02,外科,,,,,more\n", "第 5 行：多于表头的列"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_loaded(load, names, line, said):
    result = load(STAFF + line)

    assert result.exit_code == 1
    assert said in result.output
    assert names() == ({}, [])


def test_a_file_without_the_columns_is_refused(load):
    assert "第 2 行：kind" in load("a,b\n1,2\n").output
