"""What a form may say of a shift on duty and of a clinic, and what is refused."""

from collections.abc import Iterable
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import AfterValidator, Field, field_validator

from hcrm.core.cells import CellError, clock_in
from hcrm.core.errors import HcrmError
from hcrm.core.inputs import Blank, Day, Input, OptionalText
from hcrm.core.work import Work
from hcrm.directory.entries import EntryKind, Values
from hcrm.directory.models import Campus, Department, Practitioner
from hcrm.directory.roster_models import ClinicType, DutyShift, ScheduleSlot, Session

MOST_PATIENTS = 999
SHIFT_LENGTH = 20


def _clock(value: str) -> str:
    try:
        return clock_in(value)
    except CellError as error:
        raise ValueError(str(error)) from None


Clock = Annotated[str, Field(min_length=1, max_length=20), AfterValidator(_clock)]
Key = Annotated[str, Field(min_length=1, max_length=32)]


class DutyInput(Input):
    """A shift on duty as a form gives it."""

    department_id: OptionalText = None
    campus_id: OptionalText = None
    day: Day
    shift: Annotated[str, Field(min_length=1, max_length=SHIFT_LENGTH)]
    starts: Clock
    ends: Clock
    practitioner_id: Key
    phone: Annotated[Annotated[str, Field(max_length=40)] | None, Blank] = None
    is_active: bool = False

    @field_validator("phone")
    @classmethod
    def _phone(cls, value: str | None) -> str | None:
        return checked_phone(value)


class ScheduleInput(Input):
    """A clinic as a form gives it."""

    practitioner_id: Key
    department_id: Key
    campus_id: OptionalText = None
    day: Day
    session: Session
    clinic_type: ClinicType
    capacity: Annotated[int, Field(ge=0, le=MOST_PATIENTS)]
    is_stopped: bool = False
    note: Annotated[Annotated[str, Field(max_length=200)] | None, Blank] = None


def checked_phone(value: str | None) -> str | None:
    """A phone, an extension or a short number, as staff write them."""
    if value and not all(c.isdigit() or c in "-+()（） 转,、/" for c in value):
        raise ValueError("电话只写数字、横线和“转”")
    return value


def lock_staff(work: Work, practitioner_ids: Iterable[str]) -> None:
    """Let nobody else enter shifts or clinics of these people until the work ends; what stands is read after it.

    Two who enter the same shift at the same moment do it one after the other, and the second is told.
    """
    ids = sorted(set(practitioner_ids))
    people = sa.select(Practitioner.id).where(work.among(Practitioner.id, ids)).order_by(Practitioner.id)
    work.execute(people.with_for_update(key_share=True)).all()


def _check_duty(work: Work, key: str | None, values: Values) -> None:
    if not values.get("department_id") and not values.get("campus_id"):
        raise HcrmError("roster.where", "请选择科室；全院或院区总值班请选择院区", field="department_id")
    _check_places(work, values)
    lock_staff(work, [values["practitioner_id"]])
    same = sa.select(DutyShift.id).where(
        DutyShift.day == values["day"], DutyShift.shift == values["shift"], DutyShift.is_active,
        DutyShift.practitioner_id == values["practitioner_id"], DutyShift.department_id == values["department_id"],
        DutyShift.campus_id == values["campus_id"],
    )  # fmt: skip
    if values["is_active"] and set(work.scalars(same)) - {key}:
        raise HcrmError("roster.repeated", "这一天的这个班次已排了此人", field="practitioner_id")


def _check_schedule(work: Work, key: str | None, values: Values) -> None:
    _check_places(work, values)
    lock_staff(work, [values["practitioner_id"]])
    same = sa.select(ScheduleSlot.id).where(
        ScheduleSlot.practitioner_id == values["practitioner_id"], ScheduleSlot.day == values["day"],
        ScheduleSlot.session == values["session"], ScheduleSlot.department_id == values["department_id"],
        ScheduleSlot.campus_id == values["campus_id"],
    )  # fmt: skip
    if set(work.scalars(same)) - {key}:
        raise HcrmError("roster.repeated", "这位医师这半天在这个科室已有出诊", field="session")


def _check_places(work: Work, values: Values) -> None:
    models: tuple[tuple[str, Any, str], ...] = (
        ("department_id", Department, "没有这个科室"), ("campus_id", Campus, "没有这个院区"),
        ("practitioner_id", Practitioner, "没有这个人员"),
    )  # fmt: skip
    for field, model, words in models:
        key = values.get(field)
        if key and work.scalar(sa.select(model.id).where(model.id == key)) is None:
            raise HcrmError("directory.reference", words, field=field)


DUTY = EntryKind(
    "duty", "值班", DutyShift, DutyInput,
    {"day": "日期", "shift": "班次", "starts": "开始", "ends": "结束", "department_id": "科室", "campus_id": "院区",
     "practitioner_id": "人员", "phone": "值班电话", "is_active": "有效"},
    _check_duty, fixed=(),
)  # fmt: skip
SCHEDULE = EntryKind(
    "schedule", "出诊", ScheduleSlot, ScheduleInput,
    {"day": "日期", "session": "时段", "practitioner_id": "医师", "department_id": "科室", "campus_id": "院区",
     "clinic_type": "号别", "capacity": "号数", "is_stopped": "停诊", "note": "说明"},
    _check_schedule, fixed=(), words={one.value: one.label for one in (*Session, *ClinicType)},
)  # fmt: skip
