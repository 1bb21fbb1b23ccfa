"""Fields of the archive from a file: a column for each field in force, the hospital's own among them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.batch import Row
from hcrm.archive.fields.definition import CHOICES, YES_NO, FieldType, PatientField
from hcrm.archive.fields.models import PatientFieldValue
from hcrm.archive.fields.service import published_fields
from hcrm.archive.fields.values import clean_values
from hcrm.archive.terms import BY_PEOPLE, Informant
from hcrm.core import limits
from hcrm.core.clock import local_date
from hcrm.core.db import table_of
from hcrm.core.errors import HcrmError
from hcrm.core.importing import CellKind, Change, Column, Given, Problem, Writes
from hcrm.core.work import Work

_PREFIX = "field_"
_PARTS = str.maketrans("；;，,|", "、、、、、")
_YES_NO = {"是": "yes", "否": "no", "有": "yes", "无": "no", "yes": "yes", "no": "no", "y": "yes", "n": "no",
           "1": "yes", "0": "no"}  # fmt: skip


def field_columns(work: Work) -> Sequence[Column]:
    """A column for each field in force."""
    return [_column(field) for field in published_fields(work).by_code.values() if not field.is_retired]


def _column(field: PatientField) -> Column:
    code, kind, words = f"{_PREFIX}{field.code}", CellKind.TEXT, {}
    offered = "、".join(option.title for option in field.offered)
    hint = field.hint
    if field.type is FieldType.DATE:
        kind, hint = CellKind.DAY, hint or "日期"
    elif field.type is FieldType.YES_NO:
        kind, words, hint = CellKind.WORD, _YES_NO, hint or "是、否"
    elif field.type is FieldType.CHOICE:
        kind, hint = CellKind.WORD, f"{offered} 之一"
        words = {word: option.code for option in field.offered for word in (option.title, option.code)}
    elif field.type is FieldType.MULTI_CHOICE:
        hint = f"{offered}；几项之间用顿号或逗号"
    return Column(code, field.title, hint, kind=kind, words=words, most=_most(field), needs=field.needs)


def _most(field: PatientField) -> int:
    return limits.FIELD_TEXT * (limits.FIELD_VALUES if field.type in CHOICES else 1)


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """What a row does to one field: values to come, rows they take the place of."""

    field: PatientField
    new: Sequence[str]
    over: Sequence[Row]


class FieldCells:
    """The field columns of a batch, judged against what stands."""

    def __init__(
        self, work: Work, givens: Sequence[Given], patient_ids: Collection[str], as_of: datetime
    ) -> None:
        self._work, self._as_of = work, as_of
        used = {code for given in givens for code in given.values if code.startswith(_PREFIX)}
        fields = published_fields(work).by_code if used else {}
        self._fields = {code: fields[code.removeprefix(_PREFIX)] for code in sorted(used)}
        self._standing: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
        if self._fields and patient_ids:
            table = table_of(PatientFieldValue)
            live = work.among(table.c.patient_id, patient_ids), table.c.ended_at.is_(None)
            order = table.c.created_at, table.c.id
            for row in work.execute(sa.select(table).where(*live).order_by(*order)).mappings():
                self._standing[row["patient_id"]][row["field_code"]].append(dict(row))

    def judge(
        self, given: Given, patient_id: str | None
    ) -> tuple[list[FieldPlan], list[Change], list[Problem]]:
        """What the row does to fields, as people read it, and what it cannot do."""
        plans: list[FieldPlan] = []
        changes: list[Change] = []
        problems: list[Problem] = []
        for code, field in self._fields.items():
            if (told := given.get(code)) is None:
                continue
            standing = self._standing[patient_id][field.code] if patient_id else []
            try:
                plan = _plan(field, _values(field, told), standing)
            except HcrmError as error:
                problems.append(Problem(code, error.message))
                continue
            if plan is not None:
                plans.append(plan)
                changes.append(Change(field.title, _words(field, plan.over), _shown(field, plan.new)))
        return plans, changes, problems

    def write(self, patient_id: str, plans: Iterable[FieldPlan], writes: Writes) -> None:
        """Do it: an edit of its own for each field, as if somebody had made it on the page."""
        actor, now = self._work.actor, self._work.clock.now()
        for plan in plans:
            act_id = self._work.new_id()
            for row in plan.over:
                writes.change(
                    PatientFieldValue, row, ended_at=now, ended_act_id=act_id, ended_by_name=actor.name
                )
            for value in plan.new:
                writes.insert(
                    PatientFieldValue, patient_id=patient_id, field_code=plan.field.code, value=value, note=None,
                    source=BY_PEOPLE, informant=Informant.STAFF, as_of=self._as_of,
                    asked_on=local_date(self._as_of) if plan.field.asks_date else None, actor_id=actor.id,
                    actor_name=actor.name, act_id=act_id, created_at=now, ended_at=None, ended_act_id=None,
                    ended_by_name=None,
                )  # fmt: skip


def _values(field: PatientField, told: Any) -> list[str]:
    """What a cell says, as the field keeps it."""
    if isinstance(told, date):
        return [told.isoformat()]
    if field.type is not FieldType.MULTI_CHOICE:
        return [str(told)]
    codes = {word.casefold(): option.code for option in field.offered for word in (option.title, option.code)}
    return [
        codes.get(part.strip().casefold(), part)
        for part in str(told).translate(_PARTS).split("、")
        if part.strip()
    ]


def _plan(field: PatientField, told: Sequence[str], standing: Sequence[Row]) -> FieldPlan | None:
    """None where nothing changes. A field of several values gets what is missing; one of one gives way."""
    known = [row["value"] for row in standing]
    cleaned = clean_values(field, told, known)
    new = [value for value in cleaned if value not in known]
    if not new:
        return None
    if field.has_several:
        clean_values(field, [*known, *new], known)
        return FieldPlan(field, new, ())
    if any(row["source"] != BY_PEOPLE for row in standing):
        raise HcrmError("field.told", "与医院系统传来的不同；医院系统的内容不能用文件改")
    return FieldPlan(field, new, standing)


def _words(field: PatientField, rows: Iterable[Mapping[str, Any]]) -> str:
    return _shown(field, [row["value"] for row in rows])


def _shown(field: PatientField, values: Iterable[str]) -> str:
    words = [field.words(value) for value in values]
    return "、".join(YES_NO.get(word, word) for word in words)
