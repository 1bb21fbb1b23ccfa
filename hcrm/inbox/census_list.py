"""The HIS's own list of a day: read from its view or file, each row understood as a message of it would be."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from stat import S_ISREG
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from hcrm.archive.records import Change
from hcrm.archive.terms import DischargeWay, EncounterClass, IdentifierKind
from hcrm.archive.visit import CANCELS
from hcrm.core import limits
from hcrm.core.channels import Census, CensusView, ListFile
from hcrm.core.errors import HcrmError
from hcrm.core.sources import Source, Sources
from hcrm.inbox.polling import open_view
from hcrm.inbox.rows import cell_text, row_message, values_of
from hcrm.inbox.take_up import Mapper
from hcrm.inbox.view_faults import view_fault

SETTLING: Final = "settling"
"""Of a file so young that it may not be whole."""
_DAY_ONLY: Final = re.compile(r"\d{4}[-/.年]?\d{1,2}[-/.月]?\d{1,2}日?")
Row = Mapping[str, object]
VisitKey = tuple[str, str]
"""Authority and visit number."""


class RecordKey(NamedTuple):
    """A record number as patients are matched by it."""

    authority: str
    type: str
    value: str

    def is_same(self, other: "RecordKey") -> bool:
        """Whether both find one patient: a missing type on either side fits any, as in matching."""
        is_typed_alike = self.type == other.type or not self.type or not other.type
        return (self.authority, self.value) == (other.authority, other.value) and is_typed_alike


@dataclass(frozen=True)
class CensusParts:
    """What only adapters can do: understand a row, open a file (`HcrmError` where it is no such list)."""

    mapper: Mapper
    read_file: Callable[[Path, ListFile], Iterable[Row]]


@dataclass(frozen=True, slots=True)
class ListedStay:
    """A stay as the list has it."""

    authority: str
    visit_no: str
    numbers: tuple[RecordKey, ...]  # of the patient
    department: str  # code of the directory; empty: not said
    admitted_at: datetime | None
    discharged_at: datetime | None
    way: DischargeWay | None
    died_at: datetime | None
    encounter_class: EncounterClass | None = None  # None: not said
    by_day: frozenset[str] = frozenset()  # times of which only the day is said
    rows: tuple[Mapping[str, str], ...] = ()

    @property
    def key(self) -> VisitKey:
        """What it is found by."""
        return self.authority, self.visit_no


@dataclass(frozen=True, slots=True)
class Delivered:
    """A list as it came."""

    made_at: datetime
    stays: Mapping[VisitKey, ListedStay] = field(default_factory=dict)
    unreadable: int = 0
    error: str = ""  # code of why there is nothing to compare
    rows: int = 0  # lines of the list, whatever they tell
    cancels: int = 0  # of them, those that take something back


def read_census(source: Source, day: date, now: datetime, parts: CensusParts) -> Delivered | None:
    """The list of that day; None where it has not come. No work is open meanwhile: this may take a minute."""
    census = source.census
    assert census is not None
    made_at = now
    try:
        if census.view is not None:
            rows = _read_view(census, census.view, day)
        else:
            assert census.file is not None
            path = census.file.path_of(day)
            try:
                status = path.stat()
            except FileNotFoundError:
                return None
            if not S_ISREG(status.st_mode):  # a pipe would keep us waiting for ever
                return Delivered(now, error="unreadable")
            written = datetime.fromtimestamp(status.st_mtime, UTC)
            if 0 <= (now - written).total_seconds() < census.file.still_seconds:
                return Delivered(now, error=SETTLING)
            made_at = min(now, written)
            rows = list(parts.read_file(path, census.list_file))
        if len(rows) > limits.MAX_LIST_ROWS:
            return Delivered(made_at, error="oversize")
    except HcrmError as error:
        return Delivered(made_at, error=error.code)
    except sa.exc.SQLAlchemyError as error:
        return Delivered(made_at, error=view_fault(error))
    except OSError as error:
        return Delivered(made_at, error=type(error).__name__)
    return understand(source, rows, made_at, parts.mapper)


def understand(source: Source, rows: Iterable[Row], made_at: datetime, mapper: Mapper) -> Delivered:
    """The stays the rows tell of; several rows of one stay say together what it is."""
    sources = Sources([source])
    stays: dict[VisitKey, ListedStay] = {}
    unreadable = cancels = count = 0
    for row in rows:
        count += 1
        raw = row_message(source, "census", row, peer="", at=made_at, told=made_at).raw
        result = mapper(raw, sources, made_at).result
        if not isinstance(result, Change) or result.encounter is None or not result.encounter.visit_no:
            unreadable += 1
            continue
        if result.event is not None and result.event.kind in CANCELS:
            cancels += 1
            continue
        stay = _stay(source, row, result)
        known = stays.get(stay.key)
        stays[stay.key] = _together(known, stay) if known else stay
    return Delivered(made_at, stays, unreadable, rows=count, cancels=cancels)


def authority_of(source: Source) -> str:
    """Who gave the visit numbers of its rows: as the mapping has it where the row names nobody."""
    told = source.census.visit_no_authority if source.census else ""
    return told or source.default_authority or source.facility or "local"


def _stay(source: Source, row: Row, change: Change) -> ListedStay:
    record, patient = change.encounter, change.patient
    assert record is not None
    assert record.visit_no
    assert source.census is not None
    cells = {name: text for name, value in row.items() if (text := cell_text(value, source.charset))}
    said = values_of(source.census, cells)
    return ListedStay(
        authority=record.authority,
        visit_no=record.visit_no,
        numbers=tuple(
            RecordKey(item.authority, item.type, item.value)
            for item in (patient.identifiers if patient else ())
            if item.kind is IdentifierKind.RECORD
        ),
        department=record.department.code if record.department else "",
        admitted_at=record.admitted_at,
        discharged_at=record.discharged_at,
        way=record.discharge_way,
        died_at=patient.deceased_at if patient else None,
        encounter_class=record.encounter_class
        if record.encounter_class is not EncounterClass.UNKNOWN
        else None,
        by_day=frozenset(name for name in said if _DAY_ONLY.fullmatch(said[name])),
        rows=(cells,),
    )


def _together(known: ListedStay, more: ListedStay) -> ListedStay:
    if known.rows == more.rows:
        return known
    told: dict[str, Any] = {
        name: getattr(more, name)
        for name in (
            "numbers",
            "department",
            "admitted_at",
            "discharged_at",
            "way",
            "died_at",
            "encounter_class",
        )
        if getattr(more, name)
    }
    return replace(known, **told, by_day=known.by_day | more.by_day, rows=(*known.rows, *more.rows))


def _read_view(census: Census, view: CensusView, day: date) -> Sequence[Row]:
    engine = open_view(view)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "oracle":
                connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            rows = connection.execute(census_statement(census, view, day)).mappings().all()
            return [dict(row) for row in rows]
    finally:
        engine.dispose()


def census_statement(census: Census, view: CensusView, day: date) -> sa.Select[Any]:
    """The list of one day, one row more than we take."""
    schema, _, table = view.name.rpartition(".")
    columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in census.columns.values()]
    statement = (
        sa.select(*columns)
        .select_from(sa.table(table, schema=schema or None))
        .limit(limits.MAX_LIST_ROWS + 1)
    )
    if not view.day:
        return statement
    named: object = day.strftime(view.day_format) if view.day_format else day
    column: sa.ColumnClause[Any] = sa.column(view.day)
    return statement.where(column == named)


def seal_rows(stay: ListedStay) -> bytes:
    """Its rows for keeping; sealed by the caller."""
    return json.dumps(list(stay.rows), ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
