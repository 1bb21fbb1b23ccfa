"""Records for tests, written as messages of the truth table's notation."""

from datetime import UTC, datetime
from typing import Any

from adapters.his.mapping import map_message
from hcrm.archive.records import Change
from hcrm.core.sources import Source, Sources
from tests.support.adt import adt

EVENING = datetime(2026, 11, 22, 15, tzinfo=UTC)
SOURCES = Sources([Source(code="default", title="default")])


def change(event: str = "A01", **fields: Any) -> Change:
    """What the message becomes, received in the evening of the table's day."""
    result = map_message(adt(event, **fields), SOURCES, EVENING).result
    assert isinstance(result, Change), result
    return result
