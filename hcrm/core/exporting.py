"""The lists that can be taken out as a file, each an `Exportable`: its columns, how many rows it has, its rows.

A part brings its own in `exports.py`; `hcrm.app.wiring.exportables` names them all; `hcrm.exchange` asks for a purpose,
lets a second person approve, writes the file and knows none of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hcrm.core.work import Work

Asked = Mapping[str, str]
"""What the list is narrowed by, as its page's address says it."""


@dataclass(frozen=True, slots=True)
class ExportColumn:
    """A column of the file. `is_masked`: in full only for whoever holds `data.export_clear`, with a reason."""

    code: str
    title: str
    is_masked: bool = False


@dataclass(frozen=True, slots=True)
class ExportLine:
    """One row, the patient it is about, and why nobody may call them.

    A file for contacting patients leaves out rows with such a `barrier`, and counts them.
    """

    patient_id: str
    cells: Sequence[str]
    barrier: str = ""


@dataclass(frozen=True, slots=True)
class Exportable:
    """A list. Every function keeps to the row scope of the work's actor."""

    kind: str
    permission: str  # to see the list at all
    columns: Sequence[ExportColumn]
    title: Callable[[Work, Asked], str]
    """What it is called, with its filters; refuses what the actor may not see."""
    count: Callable[[Work, Asked], int]
    lines: Callable[[Work, Asked, Sequence[str], bool], Iterator[ExportLine]]
    """All rows with these columns, in one order, read in batches; the last argument: without masks."""
    fix: Callable[[Work, Asked], Asked] = lambda _work, asked: dict(asked)
    """What the request keeps: `asked` with everything that may change until the file is written put in its place."""
    words: Callable[[Work, Asked], Sequence[str]] = lambda _work, _asked: ()
    """What was fixed, in sentences for whoever approves; where the title says it already, none."""
