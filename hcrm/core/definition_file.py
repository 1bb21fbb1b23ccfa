"""Definitions written as YAML: read strictly, refused with file, line and a sentence in Chinese.

A definition decides who is called and what raises an alarm, so a typing mistake must stop it from being used: an
unknown field, a key written twice or a value of the wrong kind is refused instead of being ignored.
"""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, StringConstraints

from hcrm.core.config_file import read_config
from hcrm.core.db import LabelledEnum
from hcrm.core.errors import HcrmError

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Count = Annotated[int, Strict(), Field(ge=0)]
Version = Annotated[int, Strict(), Field(ge=1)]
DefinitionCode = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?$")]
PartCode = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
OneOrMore = BeforeValidator(lambda value: value if isinstance(value, list | tuple) else (value,))
"""Lets a file write `in: x` where a list of one is meant."""


class DefinitionStatus(LabelledEnum):
    """Whether the department has put its name under it."""

    DRAFT = "draft", "草案"
    SIGNED = "signed", "已签署"


class DefinitionPart(BaseModel):
    """Anything inside a definition: immutable, no unknown field."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Definition(DefinitionPart):
    """One file: protocol, form or rules of one axis. A change is a new version, never an edit in place."""

    code: DefinitionCode
    version: Version
    status: DefinitionStatus
    title: Text


AnyPart = TypeVar("AnyPart", bound=DefinitionPart)
AnyDefinition = TypeVar("AnyDefinition", bound=Definition)


def only_one_of(part: DefinitionPart, fields: Sequence[str]) -> str:
    """The one field of these that is set; none or several is a mistake of the file."""
    given = [name for name in fields if getattr(part, name) is not None]
    if len(given) != 1:
        words = "、".join(name.rstrip("_") for name in fields)
        raise ValueError(f"须在 {words} 中写且只写一个")
    return given[0]


def first_repeated(values: Sequence[Hashable]) -> Any:
    """The first value that occurs a second time, or None."""
    seen: set[Hashable] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def parse_definition(model: type[AnyPart], text: str, origin: str) -> AnyPart:
    """One definition from its YAML text; `origin` is the name that a refusal tells."""
    return read_config(model, text, lambda sentence: _refusal(origin, sentence))


def load_definitions(model: type[AnyDefinition], directory: Path) -> list[AnyDefinition]:
    """Every definition of a folder, by file name; `a.b` lies in `a_b.yaml`."""
    if not directory.is_dir():
        raise _refusal(directory.name, "没有找到这个目录")
    paths = sorted(path for path in directory.iterdir() if path.suffix in (".yaml", ".yml"))
    return [load_definition(model, path) for path in paths]


def load_definition(model: type[AnyDefinition], path: Path) -> AnyDefinition:
    """The definition of one file, which is named after its code."""
    origin = f"{path.parent.name}/{path.name}"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refusal(origin, "须以 UTF-8 编码保存") from error
    definition = parse_definition(model, text, origin)
    expected = definition.code.replace(".", "_") + ".yaml"
    if path.name != expected:
        raise _refusal(origin, f"code 是 {definition.code}，文件名应为 {expected}")
    return definition


def _refusal(origin: str, sentence: str) -> HcrmError:
    return HcrmError("definition.invalid", f"定义文件 {origin} 有误：{sentence}")
