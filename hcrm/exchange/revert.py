"""Taking rows of an import back by their journals: what was made goes, what was changed is what it was before.

Row by row: one that somebody changed since, or that hangs on one they changed, is left as it is and says so. What was
made and has since been written on by others is ended instead of removed, where its kind knows how.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from hcrm.core.db import Base, UtcDateTime, table_of
from hcrm.core.importing import SET_BY_THE_WAY, Importer, marks_of, plain
from hcrm.core.work import Row, Work
from hcrm.exchange.models import ImportRow, RowState

FOLLOWS: Mapping[str, tuple[str, ...]] = {
    "name_token": ("patient_id",),
    "patient_profile": ("id",),
    "stay_profile": ("patient_id",),
    "care_gap": ("patient_id",),
    "identity_pair": ("low_id", "high_id"),
}
"""Tables that only repeat what the archive says, and the columns that name a patient: their rows go with them. Named,
not imported: segments are a layer beside us, and a table nobody has loaded holds nothing."""
HOLDS = frozenset({
    "address", "alert", "allergy", "appointment", "charge_item", "consent", "contact_entry", "contact_point",
    "contact_recording", "contact_stop", "death_list_entry", "death_report", "diagnosis", "diagnostic_report",
    "disclosure", "document_reference", "encounter", "instruction", "known_number", "medication_request",
    "observation", "patient", "patient_field_value", "patient_history", "patient_identifier", "patient_link",
    "patient_loss", "patient_merge", "patient_note", "patient_note_former", "patient_tag", "procedure",
    "related_person", "response", "timeline_entry",
})  # fmt: skip
"""Tables whose rows are somebody's own word or deed: a patient they name beyond the import is kept, or ended."""
APART = frozenset({"audit_subject", "census_line", "import_row", "inbox_application", "outbound_message"})
"""Tables that name patients and stay as they are: what was done and told is not undone, and names may outlive rows."""
_DECIDED = {"identity_pair": "decided_at"}
"""Unless somebody has put something of their own in such a row: then this is not NULL."""
CHANGED_SINCE = "导入之后有人改过，保留现在的内容"
USED_SINCE = "导入之后又有其他记录，不能删除"
GONE = "记录已不存在"
MERGED = "已与另一份档案合并；请先撤销合并，再撤销这次导入"
PARTED = "曾与另一份档案合并又撤销，留有合并记录，不能删除，改为作废"

Outcome = tuple[RowState, str | None]


Journals = Mapping[int, Any]
"""By number of its row (`hcrm.core.importing.Journal`)."""


def open_journals(work: Work, rows: Sequence[Any]) -> Journals:
    """What these rows wrote."""
    return {
        row.number: json.loads(work.keys.open_text(row.journal_sealed)) for row in rows if row.journal_sealed
    }


def touched_patients(rows: Sequence[Any], journals: Journals) -> set[str]:
    """Everybody the journals of these rows speak of."""
    found = {row.patient_id for row in rows if row.patient_id}
    for journal in journals.values():
        found |= {patient_id for _, _, patient_id, _, _ in journal["new"] if patient_id}
    return found


def revert_rows(
    work: Work, importer: Importer, rows: Sequence[Any], journals: Journals
) -> dict[int, Outcome]:
    """Take these rows back, the last first; what became of each. The rows of the import are updated too."""
    standing = _Standing(work, journals.values())
    hung, merges = _hung_on(work, journals.values()), _merges_of(work, journals.values())
    outcomes: dict[int, Outcome] = {}
    ended: list[str] = []
    gone: set[tuple[str, str]] = set()
    for row in rows:
        outcome = _take_back(importer, journals[row.number], standing, hung, merges, gone)
        outcomes[row.number] = outcome
        if outcome[0] is RowState.ENDED and row.patient_id:
            ended.append(row.patient_id)
    removed = {(row.number): outcomes[row.number][0] is RowState.REVERTED for row in rows}
    # First what names the patients, then they.
    gone_patients = {key for table, key in gone if table == "patient"}
    if gone_patients:
        _forget_patients(work, sorted(gone_patients))
    work.update_rows(
        ImportRow,
        [
            {"id": row.id, "state": outcomes[row.number][0], "reason": outcomes[row.number][1],
             "patient_id": None if row.patient_id in gone_patients else row.patient_id,
             "journal_sealed": None if removed[row.number] else row.journal_sealed}
            for row in rows
        ],
    )  # fmt: skip
    work.session.flush()
    work.session.expire_all()
    standing.write(gone)
    if ended and importer.end is not None:
        importer.end(work, ended)
    return outcomes


def _take_back(
    importer: Importer, journal: Mapping[str, Any], standing: "_Standing", hung: set[tuple[str, str]],
    merges: Mapping[str, bool], gone: set[tuple[str, str]],
) -> Outcome:  # fmt: skip
    made = {(table, key) for table, key, *_ in journal["new"]}
    if any(merges.get(key) for table, key in made if table == "patient"):
        return RowState.KEPT, MERGED
    for table, key, patient_id, names, mark in journal["new"]:
        row = standing.row(table, key)
        if row is None:
            return RowState.KEPT, GONE
        if row.get("patient_id", patient_id) != patient_id:
            return RowState.KEPT, MERGED  # it has moved with the archive it hangs on
        if standing.mark(table, key, names) != mark:
            return RowState.KEPT, CHANGED_SINCE
    for table, key, pairs in journal["changed"]:
        row = standing.row(table, key)
        if row is None:
            return RowState.KEPT, GONE
        if any(plain(row[name]) != after for name, (_, after) in pairs.items() if name not in SET_BY_THE_WAY):
            return RowState.KEPT, MERGED if row.get("merged_into_id") else CHANGED_SINCE
    if made & hung:
        if importer.end is None or not any(table == "patient" for table, _ in made):
            return RowState.KEPT, USED_SINCE
        return RowState.ENDED, PARTED if any(key in merges for _, key in made) else USED_SINCE
    for table, key, pairs in journal["changed"]:
        standing.put_back(table, key, pairs)
    gone |= made
    return RowState.REVERTED, None


class _Standing:
    """The rows journals speak of, as they stand; changed in memory, written at the end."""

    def __init__(self, work: Work, journals: Iterable[Mapping[str, Any]]) -> None:
        self._work = work
        self._rows: dict[str, dict[str, Row]] = defaultdict(dict)
        self._back: dict[str, dict[str, Row]] = defaultdict(dict)
        self._marks: dict[tuple[str, str], str] = {}
        wanted: dict[str, set[str]] = defaultdict(set)
        made: dict[tuple[str, str], list[str]] = defaultdict(list)
        for journal in journals:
            for table, key, *_ in (*journal["new"], *journal["changed"]):
                wanted[table].add(key)
            for table, key, _, names, _ in journal["new"]:
                made[table, names].append(key)
        for name in sorted(wanted):
            table = Base.metadata.tables[name]
            found = work.execute(
                sa.select(table).where(work.among(table.c.id, wanted[name])).order_by(table.c.id).with_for_update()
            )  # fmt: skip
            columns = tuple(found.keys())
            self._rows[name] = {row.id: dict(zip(columns, row, strict=True)) for row in found}
        for (name, names), keys in made.items():
            rows = [row for key in keys if (row := self._rows[name].get(key)) is not None]
            marks = marks_of(rows, names.split())
            self._marks |= {(name, row["id"]): mark for row, mark in zip(rows, marks, strict=True)}

    def mark(self, table: str, key: str, names: str) -> str:
        """A digest of what these columns of a row hold now."""
        if (table, key) not in self._marks:
            (self._marks[table, key],) = marks_of([self._rows[table][key]], names.split())
        return self._marks[table, key]

    def row(self, table: str, key: str) -> Row | None:
        """One row; None where it is gone."""
        return self._rows[table].get(key)

    def put_back(self, table: str, key: str, pairs: Mapping[str, tuple[Any, Any]]) -> None:
        """Let columns hold what they held."""
        columns, row = Base.metadata.tables[table].c, self._rows[table][key]
        values = {
            name: _value(columns[name].type, before)
            for name, (before, after) in pairs.items()
            if plain(row[name]) == after
        }
        row.update(values)
        self._marks.pop((table, key), None)
        self._back[table].setdefault(key, {"id": key}).update(values)

    def write(self, gone: set[tuple[str, str]]) -> None:
        """Changed rows, then removed ones, children first."""
        for name, changed in self._back.items():
            table = Base.metadata.tables[name]
            groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
            for key, row in changed.items():
                if (name, key) not in gone and len(row) > 1:
                    groups[tuple(sorted(row))].append(row)
            for names, rows in groups.items():
                columns = [one for one in names if one != "id"]
                statement = (
                    sa.update(table)
                    .where(table.c.id == sa.bindparam("b_key"))
                    .values({one: sa.bindparam(f"b_{one}", type_=table.c[one].type) for one in columns})
                )
                self._work.session.connection().execute(
                    statement,
                    [{"b_key": row["id"], **{f"b_{one}": row[one] for one in columns}} for row in rows],
                )
        keys: dict[str, list[str]] = defaultdict(list)
        for name, key in sorted(gone):
            keys[name].append(key)
        for table in reversed(Base.metadata.sorted_tables):
            if some := keys.get(table.name):
                self._work.execute(sa.delete(table).where(self._work.among(table.c.id, some)))


def _hung_on(work: Work, journals: Iterable[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """Which of the rows that were made others hang on that these journals did not make."""
    journals = list(journals)
    made: dict[str, set[str]] = defaultdict(set)
    for journal in journals:
        for table, key, *_ in journal["new"]:
            made[table].add(key)
    hung: set[tuple[str, str]] = set()
    for parent, keys in made.items():
        for child, column in _references(parent):
            own = made.get(child.name, set())
            statement = sa.select(child.c.id, column.label("owner")).where(work.among(column, keys))
            if child.name in _DECIDED:
                statement = statement.where(child.c[_DECIDED[child.name]].is_not(None))
            hung |= {(parent, row.owner) for row in work.execute(statement) if row.id not in own}
    return hung


def _merges_of(work: Work, journals: Iterable[Mapping[str, Any]]) -> dict[str, bool]:
    """Of the archives that were made those that have ever been merged with another; whether a merge stands."""
    made = {key for journal in journals for table, key, *_ in journal["new"] if table == "patient"}
    merges = Base.metadata.tables["patient_merge"]
    found: dict[str, bool] = {}
    for column in (merges.c.survivor_id, merges.c.merged_id):
        for row in work.execute(
            sa.select(column.label("id"), merges.c.undone_at).where(work.among(column, made))
        ):
            found[row.id] = found.get(row.id, False) or row.undone_at is None
    return found


def _references(parent: str) -> list[tuple[sa.Table, sa.Column[Any]]]:
    """Every column that names a row of that table, but for those whose rows follow it and imports' own."""
    return [
        (table, key.parent)
        for table in Base.metadata.sorted_tables
        if table.name != ImportRow.__tablename__
        and "id" in table.c
        and (table.name not in FOLLOWS or table.name in _DECIDED)
        for key in table.foreign_keys
        if key.column.table.name == parent and key.column.name == "id"
    ]


def _forget_patients(work: Work, patient_ids: Sequence[str]) -> None:
    """Let nothing of ours name patients that are about to go."""
    rows = table_of(ImportRow)
    work.execute(sa.update(rows).where(work.among(rows.c.patient_id, patient_ids)).values(patient_id=None))
    for name in FOLLOWS.keys() & Base.metadata.tables.keys():
        table = Base.metadata.tables[name]
        for column in FOLLOWS[name]:
            work.execute(sa.delete(table).where(work.among(table.c[column], patient_ids)))


def _value(kind: sa.types.TypeEngine[Any], value: Any) -> Any:
    """A value of the journal as its column takes it."""
    if value is None or not isinstance(value, str):
        return value
    if isinstance(kind, UtcDateTime):
        return datetime.fromisoformat(value)
    if isinstance(kind, sa.Date):
        return date.fromisoformat(value)
    if isinstance(kind, sa.LargeBinary):
        return bytes.fromhex(value)
    if isinstance(kind, sa.Enum) and kind.enum_class is not None:
        return kind.enum_class(value)
    return value
