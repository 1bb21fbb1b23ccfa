"""Rows of views, lists and flat XML as messages: canonical JSON with a control id of its own making. No HL7 in here.

The same row is the same message, however often it is read; a row that changed is a new one, and so is one that
returns to what it was. A view's row is told by its watermark and key; a row of a list or envelope is a repeat where it
equals the one before it of the same stay (`hcrm.inbox.row_series`).
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from typing import Any, Final, Literal

from hcrm.core.channels import RowEvent, RowField, Rows
from hcrm.core.errors import HcrmError
from hcrm.core.sources import Source, Sources
from hcrm.inbox.outline import Cell, Readable
from hcrm.inbox.records import Incoming

FORMAT: Final = "row"
Form = Literal["view", "list_file", "soap", "census"]
"""Which block of the source's file says what the columns mean."""
SERIES_LENGTH: Final = 20
"""Characters of the name of a series, behind the `R` of a control id."""
MAX_CELL: Final = 4_000
_CONTROLS: Final = dict.fromkeys(number for number in (*range(32), 127) if chr(number) not in "\t\n\r")
"""What no sheet and no XML may hold."""


def row_message(
    source: Source, form: Form, row: Mapping[str, object], *, peer: str, at: datetime,
    told: datetime | None = None, event: RowEvent | None = None, mark: Mapping[str, object] | None = None,
    taking: str = "", flags: tuple[str, ...] = (),
) -> Incoming:  # fmt: skip
    """A row as it is stored. Empty cells say nothing, and are left out.

    `told`: when the list it stands in was made; `event`: what it tells, where that is known better than by the row;
    `mark`: watermark and key of a view's row; `taking`: of the file it stands in, with the part of it.
    """
    cells = _texts(row, source)
    content: dict[str, object] = {"source": source.code, "form": form, "row": cells}
    if told is not None:
        content["told"] = told.astimezone(source.zoneinfo).isoformat(" ", "seconds")
    if mark:
        content["mark"] = _texts(mark, source)
    plain = _json(content)
    if event is not None:
        content["event"] = event
    raw = _json(content)
    digest = hashlib.sha256(raw).digest()
    rows = rows_of(source, form)
    kind = event or event_of(rows, cells)
    series = row_series(source, form, cells)
    control_id = f"R{digest[:12].hex()}"
    if mark:  # of the row, whatever it is taken to tell
        control_id = f"R{series}{hashlib.sha256(plain).hexdigest()[:16]}"
    if mark or form == "census":  # told apart by what they say themselves
        series = ""
    return Incoming(
        source.sender or source.code, source.facility, control_id, digest, f"ROW^{kind.upper()}", FORMAT, raw, b"",
        peer, flags, at, series, taking,
    )  # fmt: skip


def row_series(source: Source, form: Form, cells: Mapping[str, str]) -> str:
    """What rows follow one another in: those of one stay, or patient; empty where a row names neither."""
    values = values_of(rows_of(source, form), cells)
    stay = [values.get("patient_no", ""), values.get("visit_no", "")]
    if not any(stay):
        return ""
    return hashlib.sha256(_json([source.code, form, *stay])).hexdigest()[:SERIES_LENGTH]


def _texts(row: Mapping[str, object], source: Source) -> dict[str, str]:
    return {name: text for name, value in row.items() if (text := cell_text(value, source.charset))}


def _json(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def rows_of(source: Source, form: Form) -> Rows:
    """What the source's file says of rows of this form."""
    found = source.row_forms.get(form)
    if found is None:
        raise HcrmError("row.unknown", "来源配置没有说明这种行的列")
    return found


def values_of(rows: Rows, cells: Mapping[str, str]) -> dict[RowField, str]:
    """What the row says, by the names of our vocabulary."""
    return {field: cells[column] for field, column in rows.columns.items() if cells.get(column)}


def event_of(rows: Rows, cells: Mapping[str, str]) -> RowEvent | Literal["unknown"]:
    """What the row tells."""
    values = values_of(rows, cells)
    event: RowEvent | Literal["unknown"] = rows.event
    if rows.events:
        event = rows.events.get(values.get("event", ""), "unknown")
    if event == "stay":
        return "discharge" if "discharged_at" in values else "admit"
    return event


def cell_text(value: Any, charset: str) -> str:
    """A cell as text, the same whatever driver or file it came from; empty where it says nothing."""
    if value is None:
        return ""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float | Decimal):
        if not isfinite(value):
            return ""
        exact = Decimal(repr(value)) if isinstance(value, float) else value
        return format(exact.quantize(1) if exact == exact.to_integral_value() else exact.normalize(), "f")
    if isinstance(value, bytes | bytearray | memoryview):
        value = bytes(value).decode(charset, "replace")
    text = str(value).translate(_CONTROLS).strip()
    return "" if text == '""' else text[:MAX_CELL]  # two quotes would be HL7's null


class RowOutline:
    """The reader of format `row` for people: a cell a column. A row is corrected where it came from, not here."""

    def read(self, raw: bytes, sources: Sources) -> Readable:
        """See `hcrm.inbox.outline.Reader`; no codec, hence no correction. Columns that are empty are shown as such."""
        content = json.loads(raw)
        told = content["row"]
        source = sources.by_code.get(content["source"])
        rows = source.row_forms.get(content["form"]) if source else None
        fields = {column: field for field, column in rows.columns.items()} if rows else {}
        cells = tuple(
            Cell(column, told.get(column, ""), fields.get(column, ""))
            for column in dict.fromkeys([*fields, *told])
        )
        return Readable((), None, cells)

    def text(self, raw: bytes, sources: Sources) -> str:
        """All of it."""
        return raw.decode()

    def write(self, text: str, codec: str) -> bytes:
        """Never asked for."""
        raise NotImplementedError
