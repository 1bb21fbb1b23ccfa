"""Definitions written as YAML: read strictly, refused with file, line and a sentence in Chinese.

A definition decides who is called and what raises an alarm, so a typing mistake must stop it from being used: an
unknown field, a key written twice or a value of the wrong kind is refused instead of being ignored.
"""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, StringConstraints, ValidationError

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
    node, data = _read_yaml(text, origin)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _refusal(origin, "；".join(_sentence(node, detail) for detail in error.errors())) from error


def load_definitions(model: type[AnyDefinition], directory: Path) -> list[AnyDefinition]:
    """Every definition of a folder, by file name; `a.b` lies in `a_b.yaml`."""
    if not directory.is_dir():
        raise _refusal(directory.name, "没有找到这个目录")
    definitions = []
    for path in sorted(path for path in directory.iterdir() if path.suffix in (".yaml", ".yml")):
        origin = f"{directory.name}/{path.name}"
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise _refusal(origin, "须以 UTF-8 编码保存") from error
        definition = parse_definition(model, text, origin)
        expected = definition.code.replace(".", "_") + ".yaml"
        if path.name != expected:
            raise _refusal(origin, f"code 是 {definition.code}，文件名应为 {expected}")
        definitions.append(definition)
    return definitions


def _refusal(origin: str, sentence: str) -> HcrmError:
    return HcrmError("definition.invalid", f"定义文件 {origin} 有误：{sentence}")


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice; PyYAML alone keeps the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        repeated = first_repeated(keys)
        if repeated is not None:
            raise _RepeatedKey(problem=f"“{repeated}”写了两次", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep=deep)


class _RepeatedKey(yaml.MarkedYAMLError):
    """Its problem is already a sentence for people."""


def _read_yaml(text: str, origin: str) -> tuple[yaml.Node | None, Any]:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return node, loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        line = f"第 {error.problem_mark.line + 1} 行" if error.problem_mark else ""
        problem = (
            error.problem if isinstance(error, _RepeatedKey) else "YAML 写法有误，请检查缩进、冒号和引号"
        )
        raise _refusal(origin, f"{line}：{problem}") from error
    except (yaml.YAMLError, ValueError) as error:  # a stray control character; an impossible date
        raise _refusal(origin, "YAML 写法有误，有不能识别的字符或日期") from error


def _sentence(root: yaml.Node | None, detail: Any) -> str:
    line, place = _place(root, detail["loc"])
    return f"第 {line} 行{'，' if place else ''}{place}：{_problem(detail)}"


def _place(node: yaml.Node | None, loc: Sequence[str | int]) -> tuple[int, str]:
    """The line of the nearest thing that stands in the file, and its path in words."""
    line = node.start_mark.line + 1 if node is not None else 1
    words: list[str] = []
    for part in loc:
        if isinstance(part, int) and isinstance(node, yaml.SequenceNode) and part < len(node.value):
            node = node.value[part]
            words.append(f"第 {part + 1} 项")
        elif isinstance(node, yaml.MappingNode) and (found := _entry(node, str(part))) is not None:
            line = found[0].start_mark.line + 1
            node = found[1]
            words.append(str(part))
            continue
        else:
            break
        line = node.start_mark.line + 1
    return line, " ".join(words)


def _entry(node: yaml.MappingNode, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next((pair for pair in node.value if pair[0].value == key), None)


def _problem(detail: Any) -> str:
    """What pydantic found, as a sentence for the person who wrote the file."""
    kind, context, name = (
        detail["type"],
        detail.get("ctx", {}),
        str(detail["loc"][-1]) if detail["loc"] else "",
    )
    if kind == "value_error":
        return str(context["error"])
    if kind in ("enum", "literal_error"):
        return f"只能是 {context['expected'].replace(' or ', ', ').replace(', ', '、')}"
    sentences = {
        "missing": f"缺少“{name}”",
        "extra_forbidden": f"不认识“{name}”",
        "string_type": "应为文字，像数字或 yes、no 的文字请加引号",
        "string_pattern_mismatch": "只能用小写字母、数字和下划线，字母开头",
        "string_too_short": "不能为空",
        "too_short": "不能为空",
        "int_type": "应为整数",
        "bool_type": "应为 true 或 false",
        "decimal_type": "应为数字",
        "decimal_parsing": "应为数字",
        "tuple_type": "应为列表",
        "model_type": "应为若干“名称: 值”",
        "greater_than_equal": f"不能小于 {context.get('ge')}",
        "less_than_equal": f"不能大于 {context.get('le')}",
    }
    return sentences.get(kind, "值不合要求")
