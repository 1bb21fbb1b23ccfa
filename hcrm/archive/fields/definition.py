"""Fields of the archive as data (档案字段): what a patient's page can hold beside what messages tell.

Two definitions of the kind `fields`: `fields` is shipped in `config/fields.yaml`, `fields_own` is what the hospital
adds, renames and retires in the console. They lie one over the other, so that a new version of one never undoes the
other. A field's type never changes and its options are never taken away: what was kept reads as it was meant.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, StringConstraints, model_validator

from hcrm.accounts.permissions import PERMISSIONS
from hcrm.archive.terms import Sex
from hcrm.core.db import LabelledEnum
from hcrm.core.definition_file import Definition, DefinitionPart, PartCode, Text, Version, first_repeated

KIND = "fields"
SHIPPED = "fields"
OWN = "fields_own"
OWN_PREFIX = "own_"
"""Codes of the hospital's own fields begin so: no shipped one will ever take such a code."""
WRITE = "field.write"

OptionCode = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]*$")]
Tone = Literal["late", "near", "info"]


class FieldType(LabelledEnum):
    """What kind of value a field takes."""

    TEXT = "text", "文字"
    CHOICE = "choice", "单选"
    MULTI_CHOICE = "multi_choice", "多选"
    DATE = "date", "日期"
    NUMBER = "number", "数字"
    YES_NO = "yes_no", "是否"


CHOICES = (FieldType.CHOICE, FieldType.MULTI_CHOICE)
YES_NO = {"yes": "是", "no": "否"}


class FieldOption(DefinitionPart):
    """One value to choose from."""

    code: OptionCode
    title: Text
    excludes_others: StrictBool = False  # 没有: beside it nothing else can be chosen
    is_retired: StrictBool = False  # no longer offered; where it was chosen it still reads so


class FieldHeader(DefinitionPart):
    """Which values stand on top of the patient's page; none named: all."""

    tone: Tone
    values: tuple[str, ...] = ()


class FieldAudience(DefinitionPart):
    """Whom a field is asked of; what nobody knows of a patient leaves none out. Ages in full years, both included."""

    sex: Literal["male", "female"] | None = None
    from_age: Annotated[int, Field(ge=0, le=150, strict=True)] | None = None
    until_age: Annotated[int, Field(ge=0, le=150, strict=True)] | None = None

    def fits(self, sex: Sex, born: date | None, today: date) -> bool:
        """Whether the field is asked of such a patient."""
        if self.sex is not None and sex in (Sex.MALE, Sex.FEMALE) and sex.value != self.sex:
            return False
        if born is None:
            return True
        years = today.year - born.year - ((today.month, today.day) < (born.month, born.day))
        return (self.from_age is None or years >= self.from_age) and (
            self.until_age is None or years <= self.until_age
        )


class PatientField(DefinitionPart):
    """One field. `needs` is the permission its editing asks for."""

    code: PartCode
    title: Text
    group: Text
    type: FieldType
    options: tuple[FieldOption, ...] = ()
    hint: str = ""
    unit: str = ""
    is_many: StrictBool = False
    asks_date: StrictBool = False
    goes_stale_after_days: Annotated[int, Field(ge=1, le=3_650, strict=True)] | None = None
    header: FieldHeader | None = None
    asked_of: FieldAudience | None = None
    needs: str = WRITE
    is_retired: StrictBool = False

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.type in CHOICES) != bool(self.options):
            raise ValueError("单选和多选须写 options，其他类型不能写")
        repeated = first_repeated([option.code for option in self.options])
        if repeated is not None:
            raise ValueError(f"选项 {repeated} 写了两次")
        if self.needs not in PERMISSIONS:
            raise ValueError(f"没有这样的权限：{self.needs}")
        if self.goes_stale_after_days and not self.asks_date:
            raise ValueError("写了 goes_stale_after_days 的字段须有 asks_date: true")
        if self.is_many and self.type not in (FieldType.TEXT, FieldType.MULTI_CHOICE):
            raise ValueError("只有文字和多选可以有多个值")
        unknown = [value for value in (self.header.values if self.header else ()) if not self._knows(value)]
        if unknown:
            raise ValueError(f"header 中没有这样的值：{'、'.join(unknown)}")
        return self

    def _knows(self, value: str) -> bool:
        if self.type is FieldType.YES_NO:
            return value in YES_NO
        return self.type in CHOICES and value in self.option_titles

    @property
    def has_several(self) -> bool:
        """Whether several values may stand at once."""
        return self.is_many or self.type is FieldType.MULTI_CHOICE

    def is_asked_of(self, sex: Sex, born: date | None, today: date) -> bool:
        """Whether it is offered for such a patient; what was kept before is shown all the same."""
        return self.asked_of is None or self.asked_of.fits(sex, born, today)

    @cached_property
    def option_titles(self) -> Mapping[str, str]:
        """Options by code, the retired ones too."""
        return {option.code: option.title for option in self.options}

    @property
    def offered(self) -> tuple[FieldOption, ...]:
        """What can be chosen now."""
        return tuple(option for option in self.options if not option.is_retired)

    def words(self, value: str) -> str:
        """A kept value as people read it."""
        if self.type in CHOICES:
            return self.option_titles.get(value, value)
        if self.type is FieldType.YES_NO:
            return YES_NO.get(value, value)
        return f"{value} {self.unit}" if self.unit else value

    def stands_in_header(self, value: str) -> bool:
        """Whether a value is shown on top of the page."""
        return self.header is not None and (not self.header.values or value in self.header.values)


class FieldsFile(Definition):
    """`config/fields.yaml`."""

    fields: tuple[PatientField, ...]

    @model_validator(mode="after")
    def _codes(self) -> Self:
        _only_once(field.code for field in self.fields)
        own = [field.code for field in self.fields if field.code.startswith(OWN_PREFIX)]
        if own:
            raise ValueError(f"{own[0]} 以 {OWN_PREFIX} 开头，这样的代码留给医院自己的字段")
        return self


class FieldChange(DefinitionPart):
    """What the hospital makes different of a shipped field."""

    code: PartCode
    title: Text | None = None
    is_retired: StrictBool = False


class OwnFieldsFile(Definition):
    """What the hospital added and changed, written by the console."""

    fields: tuple[PatientField, ...] = ()
    changes: tuple[FieldChange, ...] = ()

    @model_validator(mode="after")
    def _codes(self) -> Self:
        _only_once(field.code for field in self.fields)
        _only_once(change.code for change in self.changes)
        foreign = [field.code for field in self.fields if not field.code.startswith(OWN_PREFIX)]
        if foreign:
            raise ValueError(f"{foreign[0]} 应以 {OWN_PREFIX} 开头")
        return self


def _only_once(codes: Iterable[str]) -> None:
    repeated = first_repeated(list(codes))
    if repeated is not None:
        raise ValueError(f"字段 {repeated} 写了两次")


class Fields:
    """The fields in force: the shipped ones with the hospital's changes, then its own."""

    def __init__(self, shipped: FieldsFile | None, own: OwnFieldsFile | None) -> None:
        changes = {change.code: change for change in own.changes} if own else {}
        laid = [_changed(field, changes.get(field.code)) for field in (shipped.fields if shipped else ())]
        self.by_code: Mapping[str, PatientField] = {
            field.code: field for field in (*laid, *(own.fields if own else ()))
        }
        self.version: Version = own.version if own else 0

    @property
    def live(self) -> tuple[PatientField, ...]:
        """Those that are not retired, in their order."""
        return tuple(field for field in self.by_code.values() if not field.is_retired)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, in the order of their first field."""
        return tuple(dict.fromkeys(field.group for field in self.by_code.values()))


def _changed(field: PatientField, change: FieldChange | None) -> PatientField:
    if change is None:
        return field
    return field.model_copy(
        update={"title": change.title or field.title, "is_retired": field.is_retired or change.is_retired}
    )
