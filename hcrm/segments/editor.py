"""The form of a segment: what was typed becomes a filter, also while it is unfinished."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as default
from typing import Any

from werkzeug.datastructures import MultiDict

from hcrm.core import limits
from hcrm.core.inputs import read_input
from hcrm.core.segment import Operator, values_wanted
from hcrm.segments.columns import DEFAULT_COLUMNS, DEFAULT_SORT
from hcrm.segments.filters import Fields, Group, Line, Match, SegmentFilter
from hcrm.segments.models import Segment
from hcrm.segments.service import SegmentInput

_PLACE = re.compile(r"g(\d{1,2})(?:-(\d{1,2}))?-(match|field|operator|value)")
_ACT = re.compile(r"(add-line|add-group|remove-line|remove-group)(?:-(\d{1,2}))?(?:-(\d{1,2}))?")


@dataclass(slots=True)
class DraftLine:
    """A line as it stands in the form."""

    field: str = ""
    operator: str = ""
    values: list[str] = default(default_factory=list)


@dataclass(slots=True)
class DraftGroup:
    """A group as it stands in the form."""

    match: str = Match.ALL
    lines: list[DraftLine] = default(default_factory=list)


@dataclass(slots=True)
class Draft:
    """The whole form. `incomplete` lines are left out of the count while one is typing."""

    name: str = ""
    note: str = ""
    match: str = Match.ALL
    groups: list[DraftGroup] = default(default_factory=list)
    columns: list[str] = default(default_factory=lambda: list(DEFAULT_COLUMNS))
    sort: str = DEFAULT_SORT
    scope: str = "own"
    department_id: str = ""
    default_for: str = ""
    version: int = 0


def draft_of(segment: Segment) -> Draft:
    """The form of a saved segment."""
    wanted = SegmentFilter.model_validate(segment.filter)
    groups = [
        DraftGroup(
            group.match, [DraftLine(line.field, line.operator, list(line.values)) for line in group.lines]
        )
        for group in wanted.groups
    ]
    return Draft(
        segment.name, segment.note, wanted.match, groups, list(segment.columns), segment.sort, segment.scope.value,
        segment.department_id or "", segment.default_for or "", segment.version,
    )  # fmt: skip


def read_draft(form: MultiDict[str, str]) -> Draft:
    """What the form says, and what its add and remove buttons ask for."""
    draft = Draft(
        name=form.get("name", ""), note=form.get("note", ""), match=form.get("match", Match.ALL),
        columns=form.getlist("columns"), sort=form.get("sort", DEFAULT_SORT), scope=form.get("scope", "own"),
        department_id=form.get("department_id", ""), default_for=form.get("default_for", ""),
        version=int(version) if (version := form.get("version", "")).isdigit() and len(version) < 9 else 0,
    )  # fmt: skip
    groups: dict[int, DraftGroup] = {}
    lines: dict[tuple[int, int], DraftLine] = {}
    for name in form:
        found = _PLACE.fullmatch(name)
        if found is None:
            continue
        group, line, what = int(found[1]), found[2], found[3]
        at = groups.setdefault(group, DraftGroup())
        if line is None:
            at.match = form[name]
        else:
            _put(lines.setdefault((group, int(line)), DraftLine()), what, form.getlist(name))
    for (group, _), line_ in sorted(lines.items()):
        groups[group].lines.append(line_)
    draft.groups = [groups[place] for place in sorted(groups)]
    _act(draft, form.get("act", ""))
    return draft


def settle(draft: Draft, fields: Fields) -> Draft:
    """Let every line have an operator its field knows, and no values of another kind of question."""
    for group in draft.groups:
        for line in group.lines:
            known = fields.get(line.field)
            if known is None:
                line.field, line.operator, line.values = "", "", []
            elif line.operator not in [each.value for each in known.operators]:
                line.operator, line.values = known.operators[0].value, []
    return draft


def filter_of_draft(draft: Draft, *, complete_only: bool) -> SegmentFilter:
    """The filter; lines without a field, or still without their value, are left out while one is typing."""
    groups = []
    for group in draft.groups:
        lines = [
            Line(field=line.field, operator=Operator(line.operator), values=tuple(line.values))
            for line in group.lines
            if line.field and not (complete_only and _is_unfinished(line))
        ]
        groups.append(Group(match=_match(group.match), lines=tuple(lines)))
    joined = Match.ANY if draft.match == Match.ANY else Match.ALL
    return SegmentFilter(match=joined, groups=tuple(groups))


def read_entered(draft: Draft) -> SegmentInput:
    """What is saved."""
    values: Mapping[str, Any] = {
        "name": draft.name, "note": draft.note,
        "filter": filter_of_draft(draft, complete_only=False).model_dump(mode="json"),
        "columns": draft.columns or list(DEFAULT_COLUMNS), "sort": draft.sort, "scope": draft.scope,
        "department_id": draft.department_id, "default_for": draft.default_for,
    }  # fmt: skip
    return read_input(SegmentInput, values)


def _put(line: DraftLine, what: str, values: Sequence[str]) -> None:
    if what == "field":
        line.field = values[0]
    elif what == "operator":
        line.operator = values[0]
    else:
        line.values = [value for value in values if value.strip()]


def _act(draft: Draft, act: str) -> None:
    found = _ACT.fullmatch(act)
    if not draft.groups:
        draft.groups.append(DraftGroup(lines=[DraftLine()]))
    if found is None:
        return
    group, line = (int(part) if part else 0 for part in (found[2], found[3]))
    if found[1] == "add-group" and len(draft.groups) < limits.SEGMENT_GROUPS:
        draft.groups.append(DraftGroup(lines=[DraftLine()]))
    elif found[1] == "add-line" and group < len(draft.groups):
        if len(draft.groups[group].lines) < limits.SEGMENT_LINES:
            draft.groups[group].lines.append(DraftLine())
    elif found[1] == "remove-line" and group < len(draft.groups) and line < len(draft.groups[group].lines):
        draft.groups[group].lines.pop(line)
    elif found[1] == "remove-group" and group < len(draft.groups):
        draft.groups.pop(group)


def _match(word: str) -> Match:
    return Match(word) if word in Match.__members__.values() else Match.ALL


def _is_unfinished(line: DraftLine) -> bool:
    wanted = values_wanted(Operator(line.operator))
    if wanted == "none":
        return False
    return len(line.values) < (2 if wanted == "two_numbers" else 1)
