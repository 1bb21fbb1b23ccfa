"""What people write for HCRM to read: YAML read strictly, every mistake said in Chinese with its line and field.

One place for sources, destinations, settings, roles and definitions: an unknown field, a key written twice, a value of
the wrong kind is refused instead of being ignored, and no sentence repeats a value, which may be a secret.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Callable, Hashable, Sequence
from datetime import date, datetime, time
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ValidationError
from pydantic_core import PydanticCustomError

from hcrm.core.clock import zone_named
from hcrm.core.errors import HcrmError

AnyModel = TypeVar("AnyModel", bound=BaseModel)
Refuse = Callable[[str], HcrmError]
"""Makes the refusal of a sentence: the name of the file before it, and a code."""

_NOT_YAML: Final = "YAML 写法有误"
_WIDE_COLON: Final = re.compile(r"\s*(?:- +)?[\w.^-]+：")
_WIDE_COLON_SAID: Final = "冒号是全角的“：”，请改为半角冒号加一个空格"
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
_MAX_DEPTH: Final = 50
_NUMBERS: Final = {  # by the last word of YAML's tag; without 1.1's base 60, and base 8 by a leading zero
    "int": re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0b[01_]+|0x[0-9a-fA-F_]+)\Z"),
    "float": re.compile(
        r"(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
}
_NOT_CONVERTED: Final = {
    "timestamp": "没有这样的日期或时间", "int": "不是整数，或位数过多",
    "float": "应为数字", "bool": "应为 true 或 false",
}  # fmt: skip
_BOUNDS: Final = {
    "greater_than_equal": ("不能小于", "ge"), "less_than_equal": ("不能大于", "le"),
    "greater_than": ("应大于", "gt"), "less_than": ("应小于", "lt"),
}  # fmt: skip


_ASCII: Final = "".join(map(chr, range(0x20, 0x7F))) + "\r\n"
_ESCAPES: Final = "\\u4e00\\x41\\n"
_ISO_DAY: Final = r"\d{4}-\d\d-\d\d"
_ISO: Final = {
    date: re.compile(_ISO_DAY, re.ASCII),
    datetime: re.compile(_ISO_DAY + r"(?:[Tt ]\d\d:\d\d(?::\d\d(?:\.\d+)?)? ?(?:[Zz]|[+-]\d\d:?\d\d)?)?", re.ASCII),
    time: re.compile(r"\d\d:\d\d(?::\d\d)?", re.ASCII),
}  # fmt: skip


def checked_charset(value: str) -> str:
    """The name itself; ValueError with a sentence where nothing can be read by it, or delimiters are other bytes."""
    try:
        is_usable = all(_is_kept(char, value) for char in _ASCII) and _is_kept(_ASCII + _ESCAPES, value)
    except (LookupError, ValueError):
        raise ValueError("不认识的字符集，可写 utf-8、gb18030、gbk、big5 等") from None
    if not is_usable:
        raise ValueError("不能用这个字符集：ASCII 字符在其中不是原样，分隔符无从辨认")
    return value


def _is_kept(text: str, charset: str) -> bool:
    """Whether ASCII text is the same bytes there, and the same text again."""
    raw = text.encode()
    return text.encode(charset).removeprefix(BOM_UTF8) == raw and raw.decode(charset) == text


def _checked_zone(value: str) -> str:
    try:
        zone_named(value)
    except HcrmError:
        raise ValueError("没有这个时区，应写作 Asia/Shanghai") from None
    return value


def _iso(kind: type[date] | type[time]) -> BeforeValidator:
    """ISO 8601 text, or what YAML has read as such; pydantic alone takes 20261201 for seconds since 1970."""

    def check(value: object) -> object:
        is_text = isinstance(value, str) and _ISO[kind].fullmatch(value)
        if not is_text and not isinstance(value, time if kind is time else date):
            raise PydanticCustomError(f"{kind.__name__}_type", "not ISO 8601")
        if isinstance(value, time) and value.tzinfo is not None:
            raise PydanticCustomError("time_type", "has an offset")
        return value

    return BeforeValidator(check)


Charset = Annotated[str, AfterValidator(checked_charset)]
"""The name of a charset that can be read."""
Zone = Annotated[str, AfterValidator(_checked_zone)]
"""The name of a time zone; an empty or unknown one is refused, never replaced (C44)."""
Day = Annotated[date, _iso(date)]
"""A date: 2026-12-01."""
Instant = Annotated[AwareDatetime, _iso(datetime)]
"""A moment with its offset: 2026-12-01T00:00:00+08:00."""
WallTime = Annotated[time, _iso(time)]
"""A time of every day on the hospital's clock: 06:30."""


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
        sentences = dict.fromkeys(_sentence(node, detail, model) for detail in _details(error))
        raise refuse("；".join(sentences)) from error


def mistakes_of(error: ValidationError) -> str:
    """Mistakes of what stands in no YAML file (settings): field and sentence, several joined."""
    return "；".join(
        dict.fromkeys(f"{'.'.join(map(str, each['loc']))}：{_problem(each)}" for each in _details(error))
    )


def _details(error: ValidationError) -> list[Any]:
    # The input is looked at to find what was meant, and stands in no sentence.
    found = list(error.errors(include_url=False))
    deeper = {each["loc"][: len(each["loc"]) - 1] for each in found if each["loc"]}
    # A list whose only item is wrong counts as empty too: that is no second mistake.
    return [each for each in found if each["type"] != "too_short" or each["loc"] not in deeper]


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice; PyYAML alone keeps the last one silently.

    10:30 and 0312 are text, as in YAML 1.2 (or a whole number in decimals where one is asked for): 1.1 reads the first
    to base 60, the second to base 8.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _Refused(problem=f"嵌套超过 {_MAX_DEPTH} 层", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # PyYAML's own converters: 2026-13-01, !!bool maybe, an integer of 5,000 digits
            said = _NOT_CONVERTED.get(node.tag.rpartition(":")[2], "值不合要求")
            raise _Refused(problem=said, problem_mark=node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if before := seen.get(key.value):
                raise _Refused(
                    problem=f"“{key.value}”写了两次，前一次在第 {before} 行", problem_mark=key.start_mark
                )
            seen[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, _NUMBERS.get(tag.rpartition(":")[2], pattern)) for tag, pattern in resolvers]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Refused(yaml.MarkedYAMLError):
    """Its problem is already a sentence for people."""


def _read_yaml(text: str, refuse: Refuse) -> tuple[yaml.Node | None, Any]:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return node, loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        problem = str(error.problem)
        if not isinstance(error, _Refused):
            first = error.context_mark.line + 1 if error.context_mark else line
            line, problem = _likely_cause(text, first, line)
        raise refuse(f"第 {line} 行：{problem}" if line else problem) from error
    except yaml.reader.ReaderError as error:
        number = text[: error.position].count("\n") + 1
        raise refuse(f"第 {number} 行：{_NOT_YAML}，有不能识别的字符") from error
    except yaml.YAMLError as error:
        raise refuse(_NOT_YAML) from error


def _likely_cause(text: str, first: int, last: int) -> tuple[int, str]:
    """What stands between two lines that YAML cannot be made of; PyYAML often notices it a line later."""
    lines = text.splitlines()
    for number in range(min(first, last), last + 1):
        line = lines[number - 1] if number <= len(lines) else ""
        if "\t" in line.partition("#")[0]:
            return number, "有制表符（Tab），缩进和间隔请改用空格"
        if _WIDE_COLON.match(line):
            return number, _WIDE_COLON_SAID
    return last, f"{_NOT_YAML}，请检查缩进、冒号和引号"


def _sentence(root: yaml.Node | None, detail: Any, model: type[BaseModel]) -> str:
    line, place = _place(root, detail["loc"])
    if said := _colon_problem(detail):
        place = re.split("[：:]", place)[0].strip()  # behind it stands a value
    said = said or _problem(detail) + _meant(detail, model)
    return f"第 {line} 行{'，' if place else ''}{place}：{said}"


def _colon_problem(detail: Any) -> str:
    """`{BLH：record}` and `{BLH:record}` are one word to YAML, with nothing behind it."""
    name = next((part for part in reversed(detail["loc"]) if isinstance(part, str) and part != "[key]"), "")
    sent = detail.get("input")
    is_text = isinstance(sent, str) and _is_whole(detail)
    if (sent is None and "：" in name) or (is_text and _WIDE_COLON.match(sent)):
        return _WIDE_COLON_SAID
    if sent is None and re.search(r":\S", name):
        return "冒号后缺少空格"
    return ""


def _is_whole(detail: Any) -> bool:
    """Whether names with values were expected, and a text was found."""
    return detail["type"] in ("dict_type", "model_type", "model_attributes_type")


def _meant(detail: Any, model: type[BaseModel]) -> str:
    """The known word nearest to the one that was written."""
    if detail["type"] == "extra_forbidden":
        word, known = str(detail["loc"][-1]), _names_beside(model, detail["loc"])
    elif detail["type"] in ("enum", "literal_error"):
        word, known = str(detail.get("input")), _choices(detail)
    else:
        return ""
    near = get_close_matches(word.lower(), known, n=1, cutoff=0.7)
    return f"，是否想写 {near[0]}？" if near else ""


def _names_beside(annotation: Any, loc: Sequence[str | int]) -> list[str]:
    """Names a model has where something unknown stands."""
    for part in loc[:-1]:
        model = _model_in(annotation)
        if model is None:
            annotation = next(reversed(get_args(annotation)), None)  # what a table or list holds
        else:
            field = model.model_fields.get(str(part))
            annotation = field.annotation if field else None
    model = _model_in(annotation)
    return list(model.model_fields) if model else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType):
        return next(filter(None, map(_model_in, get_args(annotation))), None)
    return None


def _choices(detail: Any) -> list[str]:
    text = str(detail["ctx"]["expected"]).replace(" or ", ", ")
    return [word.strip("'") for word in text.split(", ")]


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
        return f"只能是 {'、'.join(_choices(detail))}"
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
