"""Input as pydantic models: every mistake in Chinese at its field, no value repeated."""

from datetime import date
from typing import Annotated

import pytest
from pydantic import Field

from hcrm.core.db import LabelledEnum
from hcrm.core.errors import InvalidInput
from hcrm.core.inputs import Blank, Day, Input, OptionalText, read_input


class Colour(LabelledEnum):
    RED = "red", "红"


class Form(Input):
    name: str = Field(min_length=1, max_length=5)
    age: int = Field(ge=0, le=150)
    colour: Colour = Colour.RED
    on: Annotated[date | None, Blank] = None
    day: Annotated[Day | None, Blank] = None
    note: OptionalText = None


GOOD = {"name": " 张三 ", "age": "56", "on": "", "note": " "}


def test_what_was_typed_becomes_typed_values():
    form = read_input(Form, GOOD)

    assert (form.name, form.age, form.on, form.note) == ("张三", 56, None, None)


@pytest.mark.parametrize(
    ("change", "field", "sentence"),
    [
        ({"name": "  "}, "name", "此项必填"),
        ({"name": "张三李四王五"}, "name", "最多 5 个字"),
        ({"age": "很大"}, "age", "请填整数"),
        ({"age": "-1"}, "age", "不能小于 0"),
        ({"age": "151"}, "age", "不能大于 150"),
        ({"colour": "blue"}, "colour", "请从列出的选项中选择"),
        ({"on": "2026-13-01"}, "on", "请填日期，例如 2026-11-22"),
        ({"day": "0001-01-01"}, "day", "请填日期，例如 2026-11-22"),
        ({"day": "9999-12-31"}, "day", "请填日期，例如 2026-11-22"),
        ({"role": "admin"}, "role", "不认识的字段"),
    ],
)
def test_a_mistake_is_a_sentence_at_its_field(change, field, sentence):
    with pytest.raises(InvalidInput) as caught:
        read_input(Form, GOOD | change)

    assert caught.value.errors == {field: sentence}
    assert caught.value.status == 422


def test_every_mistake_is_said_at_once_and_no_value_is_repeated():
    with pytest.raises(InvalidInput) as caught:
        read_input(Form, {"name": "x" * 40, "age": "110101196603071238"})

    assert set(caught.value.errors) == {"name", "age"}
    assert "110101" not in f"{caught.value.errors}{caught.value}{caught.value.__cause__}"
