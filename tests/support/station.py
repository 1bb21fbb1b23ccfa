"""A department with work to do: a physician, a head, the centre, and patients whose follow-up is due."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from hcrm.accounts.models import Account
from hcrm.archive.models import ContactPoint
from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock, local_date
from hcrm.core.db import Database
from hcrm.core.work import Work, open_work
from hcrm.directory.models import Department, Practitioner
from tests.support.builders import (
    SOURCE,
    make_department,
    make_encounter,
    make_instruction,
    make_patient,
    make_practitioner,
    publish_form,
    publish_protocol,
)

PHONE = "13800138000"


@dataclass(frozen=True, slots=True)
class Ward:
    """The keys of what was made."""

    department_id: str
    first: str  # instruction of 张建国, overdue
    second: str  # instruction of 李秀英, due today


@pytest.fixture
def ward(
    database: Database, clock: FixedClock, make_person: Callable[..., Account], cheap_passwords: None
) -> Ward:
    """Physician `li`, head `zhao`, centre `wang`, stranger `qian` of another department; two patients are due."""
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        department = make_department(work, name="心内科")
        other = make_department(work, name="外科")
        for name, home in (("李大夫", department), ("赵主任", department), ("钱大夫", other)):
            make_practitioner(work, name=name, department=home, has_account=False)
        physician = work.one(Practitioner, Practitioner.name == "李大夫")
        publish_form(work, items=ITEMS)
        publish_protocol(work)
        today = local_date(clock.now())
        first, second = (
            _patient(work, name, department, physician, due_on=today.replace(day=today.day + shift))
            for name, shift in (("张建国", -2), ("李秀英", 0))
        )
        codes = {row.name: row.code for row in work.execute(sa.select(Practitioner.name, Practitioner.code))}
        department_id = department.id
    for username, name, roles in (
        ("li", "李大夫", ["physician"]), ("zhao", "赵主任", ["department_head"]), ("qian", "钱大夫", ["physician"]),
    ):  # fmt: skip
        make_person(username, roles, display_name=name, practitioner_code=codes[name])
    make_person("wang", ["service_centre"], display_name="王敏")
    return Ward(department_id, first, second)


ITEMS = [
    {"code": "opening", "type": "display", "text": "您好，我们是医院随访的。"},
    {"code": "pain", "text": "疼痛几分？", "label": "疼痛", "type": "scale", "required": True},
    {"code": "temperature", "text": "体温多少？", "label": "体温", "type": "number", "unit": "℃",
     "minimum": 34, "maximum": 43, "decimals": 1, "required": True},
    {"code": "wound", "text": "有伤口吗？", "type": "yes_no", "required": True},
    {"code": "pus", "text": "伤口流脓吗？", "label": "流脓", "type": "yes_no", "required": True,
     "enable_when": {"item": "wound", "is": True}},
    {"code": "drugs", "text": "带了哪些药？", "type": "multi_choice",
     "options": [{"code": "a", "label": "阿司匹林"}, {"code": "b", "label": "他汀"}]},
    {"code": "visit_on", "text": "下次复诊？", "type": "date"},
    {"code": "remark", "text": "其他", "type": "text"},
]  # fmt: skip


def _patient(work: Work, name: str, department: Department, physician: Practitioner, **values: Any) -> str:
    patient = make_patient(work, name=name)
    number = ContactPoint(
        id=work.new_id(), patient_id=patient.id, system="phone", use="mobile", rank=1,
        value_sealed=work.keys.seal_text(PHONE), value_index=patient.id, last4_index="8000",
        source=SOURCE, as_of=work.clock.now(), seq=1, ended_at=None,
    )  # fmt: skip
    work.add(number)
    encounter = make_encounter(work, patient=patient, department=department, attending=physician)
    return make_instruction(work, encounter=encounter, assignee=physician, step_code="day7", **values).id
