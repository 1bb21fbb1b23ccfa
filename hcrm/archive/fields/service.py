"""Values of fields: read by field, written by people with whose word they are, taken back whole.

An edit ends what it replaces and writes what is new under one act. Nobody overwrites what they have not seen: an edit
names the rows its author looked at, and is refused where others stand.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from hcrm.archive.death import lock_patient
from hcrm.archive.fields.definition import KIND, OWN, SHIPPED, Fields, FieldsFile, OwnFieldsFile, PatientField
from hcrm.archive.fields.models import PatientFieldValue
from hcrm.archive.fields.values import clean_values
from hcrm.archive.queries import patient_in_scope
from hcrm.archive.terms import BY_PEOPLE, Informant
from hcrm.audit.service import record_audit
from hcrm.core.clock import local_date
from hcrm.core.definition_file import parse_definition
from hcrm.core.definitions import latest_definitions
from hcrm.core.errors import ConflictError, DeniedError, HcrmError, NotFoundError
from hcrm.core.work import Work

Standing = Mapping[str, Sequence[PatientFieldValue]]
"""Live values by the code of their field, the oldest first."""
_COPIED = ("field_code", "value", "note", "source", "informant", "as_of", "asked_on")


@dataclass(frozen=True, slots=True)
class FieldEdit:
    """What an edit did. Nothing changed where `act_id` is None."""

    act_id: str | None
    field: PatientField
    patient_id: str


@dataclass(frozen=True, slots=True)
class KeptValue:
    """A value as it was read: a refusal rolls its work back, and rows with it."""

    value: str
    actor_name: str
    created_at: datetime


class FieldConflictError(ConflictError):
    """Somebody else changed the field since it was looked at; both can be shown side by side."""

    def __init__(self, standing: Sequence[PatientFieldValue], seen: Sequence[PatientFieldValue]) -> None:
        super().__init__("field.changed", "此项刚被别人改过，您的内容没有覆盖它，请核对后再保存")
        self.standing = [KeptValue(row.value, row.actor_name, row.created_at) for row in standing]
        self.seen = [KeptValue(row.value, row.actor_name, row.created_at) for row in seen]


# ── definitions in force ────────────────────────────────────────────────────


def published_fields(work: Work) -> Fields:
    """The fields in force; none where nothing was published yet."""
    rows = latest_definitions(work, kind=KIND)
    return _parse(*(rows[code].body if code in rows else "" for code in (SHIPPED, OWN)))


# The text itself is the key: published rows never change, and a process may serve several databases in its life.
@lru_cache(maxsize=8)
def _parse(shipped: str, own: str) -> Fields:
    return Fields(
        parse_definition(FieldsFile, shipped, SHIPPED) if shipped else None,
        parse_definition(OwnFieldsFile, own, OWN) if own else None,
    )


# ── reading ─────────────────────────────────────────────────────────────────


def standing_values(work: Work, patient_id: str, *, codes: Collection[str] = ()) -> Standing:
    """What stands of one patient, in one query. The caller came through `queries.get_patient`."""
    return values_of(work, [patient_id], codes=codes).get(patient_id, {})


def values_of(
    work: Work, patient_ids: Sequence[str], *, codes: Collection[str] = ()
) -> Mapping[str, Standing]:
    """What stands of several patients, in one query: for lists and exports, which apply their scope themselves."""
    statement = sa.select(PatientFieldValue).where(
        PatientFieldValue.patient_id.in_(patient_ids), PatientFieldValue.ended_at.is_(None)
    )
    if codes:
        statement = statement.where(PatientFieldValue.field_code.in_(sorted(codes)))
    found: dict[str, dict[str, list[PatientFieldValue]]] = defaultdict(lambda: defaultdict(list))
    for row in work.scalars(statement.order_by(PatientFieldValue.created_at, PatientFieldValue.id)):
        found[row.patient_id][row.field_code].append(row)
    return found


def stale_since(field: PatientField, row: PatientFieldValue, today: date) -> int | None:
    """Days since the question was asked, where that is longer ago than its answer holds."""
    if field.goes_stale_after_days is None:
        return None
    days = (today - (row.asked_on or local_date(row.as_of))).days
    return days if days > field.goes_stale_after_days else None


# ── writing ─────────────────────────────────────────────────────────────────


def set_field(
    work: Work,
    *,
    patient_id: str,
    field_code: str,
    values: Sequence[str],
    note: str | None = None,
    informant: Informant | None = Informant.STAFF,
    asked_on: date | None = None,
    seen: Collection[str] | None = None,
    source: str = BY_PEOPLE,
    as_of: datetime | None = None,
) -> FieldEdit:
    """Make `values` what stands of a field; none clears it. `seen`: keys of the rows the author looked at, None: any.

    `source` and `as_of` are for importers, which bring the words of others. Several choices are one row each.
    """
    patient = lock_patient(work, patient_in_scope(work, patient_id, "field.write").id)
    field = _editable(work, field_code)
    standing = _lock_rows(work, patient.id, field.code)
    wanted = clean_values(field, values, [row.value for row in standing])
    now = work.clock.now()
    if wanted and not field.is_asked_of(patient.sex, patient.birth_date, local_date(now)):
        raise HcrmError("field.not_asked", f"“{field.title}”不适用于该患者的性别或年龄", field="value")
    if field.asks_date and wanted:
        asked_on = asked_on or local_date(as_of or now)
        if asked_on > local_date(now):
            raise HcrmError("field.asked_on", "询问日期不能在今天之后", field="asked_on")
    else:
        asked_on = None
    if seen is not None and {row.id for row in standing} != set(seen):
        raise FieldConflictError(standing, _rows(work, patient.id, seen))
    note = (note or "").strip() or None
    common = {
        "patient_id": patient.id, "field_code": field.code, "note": note, "source": source, "informant": informant,
        "as_of": as_of or now, "asked_on": asked_on,
    }  # fmt: skip
    kept = {row.value: row for row in standing if _says_the_same(field, row, common)}
    new = [value for value in wanted if value not in kept]
    over = [row for row in standing if kept.get(row.value) is not row or row.value not in wanted]
    if not new and not over:
        return FieldEdit(None, field, patient.id)
    act_id = work.new_id()
    _end(work, over, act_id)
    _insert(work, act_id, [{**common, "value": value} for value in new])
    _audit(work, patient.id, "field.write", field.code)
    return FieldEdit(act_id, field, patient.id)


def undo_edit(work: Work, *, patient_id: str, act_id: str) -> FieldEdit:
    """Take one edit back: what it wrote ends, what it ended stands again. Refused once somebody edited after it."""
    patient = lock_patient(work, patient_in_scope(work, patient_id, "field.write").id)
    rows = work.all(
        PatientFieldValue,
        PatientFieldValue.patient_id == patient.id,
        sa.or_(PatientFieldValue.act_id == act_id, PatientFieldValue.ended_act_id == act_id),
    )
    if not rows:
        raise NotFoundError
    field = _editable(work, rows[0].field_code)
    written = [row for row in rows if row.act_id == act_id]
    ended = [row for row in rows if row.ended_act_id == act_id]
    if _was_edited_after(work, patient.id, field.code, act_id):
        raise ConflictError("field.changed", "此项之后又被改过，不能撤销那一次修改")
    undo_id = work.new_id()
    _end(work, written, undo_id)
    _insert(
        work, undo_id,
        [{"patient_id": patient.id, **{name: getattr(row, name) for name in _COPIED}} for row in ended],
    )  # fmt: skip
    _audit(work, patient.id, "field.undo", field.code)
    return FieldEdit(undo_id, field, patient.id)


def _editable(work: Work, code: str) -> PatientField:
    field = published_fields(work).by_code.get(code)
    if field is None:
        raise NotFoundError
    if not work.actor.may(field.needs):
        raise DeniedError("field.write", subject_type="field", subject_id=code)
    if field.is_retired:
        raise HcrmError("field.retired", f"“{field.title}”已停用，不能再填写")
    return field


def _says_the_same(field: PatientField, row: PatientFieldValue, common: Mapping[str, Any]) -> bool:
    """Whether a row may stay: a list keeps the lines nobody touched, a question asked anew is answered anew."""
    if field.is_many and not field.asks_date:
        return True
    return all(getattr(row, name) == common[name] for name in ("note", "informant", "asked_on", "source"))


def _lock_rows(work: Work, patient_id: str, code: str) -> Sequence[PatientFieldValue]:
    """Live rows of one field; the patient's lock keeps other edits out."""
    return work.scalars(
        sa.select(PatientFieldValue)
        .where(
            PatientFieldValue.patient_id == patient_id,
            PatientFieldValue.field_code == code,
            PatientFieldValue.ended_at.is_(None),
        )
        .order_by(PatientFieldValue.created_at, PatientFieldValue.id)
        .execution_options(populate_existing=True)
    )


def _rows(work: Work, patient_id: str, keys: Iterable[str]) -> Sequence[PatientFieldValue]:
    """Rows of that patient by key, ended or not."""
    return work.scalars(
        sa.select(PatientFieldValue)
        .where(PatientFieldValue.patient_id == patient_id, PatientFieldValue.id.in_(sorted(keys)))
        .order_by(PatientFieldValue.created_at, PatientFieldValue.id)
    )


def _was_edited_after(work: Work, patient_id: str, code: str, act_id: str) -> bool:
    """Whether another edit of that field came later; keys sort by time."""
    later = sa.or_(PatientFieldValue.act_id > act_id, PatientFieldValue.ended_act_id > act_id)
    rows = sa.select(PatientFieldValue.id).where(
        PatientFieldValue.patient_id == patient_id, PatientFieldValue.field_code == code, later
    )
    return work.scalar(rows.limit(1)) is not None


def _end(work: Work, rows: Sequence[PatientFieldValue], act_id: str) -> None:
    for row in rows:
        row.ended_at, row.ended_act_id, row.ended_by_name = work.clock.now(), act_id, work.actor.name
    work.session.flush()


def _insert(work: Work, act_id: str, rows: Sequence[dict[str, Any]]) -> None:
    written = {
        "actor_id": work.actor.id, "actor_name": work.actor.name, "act_id": act_id,
        "created_at": work.clock.now(), "ended_at": None, "ended_act_id": None, "ended_by_name": None,
    }  # fmt: skip
    work.insert(PatientFieldValue, [{"id": work.new_id(), **row, **written} for row in rows])


def _audit(work: Work, patient_id: str, action: str, code: str) -> None:
    record_audit(
        work,
        action=action,
        patients=[patient_id],
        subject_type="patient",
        subject_id=patient_id,
        detail={"field": code},
    )
