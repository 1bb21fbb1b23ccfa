"""The questionnaire as data: items, branching and red flags. FHIR: Questionnaire."""

from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StrictBool, StrictStr, model_validator

from hcrm.core.db import LabelledEnum
from hcrm.core.definition_file import (
    Count,
    Definition,
    DefinitionPart,
    OneOrMore,
    PartCode,
    Text,
    first_repeated,
    load_definitions,
    only_one_of,
)


class ItemType(LabelledEnum):
    """What kind of answer an item takes; `display` is a line that is read out and takes none."""

    YES_NO = "yes_no", "是否"
    NUMBER = "number", "数值"
    CHOICE = "choice", "单选"
    MULTI_CHOICE = "multi_choice", "多选"
    SCALE = "scale", "评分"
    DATE = "date", "日期"
    TEXT = "text", "文字"
    DISPLAY = "display", "提示语"


class FlagLevel(LabelledEnum):
    """How fast a red flag must be dealt with."""

    R1 = "R1", "立即处置"
    R2 = "R2", "当日处置"
    R3 = "R3", "三日内复诊"


_CHOICES = (ItemType.CHOICE, ItemType.MULTI_CHOICE)
_MEASURED = (ItemType.NUMBER, ItemType.SCALE)
_COMPARISONS = ("at_least", "above", "at_most", "below")


class Option(DefinitionPart):
    """One answer to choose from."""

    code: PartCode
    label: Text
    discreet: Text | None = Field(
        default=None, description="how it is said where the illness must not be named"
    )


class AnswerTest(DefinitionPart):
    """One question put to one answer: exactly one comparison, so that every limit is sharp."""

    item: PartCode
    is_: StrictBool | StrictStr | None = Field(default=None, alias="is")
    in_: Annotated[tuple[StrictStr, ...], OneOrMore, Field(min_length=1)] | None = Field(
        default=None, alias="in"
    )
    at_least: Decimal | None = None
    above: Decimal | None = None
    at_most: Decimal | None = None
    below: Decimal | None = None

    @model_validator(mode="after")
    def _one_comparison(self) -> Self:
        only_one_of(self, ("is_", "in_", *_COMPARISONS))
        return self

    @cached_property
    def limit(self) -> Decimal | None:
        """The number compared with, where the test compares."""
        return next((value for name in _COMPARISONS if (value := getattr(self, name)) is not None), None)

    @cached_property
    def wanted(self) -> tuple[bool | str, ...]:
        """The answers that meet the test, where it does not compare."""
        return self.in_ or (() if self.is_ is None else (self.is_,))

    def check(self, item: "Item") -> None:
        """Refuse a test that this item's answers can never meet or cannot be put to."""
        if self.limit is not None:
            if item.type not in _MEASURED:
                raise ValueError(f"“{item.code}”不是数值题，不能比较大小")
            low, high = item.bounds
            if not low <= self.limit <= high:
                raise ValueError(f"界值 {self.limit} 不在“{item.code}”的范围 {low}～{high} 之内")
        elif item.type is ItemType.YES_NO:
            if not isinstance(self.is_, bool):
                raise ValueError(f"“{item.code}”是是否题，只能写 is: true 或 is: false")
        elif item.type in _CHOICES:
            for wanted in self.wanted:
                if wanted not in item.labels:
                    raise ValueError(f"“{item.code}”没有选项“{wanted}”")
        else:
            raise ValueError(f"“{item.code}”的答案不能作为条件")


class Item(DefinitionPart):
    """One question. Its code is the FHIR linkId and never changes its meaning."""

    code: PartCode
    text: Text
    discreet: Text | None = Field(
        default=None, description="how it is asked where the family asks for silence about the illness"
    )
    type: ItemType
    label: Text | None = Field(default=None, description="short name in lists and in the evidence of a flag")
    required: StrictBool = False
    unit: Text | None = None
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    decimals: Count = 0
    options: tuple[Option, ...] = ()
    help: Text | None = None
    enable_when: AnswerTest | None = None

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        number, scale = self.type is ItemType.NUMBER, self.type is ItemType.SCALE
        if number and (self.unit is None or self.minimum is None or self.maximum is None):
            raise ValueError("数值题须写明 unit、minimum 和 maximum")
        if not number and (self.unit is not None or self.decimals):
            raise ValueError("只有数值题可以写 unit 和 decimals")
        if not number and not scale and (self.minimum is not None or self.maximum is not None):
            raise ValueError("只有数值题和评分题可以写 minimum 和 maximum")
        if number or scale:
            low, high = self.bounds
            if low >= high:
                raise ValueError("minimum 须小于 maximum")
            if any(-_exponent(bound) > self.decimals for bound in (low, high)):
                raise ValueError("minimum 和 maximum 的小数位多于 decimals")
        if (self.type in _CHOICES) != bool(self.options):
            raise ValueError("选择题须写 options，其他题不能写")
        if self.type in _CHOICES and len(self.options) < 2:
            raise ValueError("选择题至少要有两个选项")
        if (repeated := first_repeated([option.code for option in self.options])) is not None:
            raise ValueError(f"选项“{repeated}”重复")
        if self.type is ItemType.DISPLAY and self.required:
            raise ValueError("提示语不能必填")
        return self

    @cached_property
    def bounds(self) -> tuple[Decimal, Decimal]:
        """Smallest and largest answer of a number or scale (a scale runs 0 to 10 unless told otherwise)."""
        low = Decimal(0) if self.minimum is None else self.minimum
        high = Decimal(10) if self.maximum is None else self.maximum
        return low, high

    @cached_property
    def labels(self) -> dict[str, str]:
        """Option code to label."""
        return {option.code: option.label for option in self.options}

    @property
    def name(self) -> str:
        """The short name, else the question itself."""
        return self.label or self.text

    def wording(self, *, is_discreet: bool) -> str:
        """The question as the patient hears it."""
        return (self.discreet if is_discreet else None) or self.text

    def choices(self, *, is_discreet: bool) -> list[tuple[str, str]]:
        """Option codes with their words as the patient hears them."""
        return [
            (option.code, (option.discreet if is_discreet else None) or option.label)
            for option in self.options
        ]


class Flag(DefinitionPart):
    """A red flag: one condition, one level, and the sentence that says what happens now."""

    code: PartCode
    level: FlagLevel
    when: AnswerTest
    says: Text


class Questionnaire(Definition):
    """A form of one version. Answers keep the version they were given to."""

    discreet_title: Text | None = Field(
        default=None, description="what a patient reads above it where the illness must not be named"
    )
    items: Annotated[tuple[Item, ...], Field(min_length=1)]
    flags: tuple[Flag, ...] = ()

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        for kind, codes in (("题目", [i.code for i in self.items]), ("预警", [f.code for f in self.flags])):
            if (repeated := first_repeated(codes)) is not None:
                raise ValueError(f"{kind}“{repeated}”重复")
        if all(item.type is ItemType.DISPLAY for item in self.items):
            raise ValueError("没有可以回答的题目")
        earlier: dict[str, Item] = {}
        for item in self.items:
            if item.enable_when is not None:
                _check_test(item.enable_when, earlier, f"题目“{item.code}”的条件", "之前没有题目")
            earlier[item.code] = item
        for flag in self.flags:
            _check_test(flag.when, earlier, f"预警“{flag.code}”的条件", "没有题目")
        return self

    def heading(self, *, is_discreet: bool) -> str:
        """The title as the patient may read it."""
        return (self.discreet_title if is_discreet else None) or self.title

    @cached_property
    def by_code(self) -> dict[str, Item]:
        """Every item by its code."""
        return {item.code: item for item in self.items}

    @cached_property
    def questions(self) -> tuple[Item, ...]:
        """The items that take an answer."""
        return tuple(item for item in self.items if item.type is not ItemType.DISPLAY)


def load_questionnaires(directory: Path) -> dict[str, Questionnaire]:
    """Every form of a folder by its code; a wrong file is refused with its name and line."""
    return {form.code: form for form in load_definitions(Questionnaire, directory)}


def _check_test(test: AnswerTest, items: dict[str, Item], place: str, absent: str) -> None:
    item = items.get(test.item)
    if item is None:
        raise ValueError(f"{place}：{absent}“{test.item}”")
    try:
        test.check(item)
    except ValueError as error:
        raise ValueError(f"{place}：{error}") from error


def _exponent(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0
