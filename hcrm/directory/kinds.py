"""The kinds of entries of the directory: what a form may say of each, and what is refused."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import AfterValidator, Field, field_validator

from hcrm.core.errors import HcrmError
from hcrm.core.inputs import Blank, Day, Input, OptionalText
from hcrm.core.work import Work
from hcrm.directory.code_maps import CODE_KINDS, LONGEST
from hcrm.directory.entries import EntryKind, Values, require_unique
from hcrm.directory.models import Campus, CodeMap, Department, Practitioner, Region
from hcrm.directory.roster_kinds import DUTY, SCHEDULE
from hcrm.directory.specialties import specialties

_CODE = re.compile(r"[\w.\-]+")
_REGION = re.compile(r"[1-9]\d{5}", re.ASCII)
_PHONE = re.compile(r"[\d\-+()（） 转]{3,40}")


def _checked_code(value: str) -> str:
    if not _CODE.fullmatch(value):
        raise ValueError("只写字母、数字、点和横线")
    return value


def _checked_region(value: str) -> str:
    if not _REGION.fullmatch(value):
        raise ValueError("请填写六位数字，例如 330106")
    return value


def checked_specialty(value: str) -> str:
    """A code of the national list, or none."""
    if value and value not in specialties():
        raise ValueError("不在《医疗机构诊疗科目名录》中")
    return value


Code = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_checked_code)]
Name = Annotated[str, Field(min_length=1, max_length=64)]
Short = Annotated[Annotated[str, Field(max_length=200)] | None, Blank]
OptionalDay = Annotated[Day | None, Blank]


class CampusInput(Input):
    """A campus as a form gives it."""

    code: Code
    name: Name
    phone: Short = None
    sms_signature: Annotated[Annotated[str, Field(max_length=16)] | None, Blank] = None
    address: Short = None
    calendar_code: Short = None
    roster_code: Short = None
    is_active: bool = False

    @field_validator("phone")
    @classmethod
    def _phone(cls, value: str | None) -> str | None:
        if value and not _PHONE.fullmatch(value):
            raise ValueError("电话只写数字、横线和“转”")
        return value

    @field_validator("sms_signature")
    @classmethod
    def _signature(cls, value: str | None) -> str | None:
        if value and re.search(r"[【】\[\]]", value):
            raise ValueError("签名不写方括号，发送时自动加【】")
        return value


class DepartmentInput(Input):
    """A department as a form gives it."""

    code: Code
    name: Name
    specialty_code: OptionalText = None
    campus_id: OptionalText = None
    parent_id: OptionalText = None
    head_id: OptionalText = None
    is_active: bool = False

    @field_validator("specialty_code")
    @classmethod
    def _specialty(cls, value: str | None) -> str | None:
        return checked_specialty(value) if value else value


class PractitionerInput(Input):
    """A member of the staff as a form gives them."""

    code: Code
    name: Name
    title: Short = None
    department_id: OptionalText = None
    is_active: bool = False
    valid_from: OptionalDay = None
    valid_to: OptionalDay = None


class RegionInput(Input):
    """A region as a form gives it; its code is the state's."""

    code: Annotated[str, AfterValidator(_checked_region)]
    name: Name
    parent_code: OptionalText = None
    valid_from: OptionalDay = None
    valid_to: OptionalDay = None


class CodeMapInput(Input):
    """What a local code means, as a form gives it."""

    source: Name
    kind: Annotated[str, Field(min_length=1)]
    local_code: Annotated[str, Field(min_length=1, max_length=LONGEST)]
    target: Name
    valid_from: OptionalDay = None
    valid_to: OptionalDay = None
    note: Short = None


def _check_code_map(work: Work, key: str | None, values: Values) -> None:
    kind = CODE_KINDS.get(values["kind"])
    if kind is None:
        raise HcrmError("directory.code_kind", "没有这种代码", field="kind")
    if kind.words is not None and values["target"] not in kind.words:
        raise HcrmError("directory.target", "请从列出的选项中选择", field="target")
    if values["kind"] == "department":
        known = work.scalar(sa.select(Department.id).where(Department.code == values["target"]))
        if known is None:
            raise HcrmError("directory.target", "目录里没有这个科室编码", field="target")
    since, until = values.get("valid_from"), values.get("valid_to")
    _check_period(since, until)
    others = work.execute(
        sa.select(CodeMap.id, CodeMap.valid_from, CodeMap.valid_to).where(
            CodeMap.source == values["source"], CodeMap.kind == values["kind"],
            CodeMap.local_code == values["local_code"],
        )
    )  # fmt: skip
    for other in others:
        apart = (until and other.valid_from and until < other.valid_from) or (
            since and other.valid_to and other.valid_to < since
        )
        if other.id != key and not apart:
            raise HcrmError("directory.overlap", "同一代码在这段日期已有对照", field="valid_from")


def _check_campus(work: Work, key: str | None, values: Values) -> None:
    if key is None:
        require_unique(work, Campus, Campus.code, values["code"], "这个院区编码已有")


def _check_department(work: Work, key: str | None, values: Values) -> None:
    if key is None:
        require_unique(work, Department, Department.code, values["code"], "这个科室编码已有")
    _require_there(work, Campus, values.get("campus_id"), "campus_id", "没有这个院区")
    _require_there(work, Practitioner, values.get("head_id"), "head_id", "没有这个人员")
    parent_id = values.get("parent_id")
    if not parent_id:
        return
    _require_there(work, Department, parent_id, "parent_id", "没有这个科室")
    has_wards = key and work.scalar(sa.select(Department.id).where(Department.parent_id == key).limit(1))
    is_ward = work.scalar(sa.select(Department.parent_id).where(Department.id == parent_id))
    if parent_id == key or has_wards or is_ward:
        raise HcrmError(
            "directory.parent",
            "病区只能直接归属科室：上级不能是病区或自己，有下属病区的科室也不能再归属",
            field="parent_id",
        )


def _check_practitioner(work: Work, key: str | None, values: Values) -> None:
    if key is None:
        require_unique(work, Practitioner, Practitioner.code, values["code"], "这个工号已有")
    _require_there(work, Department, values.get("department_id"), "department_id", "没有这个科室")
    _check_period(values.get("valid_from"), values.get("valid_to"))


def _check_region(work: Work, key: str | None, values: Values) -> None:
    code, parent = values["code"], values.get("parent_code")
    if key is None and work.session.get(Region, code) is not None:
        raise HcrmError("directory.code_taken", "这个代码已有", field="code")
    _check_period(values.get("valid_from"), values.get("valid_to"))
    level = _region_level(values)["level"]
    above: Region | None = work.session.get(Region, parent) if parent else None
    if level == "province":
        if parent:
            raise HcrmError("directory.parent", "省级没有上级，请留空", field="parent_code")
    elif above is None or above.level == "county" or (level == "city" and above.level != "province"):
        wanted = "省级的代码，例如 330000" if level == "city" else "所属市或省的代码，例如 330100"
        raise HcrmError("directory.parent", f"请填写{wanted}", field="parent_code")


def _region_level(values: Values) -> Values:
    """By GB/T 2260: the last four, the last two digits are zero, or none."""
    code = values["code"]
    return {"level": "province" if code.endswith("0000") else "city" if code.endswith("00") else "county"}


def _check_period(since: date | None, until: date | None) -> None:
    if since and until and until < since:
        raise HcrmError("directory.period", "止日不能早于起日", field="valid_to")


def _require_there(work: Work, model: Any, key: str | None, field: str, words: str) -> None:
    if key and work.scalar(sa.select(model.id).where(model.id == key)) is None:
        raise HcrmError("directory.reference", words, field=field)


_PERIOD = {"valid_from": "起用日", "valid_to": "止用日"}
KINDS: Mapping[str, EntryKind] = {
    kind.code: kind
    for kind in (
        EntryKind(
            "campus", "院区", Campus, CampusInput,
            {"code": "编码", "name": "名称", "phone": "联系电话", "sms_signature": "短信签名", "address": "地址",
             "calendar_code": "工作日历", "roster_code": "排班表", "is_active": "在用"},
            _check_campus,
        ),
        EntryKind(
            "department", "科室", Department, DepartmentInput,
            {"code": "编码", "name": "名称", "specialty_code": "诊疗科目", "campus_id": "院区", "parent_id": "所属科室",
             "head_id": "科主任", "is_active": "在用"},
            _check_department, verifies=True,
        ),
        EntryKind(
            "practitioner", "人员", Practitioner, PractitionerInput,
            {"code": "工号", "name": "姓名", "title": "职称", "department_id": "科室", "is_active": "在岗", **_PERIOD},
            _check_practitioner, verifies=True, also={"merged_into_id": "并入"},
        ),
        EntryKind(
            "region", "行政区划", Region, RegionInput,
            {"code": "代码", "name": "名称", "parent_code": "上级代码", **_PERIOD}, _check_region,
            key="code", derived=_region_level,
        ),
        EntryKind(
            "code_map", "对照", CodeMap, CodeMapInput,
            {"source": "来源", "kind": "类别", "local_code": "来源的代码", "target": "对应", **_PERIOD, "note": "备注"},
            _check_code_map, fixed=("source", "kind", "local_code"),
        ),
        DUTY,
        SCHEDULE,
    )
}  # fmt: skip
"""By the word in the address."""
