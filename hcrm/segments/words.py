"""A filter said in Chinese, for lists and prints."""

from collections.abc import Mapping

from hcrm.core.segment import FieldKind, Operator, SegmentField
from hcrm.core.work import Work
from hcrm.segments.filters import Fields, Group, Line, Match, SegmentFilter

_SHOWN = 4
_WITH_VALUES: Mapping[Operator, str] = {
    Operator.WITHIN_DAYS: "在近 {} 天",
    Operator.DAYS_AGO: "在 {} 天前到 {} 天前",
    Operator.BEFORE_DAYS: "在 {} 天以前",
    Operator.NEXT_DAYS: "在未来 {} 天",
    Operator.SINCE: "从 {} 起",
    Operator.UNTIL: "到 {} 止",
}


def filter_words(work: Work, wanted: SegmentFilter, fields: Fields, *, is_whole: bool = False) -> str:
    """The filter in one sentence; of many values only the first, or, for whoever must know it `is_whole`, all."""
    most = None if is_whole else _SHOWN
    groups = [_group(work, group, fields, most) for group in wanted.groups if group.lines]
    if not groups:
        return "全部患者"
    return ("；或者 " if wanted.match is Match.ANY else "；并且 ").join(groups)


def _group(work: Work, group: Group, fields: Fields, most: int | None) -> str:
    lines = [_line(work, line, fields, most) for line in group.lines]
    if group.match is Match.NONE:
        return f"不是（{'，或 '.join(lines)}）"
    return ("，或 " if group.match is Match.ANY else "，").join(lines)


def _line(work: Work, line: Line, fields: Fields, most: int | None) -> str:
    field = fields.get(line.field)
    if field is None:
        return "（您无权使用的条件）"
    if field.kind is FieldKind.YES_NO:
        return field.title if line.operator is Operator.YES else f"非“{field.title}”"
    if line.operator in _WITH_VALUES:
        values = (*line.values, "…", "…")
        return f"{field.title}{_WITH_VALUES[line.operator].format(*values)}"
    if line.operator in (Operator.IN, Operator.NOT_IN):
        return f"{field.title}{line.operator.label}{_values(work, line, field, most)}"
    if line.operator is Operator.STARTS_WITH:
        return f"{field.title}以 {'、'.join(line.values)} 开头"
    values_words = f" {'、'.join(line.values)} {field.unit}".rstrip() if line.values else ""
    return f"{field.title}{line.operator.label}{values_words}"


def _values(work: Work, line: Line, field: SegmentField, most: int | None) -> str:
    words = dict(field.choices(work)) if field.choices else {}
    shown = [words.get(value, value) for value in line.values[:most]]
    more = f"等 {len(line.values)} 项" if most is not None and len(line.values) > most else ""
    return f"“{'、'.join(shown)}”{more}"
