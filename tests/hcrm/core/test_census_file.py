"""The block `census` of a source's file: what is wrong stops the start and is named."""

from datetime import date

import pytest
from pydantic import ValidationError

from hcrm.core.channels import Census

COLUMNS = {"patient_no": "P", "visit_no": "V", "discharged_at": "D"}
FILE = {"path": "/srv/his/cy-%Y%m%d.xlsx"}
VIEW = {"url": "postgresql://u@127.0.0.1/his", "name": "V_MRDB"}


def test_a_file_is_named_by_the_day_or_the_morning_after():
    census = Census(columns=COLUMNS, file=FILE)
    assert census.file is not None
    assert str(census.file.path_of(date(2026, 11, 30))) == "/srv/his/cy-20261130.xlsx"
    morning = Census(columns=COLUMNS, file=FILE | {"names": "morning"})
    assert morning.file is not None
    assert str(morning.file.path_of(date(2026, 11, 30))) == "/srv/his/cy-20261201.xlsx"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"file": None}, "写且只写一个"),
        ({"view": VIEW}, "写且只写一个"),
        ({"columns": {"patient_no": "P", "discharged_at": "D"}}, "visit_no"),
        ({"columns": {"patient_no": "P", "visit_no": "V"}}, "admitted_at"),
        ({"columns": COLUMNS | {"changed_at": "C"}}, "changed_at"),
        ({"at": "09:00", "due": "08:00"}, "due 早于 at"),
        ({"file": {"path": "cy-%Y%m%d.xlsx"}}, "绝对路径"),
        ({"file": {"path": "/srv/his/cy-%Y%m%d.doc"}}, "绝对路径"),
        ({"file": {"path": "/srv/his/cy.xlsx"}}, "应含日期"),
        ({"file": None, "view": VIEW | {"url": "postgresql://u:secret@127.0.0.1/his"}}, "密码不写在文件里"),
        ({"file": None, "view": VIEW | {"name": "v; DROP TABLE x"}}, "表或视图的名字"),
    ],
)
def test_what_is_wrong_is_named(changes, words):
    with pytest.raises(ValidationError, match=words):
        Census.model_validate({"columns": COLUMNS, "file": FILE, **changes})
