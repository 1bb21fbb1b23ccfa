"""Fields of the archive from a file: the hospital's own ones too."""

from typing import Any

import pytest

from hcrm.archive.fields.admin import add_field, own_fields
from hcrm.archive.fields.definition import FieldType
from hcrm.archive.fields.models import PatientFieldValue
from hcrm.archive.fields.service import set_field
from hcrm.core.actor import Actor
from hcrm.core.errors import InvalidInput
from hcrm.core.work import Work
from tests.hcrm.exchange.test_patients_import import known_patient
from tests.support.builders import publish_fields
from tests.support.importing import Intake, csv_file

HEAD = ("病案号", "姓名", "工作单位", "血型", "上次体检日期", "家族史", "方便联系的时间")


def with_own_fields(work: Work) -> None:
    publish_fields(work)
    plain: dict[str, Any] = {
        "group": "本院", "hint": "", "unit": "", "is_many": False, "asks_date": False,
        "goes_stale_after_days": None, "in_header": False,
    }  # fmt: skip
    add_field(
        work,
        seen=own_fields(work).version,
        title="血型",
        kind=FieldType.CHOICE,
        options=["A 型", "B 型"],
        **plain,
    )
    add_field(
        work, seen=own_fields(work).version, title="上次体检日期", kind=FieldType.DATE, options=(), **plain
    )


def standing(intake: Intake) -> set[str]:
    rows = intake.work(lambda work: work.all(PatientFieldValue, PatientFieldValue.ended_at.is_(None)))
    return {row.value for row in rows}


def test_own_fields_are_columns_like_any_other_and_go_back_as_they_came(intake: Intake) -> None:
    intake.work(with_own_fields)
    patient = intake.work(known_patient)
    intake.work(lambda work: set_field(work, patient_id=patient.id, field_code="employer", values=["旧厂"]))
    before = intake.dump()

    run = intake.take_in(
        "patients",
        csv_file(
            HEAD,
            ("1001", "张三", "新厂", "A 型", "46348", "父亲 高血压", "上午、晚上"),
            ("1002", "李四", "", "AB 型", "", "", ""),
            ("1003", "王五", "", "", "昨天", "", "半夜"),
        ),
    )  # fmt: skip

    assert run.counts == {"changed": 1, "wrong": 2, "written": 1, "moved": 0}
    values = standing(intake)
    assert {"新厂", "2026-11-22", "父亲 高血压", "morning", "evening"} < values
    assert len(values) == 6
    assert "旧厂" not in values
    reasons = intake.reasons(run.id)
    assert reasons[3][0][1] == "只能填：A 型、B 型"
    assert reasons[4][0][1] == "日期无法识别，请写成 2026-11-22"
    again = intake.check("patients", csv_file(HEAD[:3], ("1001", "张三", "新厂")))
    assert again.counts == {"same": 1}
    intake.revert(run.id)
    assert intake.dump() == before


def test_a_field_is_no_column_for_whom_its_editing_is_not_allowed(intake: Intake) -> None:
    intake.work(with_own_fields)
    intake.actor = Actor(
        id="clerk", name="录入员", permissions=frozenset({"data.import"}), department_ids=None
    )
    run_id = intake.upload("patients", csv_file(HEAD[:3], ("1", "甲", "某厂")))

    with pytest.raises(InvalidInput) as refusal:
        intake.choose(run_id)

    assert refusal.value.errors == {"column-field_employer": "您没有填写这一项的权限"}
