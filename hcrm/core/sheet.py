"""Sheets are read in a process of their own, with so much memory and time and no more.

A workbook of a kilobyte may ask for a table of a terabyte (one cell at XFD1048576); the reader then ends the process
it runs in, whoever that is. This file is also the program of that process, so it imports nothing of ours at the top.
"""

import io
import json
import re
import resource
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date, time, timedelta
from pathlib import Path
from typing import IO, Any, Final, NamedTuple
from xml.etree import ElementTree

_TOO_LARGE: Final = 3
"""Exit code of the program where memory ran out; a signal says the same."""
_LOCKED: Final = 4
"""Exit code where a password is asked for."""
_STDIN: Final = "-"


class SheetUnreadable(ValueError):
    """No sheet, or none we have memory for. `reason`: unreadable, oversize or locked (by a password)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SheetLine(NamedTuple):
    """A line of a sheet, numbered as the sheet shows it; `is_merged`: a merged cell lies on it."""

    number: int
    cells: list[Any]
    is_merged: bool


def read_sheet(
    source: Path | bytes,
    name: str,
    *,
    memory: int,
    seconds: int,
    columns: int,
    characters: int,
    lost: str = "",
) -> Iterator[SheetLine]:
    """The lines of the sheet of that name, of the first where it is empty; cut to so many columns and characters.

    Dates and times come as ISO 8601 writes them. Content handed over as bytes never touches a disk. `memory` in bytes,
    `seconds` on a processor. `lost`: what stands in a cell whose formula no program has computed (XLSX).
    """
    place = str(source.absolute()) if isinstance(source, Path) else _STDIN
    bounds = (memory, seconds, columns, characters)  # in the order the program takes them
    # -P: the folder of this file holds modules that are named as those of the standard library are.
    command = [sys.executable, "-P", str(Path(__file__).resolve()), place, name, lost, *map(str, bounds)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with suppress(BrokenPipeError), process.stdin as stdin:
            if isinstance(source, bytes):
                stdin.write(source)  # the program reads all of it before it answers
        for number, line in enumerate(process.stdout, start=1):
            if not line.endswith(b"\n"):  # its end in the middle of a line
                break
            is_merged, *cells = json.loads(line)
            yield SheetLine(number, cells, bool(is_merged))
        code = process.wait()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    if code:
        raise SheetUnreadable(
            "locked" if code == _LOCKED else "oversize" if code < 0 or code == _TOO_LARGE else "unreadable"
        )


def _bound(memory: int, seconds: int) -> None:
    """Not on systems that know no such bound. Where the machine is short all the same, this process goes first."""
    for what, most in (
        (resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        with suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _plain(value: Any, characters: int) -> Any:
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    return value[:characters] if isinstance(value, str) else value


def _write_lines(place: str, name: str, lost: str, out: IO[str], *, columns: int, characters: int) -> None:
    from python_calamine import load_workbook  # noqa: PLC0415  in the program only

    content = sys.stdin.buffer.read() if place == _STDIN else Path(place).read_bytes()
    with load_workbook(io.BytesIO(content)) as book:
        name = name or book.sheet_names[0]
        sheet = book.get_sheet_by_name(name)
        merged = sorted((first[0], last[0]) for first, last in sheet.merged_cell_ranges or ())
        open_formulas = _open_formulas(content, name) if lost else {}
        at = number = 0
        for number, line in enumerate(sheet.iter_rows(), start=1):
            while at < len(merged) and merged[at][1] < number - 1:
                at += 1
            is_merged = at < len(merged) and merged[at][0] <= number - 1
            _write_line(line[:columns], open_formulas.pop(number, ()), is_merged, out, lost, characters)
        for last in sorted(open_formulas):  # lines that hold nothing else
            for _ in range(number + 1, last):
                _write_line([], (), False, out, lost, characters)
            _write_line([], open_formulas[last], False, out, lost, characters)
            number = last
    out.flush()


def _write_line(
    line: list[Any], formulas: Iterable[int], is_merged: bool, out: IO[str], lost: str, characters: int
) -> None:
    cells = [_plain(value, characters) for value in line]
    for at in formulas:
        cells += [""] * (at + 1 - len(cells))
        cells[at] = lost if cells[at] in ("", None) else cells[at]
    json.dump([int(is_merged), *cells], out)
    out.write("\n")


_PREFIX: Final = rb"(?:[\w.-]+:)?"
_OPEN_FORMULA: Final = re.compile(
    rb"<%sc\b[^>]*?\sr=[\"']([A-Z]{1,3})(\d{1,7})[\"'][^>]*>\s*<%sf\b(?:[^>]*/>|[^>]*>[^<]*</%sf>)"
    rb"\s*(?:<%sv\s*/>|<%sv>\s*</%sv>)?\s*</%sc>" % ((_PREFIX,) * 7)
)
_MOST_LINES: Final = 1_048_576


def _open_formulas(content: bytes, name: str) -> dict[int, list[int]]:
    """By line of a sheet (from 1) the columns (from 0) whose formula has no stored result; none of other files."""
    if not content.startswith(b"PK"):
        return {}
    found: dict[int, list[int]] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as packed, suppress(KeyError, ElementTree.ParseError):
        for letters, digits in _OPEN_FORMULA.findall(packed.read(_part_of(packed, name))):
            column = 0
            for letter in letters:
                column = column * 26 + letter - 64
            if 0 < int(digits) <= _MOST_LINES:
                found.setdefault(int(digits), []).append(column - 1)
    return found


def _part_of(packed: zipfile.ZipFile, name: str) -> str:
    """Where a workbook keeps the sheet of that name (ECMA-376 part 1, 18.2.19; part 2 for relationships)."""
    # Bounded as the whole of this process is; expat fetches nothing from outside.
    book = ElementTree.fromstring(packed.read("xl/workbook.xml"))  # noqa: S314
    keys = [
        value
        for one in book.iter()
        if one.tag.endswith("}sheet") and one.get("name") == name
        for attribute, value in one.attrib.items()
        if attribute.endswith("}id")
    ]
    links = ElementTree.fromstring(packed.read("xl/_rels/workbook.xml.rels"))  # noqa: S314
    target = next((one.get("Target", "") for one in links if one.get("Id") in keys), "")
    return target.lstrip("/") if target.startswith("/") else f"xl/{target}"


def _run(place: str, name: str, lost: str, *bounds: str) -> int:
    memory, seconds, columns, characters = map(int, bounds)
    _bound(memory, seconds)
    try:
        _write_lines(place, name, lost, sys.stdout, columns=columns, characters=characters)
    except MemoryError:
        return _TOO_LARGE
    except BaseException as error:  # noqa: BLE001  a panic of the reader is no Exception; nothing of the file is told
        return _LOCKED if type(error).__name__ == "PasswordError" else 1
    return 0


if __name__ == "__main__":
    sys.exit(_run(*sys.argv[1:]))
