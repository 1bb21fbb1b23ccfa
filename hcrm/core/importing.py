"""The kinds of file that can be taken in, each an `Importer`: its columns, how rows are judged, written and taken back.

A part brings its importers in `importers.py`; `hcrm.app.wiring` names them all; `hcrm.exchange` reads files, asks,
runs and reverts and knows none of them. What an importer writes goes through `Writes`, which keeps the journal that
a revert needs: so every kind can be reverted without code of its own.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from enum import Enum
from hashlib import blake2b
from typing import Any, Protocol

from hcrm.core import limits
from hcrm.core.cells import CellError, clock_in, control_in, day_in, moment_in, whole_text, word_in
from hcrm.core.db import Base, table_of
from hcrm.core.labels import LabelledEnum
from hcrm.core.work import Row, Work

HISTORICAL = "历史导入"
"""The mark of what was brought in from elsewhere: it happened, but not here."""
TEXT_LENGTH = 500
"""Characters of a cell unless its column says otherwise."""


class Verdict(LabelledEnum):
    """What a row of a file would do."""

    NEW = "new", "新增"
    CHANGED = "changed", "更新"
    SAME = "same", "无变化"
    REPEATED = "repeated", "文件内重复"
    AMBIGUOUS = "ambiguous", "对不上人"
    WRONG = "wrong", "有错误"


OPEN_FORMULA = "（公式，没有结果）"
"""What stands for a cell whose formula no program has computed: told as a fault, never taken for a text."""
MARKS = ("原文件行号", "有问题的列", "原因")
"""Columns a marked file has behind those of the file; taken in again they are none of it."""
WRITES = (Verdict.NEW, Verdict.CHANGED)
"""Rows that do something."""
FAULTY = (Verdict.REPEATED, Verdict.AMBIGUOUS, Verdict.WRONG)
"""Rows that are given back in the marked file."""


class CellKind(LabelledEnum):
    """How the cells of a column are read."""

    TEXT = "text", "文字"
    DAY = "day", "日期"
    MOMENT = "moment", "日期时间"
    WORD = "word", "选项"
    CLOCK = "clock", "时刻"


@dataclass(frozen=True, slots=True)
class Column:
    """One thing a file may tell: what it is called, how it is written, which headings mean it."""

    code: str
    title: str
    hint: str
    names: tuple[str, ...] = ()  # other headings
    kind: CellKind = CellKind.TEXT
    required: bool = False
    most: int = TEXT_LENGTH
    words: Mapping[str, Any] = field(default_factory=dict)
    needs: str = ""  # the permission to choose it, beside that to import

    def read(self, text: str, *, is_1904: bool) -> Any:
        """The cell's value; CellError with a sentence otherwise."""
        if self.kind is CellKind.DAY:
            return day_in(text, is_1904=is_1904)
        if self.kind is CellKind.MOMENT:
            return moment_in(text, is_1904=is_1904)
        if self.kind is CellKind.CLOCK:
            return clock_in(text)
        if self.kind is CellKind.WORD:
            return word_in(text, self.words)
        return whole_text(text, most=self.most)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a row, at which column (empty: the row as a whole). No value of a patient stands in it."""

    column: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Given:
    """One row of a file as its columns read it; what is empty is absent."""

    number: int
    values: Mapping[str, Any]
    rest: tuple[tuple[str, str], ...] = ()  # heading and cell of the columns nobody chose

    def get(self, code: str) -> Any:
        """The value, or None."""
        return self.values.get(code)

    def text(self, code: str) -> str:
        """A text, empty where there is none."""
        return str(self.values.get(code) or "")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing a row does: label, what stood, what will stand; for people, numbers masked."""

    label: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a row would do to the archive as it stands. Equal findings do the same."""

    verdict: Verdict
    patient_id: str | None = None
    changes: tuple[Change, ...] = ()
    problems: tuple[Problem, ...] = ()
    marks: tuple[
        str, ...
    ] = ()  # what else decides, unmasked: a digest of it is kept and compared, never the words


@dataclass(frozen=True, slots=True)
class Option:
    """A choice that holds for a whole file: code and title of each value. The first one is taken unless chosen."""

    code: str
    title: str
    hint: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """What holds for every row of one file."""

    run_id: str
    file_as_of: datetime
    options: Mapping[str, str]


class Batch(Protocol):
    """Some rows, judged against the archive in one work."""

    @property
    def findings(self) -> Sequence[Finding]:
        """What each row would do, in the order they were given."""
        ...

    def write(self, at: int, writes: "Writes") -> str | None:
        """Do what finding number `at` says; the id of the patient it was about."""
        ...


@dataclass(frozen=True, slots=True)
class Importer:
    """A kind of file. `key`: what makes two rows of a file speak of the same thing, None where nothing does.

    `own`: a column, and what of it no two rows may share that speak of different things.
    """

    kind: str
    title: str
    about: str
    columns: Sequence[Column]
    judge: Callable[[Work, Sequence[Given], Setting], Batch]
    key: Callable[[Given], str | None]
    own: tuple[str, Callable[[Given], str | None]] | None = None
    options: Callable[[Work], Sequence[Option]] = lambda _work: ()
    more: Callable[[Work], Sequence[Column]] | None = None
    """Columns that are data of this installation, behind those of the kind (`with_more`)."""
    takes_rest: bool = False
    """Columns nobody chose are kept as question and answer: `Given.rest`."""
    follow: Callable[[Work, Sequence[str], datetime], None] | None = None
    """Bring what only repeats the archive into line with patients written or reverted; since when the run went on."""
    undone: Callable[[Work, str], None] | None = None
    """Somebody takes an import back: its key. Told before its first row goes, perhaps more than once."""
    may_be_empty: bool = False
    """A file without rows, or all of whose rows are known, says something too: it can be confirmed."""
    end: Callable[[Work, Sequence[str]], None] | None = None
    """Close archives this kind made and others have written on since; None: it makes none."""

    def with_more(self, work: Work) -> "Importer":
        """The kind with every column it has here and now."""
        if self.more is None:
            return self
        return replace(self, columns=(*self.columns, *self.more(work)), more=None)

    def column(self, code: str) -> Column | None:
        """The column of that code."""
        return next((column for column in self.columns if column.code == code), None)


_CONTROL = "含有看不见的控制字符，请删去整格后重新填写"
_NO_RESULT = "是公式，文件里没有存它的结果；请用表格软件打开并保存一次再上传，或改成文字"


def read_row(
    importer: Importer, number: int, cells: Sequence[str], places: Mapping[str, int], heading: Sequence[str], *,
    is_1904: bool,
) -> tuple[Given, list[Problem]]:  # fmt: skip
    """A row by the chosen columns, and what is wrong with its cells."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for column in importer.columns:
        at = places.get(column.code)
        text = cells[at] if at is not None and at < len(cells) else ""
        if not text:
            if column.required:
                problems.append(Problem(column.code, "此项必填"))
            continue
        if control := control_in(text):
            problems.append(Problem(column.code, f"{_CONTROL}（{control}）"))
            continue
        if text == OPEN_FORMULA:
            problems.append(Problem(column.code, _NO_RESULT))
            continue
        try:
            values[column.code] = column.read(text, is_1904=is_1904)
        except CellError as error:
            problems.append(Problem(column.code, str(error)))
    rest: tuple[tuple[str, str], ...] = ()
    if importer.takes_rest:
        chosen = set(places.values())
        rest = tuple(
            (name, cell)
            for at, (name, cell) in enumerate(zip(heading, cells, strict=False))
            if at not in chosen and name and cell and name not in MARKS
        )
        problems += [
            Problem("", f"“{name}”一列的内容超过 {limits.MAX_UPLOAD_CELL} 个字")
            for name, cell in rest
            if len(cell) > limits.MAX_UPLOAD_CELL
        ]
        problems += [
            Problem("", f"“{name}”一列{_CONTROL}（{control}）")
            for name, cell in rest
            if (control := control_in(cell))
        ]
        problems += [Problem("", f"“{name}”一列{_NO_RESULT}") for name, cell in rest if cell == OPEN_FORMULA]
    return Given(number, values, rest), problems


SET_BY_THE_WAY = frozenset({"updated_at", "version"})
"""Columns that tell nothing themselves: they move with others, and stay moved where those come back."""
Journal = Mapping[int, dict[str, list[Any]]]
"""By row: under `new` table, key, patient, names of the columns and mark of each row it made; under `changed` table,
key, and of each column what it held and what it holds."""


class Writes:
    """What the rows of one batch write, with the journal that takes it back. Bulk statements at the end."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self._new: dict[tuple[type[Base], tuple[str, ...]], list[tuple[int, Row]]] = defaultdict(list)
        self._changed: dict[type[Base], dict[str, Row]] = {}
        self._journal: dict[int, dict[str, list[Any]]] = defaultdict(lambda: {"new": [], "changed": []})
        self.number = 0  # the row at work

    def insert(self, model: type[Base], **values: Any) -> str:
        """A new row with a new key; the key."""
        row = {"id": self.work.new_id(), **values}
        self._new[model, tuple(row)].append((self.number, row))
        return str(row["id"])

    def change(self, model: type[Base], standing: Row, **values: Any) -> None:
        """Set columns of a row that stands; `standing` says what they hold now, and is kept up to date."""
        changed = {name: value for name, value in values.items() if standing[name] != value}
        if not changed:
            return
        row = self._changed.setdefault(model, {}).setdefault(standing["id"], {"id": standing["id"]})
        row.update(changed)
        pairs = {name: [plain(standing[name]), plain(value)] for name, value in changed.items()}
        self._journal[self.number]["changed"].append([table_of(model).name, standing["id"], pairs])
        standing.update(changed)

    def flush(self) -> Journal:
        """Write everything; the journal of each row number."""
        order = {table: at for at, table in enumerate(Base.metadata.sorted_tables)}
        for model, names in sorted(self._new, key=lambda one: order[table_of(one[0])]):
            numbered = self._new[model, names]
            rows = [row for _, row in numbered]
            self.work.insert(model, rows)
            table, kept = table_of(model).name, [name for name in names if name not in SET_BY_THE_WAY]
            columns = " ".join(kept)
            for (number, row), mark in zip(numbered, marks_of(rows, kept), strict=True):
                entry = [table, row["id"], row.get("patient_id"), columns, mark]
                self._journal[number]["new"].append(entry)
        for model, changed in self._changed.items():
            by_names: dict[tuple[str, ...], list[Row]] = defaultdict(list)
            for row in changed.values():
                by_names[tuple(sorted(row))].append({name: row[name] for name in sorted(row)})
            for rows in by_names.values():
                self.work.update_rows(model, rows)
        return self._journal


def marks_of(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """A digest of what these columns hold, for each row; the same before it is written and when it is read again.

    Column by column, because a batch repeats its moments and states.
    """
    columns = (_plain_column([row[name] for row in rows]) for name in names)
    return [
        blake2b(repr(values).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
        for values in zip(*columns, strict=True)
    ]


def _plain_column(values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values}
    if kinds <= _PLAIN:
        return values
    if kinds & {dict, list}:
        return [json.dumps(value, sort_keys=True) for value in values]
    known = {value: plain(value) for value in dict.fromkeys(values)}
    return [known[value] for value in values]


_PLAIN = {str, int, bool, bytes, type(None)}
"""Types whose values come back from either database as they went."""


def plain(value: Any) -> Any:
    """A value of a column as the journal keeps it; equal values give equal words on both databases."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return value
