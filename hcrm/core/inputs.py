"""Input of forms and APIs: pydantic models, every mistake said at once, in Chinese, at its field."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from hcrm.core.errors import InvalidInput


class Input(BaseModel):
    """What a request may say. A field nobody declared is refused (C52); text loses the blanks around it."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


def _none_when_empty(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


Blank = BeforeValidator(_none_when_empty)
"""For optional fields of a form, which sends an empty text for what was not filled: `Annotated[date | None, Blank]`.

Limits stand inside, with the type they limit (`Annotated[Annotated[int, Field(ge=0)] | None, Blank]`): outside they
would be asked of nothing too.
"""

OptionalText = Annotated[str | None, Blank]


_YEARS = range(1850, 2201)


def _day_with_bounds(value: date) -> date:
    if value.year not in _YEARS:
        raise PydanticCustomError("date_out_of_range", "no such day")
    return value


Day = Annotated[date, AfterValidator(_day_with_bounds)]
"""A day whose moments, week or neighbours are looked for: not near the ends of the calendar, which have none."""

AnyInput = TypeVar("AnyInput", bound=BaseModel)


def read_input(model: type[AnyInput], values: Mapping[str, Any]) -> AnyInput:
    """The input as its model; `InvalidInput` with a sentence per field otherwise. No value is repeated in it."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InvalidInput(input_errors(error)) from None  # the cause would carry what was typed into a log


def input_errors(error: ValidationError) -> dict[str, str]:
    """Field to sentence, the first one of each field."""
    sentences: dict[str, str] = {}
    for detail in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in detail["loc"]) or "form"
        sentences.setdefault(name, _sentence(detail))
    return sentences


def _sentence(detail: Any) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in ("value_error", "assertion_error"):
        return str(context["error"])
    if kind == "string_too_short" and context["min_length"] > 1:
        return f"至少 {context['min_length']} 个字"
    if kind == "string_too_long":
        return f"最多 {context['max_length']} 个字"
    if kind in _BOUNDS:
        return f"{_BOUNDS[kind]} {next(iter(context.values()))}"
    return _SENTENCES.get(kind) or _FAMILIES.get(kind.partition("_")[0], "填写有误")


_BOUNDS = {
    "greater_than_equal": "不能小于",
    "less_than_equal": "不能大于",
    "greater_than": "应大于",
    "less_than": "应小于",
}
_SENTENCES = {
    "missing": "此项必填",
    "string_type": "此项必填",
    "string_too_short": "此项必填",
    "extra_forbidden": "不认识的字段",
    "enum": "请从列出的选项中选择",
    "literal_error": "请从列出的选项中选择",
    "string_pattern_mismatch": "格式不对",
}
_FAMILIES = {  # by the first word of pydantic's type: int_parsing, date_from_datetime_parsing
    "int": "请填整数",
    "decimal": "请填数字",
    "float": "请填数字",
    "date": "请填日期，例如 2026-11-22",
    "datetime": "请填日期和时间",
    "time": "请填时间，例如 15:30",
    "bool": "请选“是”或“否”",
}
