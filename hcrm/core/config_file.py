"""What people write for HCRM to read: YAML read strictly, every mistake said in Chinese with its line and field.

One place for sources, destinations, settings, roles and definitions: an unknown field, a key written twice, a value of
the wrong kind is refused instead of being ignored, and no sentence repeats a value, which may be a secret.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ValidationError

from hcrm.core.clock import zone_named
from hcrm.core.errors import HcrmError

AnyModel = TypeVar("AnyModel", bound=BaseModel)
Refuse = Callable[[str], HcrmError]
"""Makes the refusal of a sentence: the name of the file before it, and a code."""

_NOT_YAML: Final = "YAML 写法有误"
_SENTENCES: Final = {
    "string_type": "应为文字，像数字或 yes、no 的文字请加引号",
    "string_pattern_mismatch": "只能用小写字母、数字和下划线，字母开头",
    "string_too_short": "不能为空",
    "too_short": "不能为空",
    "bool_type": "应为 true 或 false",
    "bool_parsing": "应为 true 或 false",
    "tuple_type": "应为列表",
    "list_type": "应为列表",
    "dict_type": "应为若干“名称: 值”",
    "model_type": "应为若干“名称: 值”",
    "model_attributes_type": "应为若干“名称: 值”",
    "path_type": "应为路径",
    "timezone_aware": "须写明时区，如 2026-12-01T00:00:00+08:00",
}
_FAMILIES: Final = {  # by the first word of pydantic's type: int_parsing, date_from_datetime_parsing
    "int": "应为整数", "float": "应为数字", "decimal": "应为数字", "finite": "应为数字",
    "date": "应为日期，如 2026-12-01", "datetime": "应为日期和时间，如 2026-12-01T00:00:00+08:00",
    "time": "应为时间，如 06:30", "ip": "应为地址或网段，如 10.1.0.0/16",
}  # fmt: skip
_BOUNDS: Final = {
    "greater_than_equal": ("不能小于", "ge"), "less_than_equal": ("不能大于", "le"),
    "greater_than": ("应大于", "gt"), "less_than": ("应小于", "lt"),
}  # fmt: skip


def checked_charset(value: str) -> str:
    """The name itself; ValueError with a sentence where nothing can be read by it."""
    try:
        "".encode(value)
    except (LookupError, ValueError):
        raise ValueError(f"不认识的字符集 {value}，可写 utf-8、gb18030、gbk、big5 等") from None
    return value


def _checked_zone(value: str) -> str:
    try:
        zone_named(value)
    except HcrmError:
        raise ValueError(f"没有这个时区：{value or '（空）'}，应写作 Asia/Shanghai") from None
    return value


Charset = Annotated[str, AfterValidator(checked_charset)]
"""The name of a charset that can be read."""
Zone = Annotated[str, AfterValidator(_checked_zone)]
"""The name of a time zone; an empty or unknown one is refused, never replaced (C44)."""


def read_config_file(model: type[AnyModel], path: Path, refuse: Refuse) -> AnyModel:
    """One file, with or without a byte order mark."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse("须以 UTF-8 编码保存") from error
    except OSError as error:
        raise refuse("无法读取，请核对权限") from error
    return read_config(model, text, refuse)


def read_config(model: type[AnyModel], text: str, refuse: Refuse) -> AnyModel:
    """The model of a YAML text; every mistake at once, each with its line."""
    node, data = _read_yaml(text, refuse)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        sentences = dict.fromkeys(_sentence(node, detail) for detail in _details(error))
        raise refuse("；".join(sentences)) from error


def mistakes_of(error: ValidationError) -> str:
    """Mistakes of what stands in no YAML file (settings): field and sentence, several joined."""
    return "；".join(
        dict.fromkeys(f"{'.'.join(map(str, each['loc']))}：{_problem(each)}" for each in _details(error))
    )


def _details(error: ValidationError) -> list[Any]:
    return list(error.errors(include_url=False, include_input=False))


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice; PyYAML alone keeps the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        repeated = next((key for key, count in keys.items() if count > 1), None)
        if repeated is not None:
            raise _RepeatedKey(problem=f"“{repeated}”写了两次", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep=deep)


class _RepeatedKey(yaml.MarkedYAMLError):
    """Its problem is already a sentence for people."""


def _read_yaml(text: str, refuse: Refuse) -> tuple[yaml.Node | None, Any]:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return node, loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        line = f"第 {error.problem_mark.line + 1} 行：" if error.problem_mark else ""
        problem = error.problem if isinstance(error, _RepeatedKey) else f"{_NOT_YAML}，请检查缩进、冒号和引号"
        raise refuse(f"{line}{problem}") from error
    except yaml.reader.ReaderError as error:
        number = text[: error.position].count("\n") + 1
        raise refuse(f"第 {number} 行：{_NOT_YAML}，有不能识别的字符") from error
    except (yaml.YAMLError, ValueError) as error:  # an impossible date
        raise refuse(f"{_NOT_YAML}，有不能识别的字符或日期") from error


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
    kind, context = detail["type"], detail.get("ctx", {})
    name = str(detail["loc"][-1]) if detail["loc"] else ""
    if kind in ("value_error", "assertion_error"):
        return str(context["error"])
    if kind in ("enum", "literal_error"):
        return f"只能是 {context['expected'].replace(' or ', ', ').replace(', ', '、')}"
    if kind == "missing":
        return f"缺少“{name}”"
    if kind == "extra_forbidden":
        return f"不认识“{name}”"
    if kind == "string_too_long":
        return f"最多 {context['max_length']} 个字符"
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"{words} {context.get(bound)}"
    return _SENTENCES.get(kind) or _FAMILIES.get(kind.partition("_")[0], "值不合要求")
