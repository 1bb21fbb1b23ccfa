"""Rows of views, lists and flat XML as messages: canonical JSON with a control id of its own making. No HL7 in here.

The same row is the same message, however often it is read; a row that changed is a new one.
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
from hcrm.inbox.outline import Line, Readable
from hcrm.inbox.records import Incoming

FORMAT: Final = "row"
Form = Literal["view", "list_file", "soap", "census"]
"""Which block of the source's file says what the columns mean."""
MAX_CELL: Final = 4_000


def row_message(
    source: Source, form: Form, row: Mapping[str, object], *, peer: str, at: datetime,
    told: datetime | None = None, event: RowEvent | None = None,
) -> Incoming:  # fmt: skip
    """A row as it is stored. Empty cells say nothing, and are left out.

    `told`: when the list it stands in was made; `event`: what it tells, where that is known better than by the row.
    """
    cells = {name: text for name, value in row.items() if (text := cell_text(value, source.charset))}
    content: dict[str, object] = {"source": source.code, "form": form, "row": cells}
    if told is not None:
        content["told"] = told.astimezone(source.zoneinfo).isoformat(" ", "seconds")
    if event is not None:
        content["event"] = event
    raw = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(raw).digest()
    kind = event or event_of(rows_of(source, form), cells)
    return Incoming(
        source.sender or source.code, source.facility, f"R{digest[:12].hex()}", digest, f"ROW^{kind.upper()}",
        FORMAT, raw, b"", peer, (), at,
    )  # fmt: skip


def rows_of(source: Source, form: Form) -> Rows:
    """What the source's file says of rows of this form."""
    found = {
        "view": source.view,
        "list_file": source.list_file,
        "soap": source.soap.rows if source.soap else None,
        "census": source.census,
    }[form]
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
    text = str(value).replace("\x00", "").strip()
    return "" if text == '""' else text[:MAX_CELL]  # two quotes would be HL7's null


class RowOutline:
    """The reader of format `row` for people: a line a column. A row is corrected where it came from, not here."""

    def read(self, raw: bytes, sources: Sources) -> Readable:
        """See `hcrm.inbox.outline.Reader`; no codec, hence no correction."""
        cells = json.loads(raw)["row"]
        return Readable(
            tuple(Line(name, f"{name}: {value}", ((1, value),)) for name, value in cells.items()), None
        )

    def text(self, raw: bytes, sources: Sources) -> str:
        """All of it."""
        return raw.decode()

    def write(self, text: str, codec: str) -> bytes:
        """Never asked for."""
        raise NotImplementedError
