"""Sheets are read in a process of their own, with so much memory and time and no more.

A workbook of a kilobyte may ask for a table of a terabyte (one cell at XFD1048576); the reader then ends the process
it runs in, whoever that is. This file is also the program of that process, so it imports nothing of ours at the top.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, time, timedelta
from pathlib import Path
from typing import IO, Any, Final

_TOO_LARGE: Final = 3
"""Exit code of the program where memory ran out; a signal says the same."""


class SheetUnreadable(ValueError):
    """No sheet, or none we have memory for; the argument is the code of the reason."""


def read_sheet(
    path: Path, name: str, *, memory: int, seconds: int, columns: int, characters: int
) -> Iterator[list[Any]]:
    """The lines of the sheet of that name, of the first where it is empty; cut to so many columns and characters.

    Dates and times come as ISO 8601 writes them.
    """
    bounds = [str(number) for number in (memory, seconds, columns, characters)]
    # -P: the folder of this file holds modules that are named as those of the standard library are.
    command = [sys.executable, "-P", str(Path(__file__).resolve()), str(path.absolute()), name, *bounds]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if not line.endswith(b"\n"):  # its end in the middle of a line
                break
            yield json.loads(line)
        code = process.wait()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    if code:
        raise SheetUnreadable("oversize" if code < 0 or code == _TOO_LARGE else "unreadable")


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


def _write_lines(path: str, name: str, out: IO[str], *, columns: int, characters: int) -> None:
    from python_calamine import load_workbook  # noqa: PLC0415  in the program only

    with load_workbook(path) as book:
        sheet = book.get_sheet_by_name(name) if name else book.get_sheet_by_index(0)
        for line in sheet.iter_rows():
            json.dump([_plain(value, characters) for value in line[:columns]], out)
            out.write("\n")
    out.flush()


def _run(path: str, name: str, *bounds: str) -> int:
    memory, seconds, columns, characters = map(int, bounds)
    _bound(memory, seconds)
    try:
        _write_lines(path, name, sys.stdout, columns=columns, characters=characters)
    except MemoryError:
        return _TOO_LARGE
    except BaseException:  # noqa: BLE001  a panic of the reader is no Exception; nothing of the file is told
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_run(*sys.argv[1:]))
