"""Lists of the day as CSV or XLSX: the line that names the columns, then rows. Nothing is computed, no formula run."""

import csv
import io
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from hcrm.core import limits
from hcrm.core.channels import ListFile
from hcrm.core.charset import charset_named, utf8_in_disguise
from hcrm.core.sheet import SheetUnreadable, read_sheet
from hcrm.inbox.rows import MAX_CELL

SUFFIXES: Final = frozenset({".csv", ".xlsx", ".xls"})
_HEADING_LINES: Final = 10  # a title or a date may stand above the names


class FileRefused(ValueError):
    """A file that cannot be taken in: the code of the reason, and what of it may be told."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def read_list(path: Path, form: ListFile) -> Iterator[dict[str, object]]:
    """The rows, each with the columns that mean something; FileRefused where the file is no such list."""
    if path.stat().st_size > limits.MAX_FILE_BYTES:
        raise FileRefused("oversize")
    lines = _csv_lines(path, form) if path.suffix.lower() == ".csv" else _sheet_lines(path, form)
    wanted = list(form.columns.values())
    places = _places(lines, wanted)
    count = 0
    for line in lines:
        row = {name: line[at] for name, at in places.items() if at < len(line)}
        if any(value is not None and str(value).strip() for value in row.values()):
            count += 1
            if count > limits.MAX_LIST_ROWS:
                raise FileRefused("oversize")
            yield row


def _places(lines: Iterator[list[Any]], wanted: list[str]) -> dict[str, int]:
    """Where each wanted column stands, by the first line that names them all."""
    best: set[str] = set()
    for line in islice(lines, _HEADING_LINES):
        names = [str(value).strip().lstrip("\ufeff") for value in line]
        found = {name: names.index(name) for name in wanted if name in names}
        if len(found) == len(wanted):
            return found
        best = max(best, set(found), key=len)
    raise FileRefused("columns", "、".join(name for name in wanted if name not in best))


def _csv_lines(path: Path, form: ListFile) -> Iterator[list[Any]]:
    text = _decoded(path.read_bytes(), form.charset)
    try:
        yield from csv.reader(io.StringIO(text.replace("\x00", ""), newline=""), delimiter=form.delimiter)
    except csv.Error as error:
        raise FileRefused("unreadable") from error


def _decoded(raw: bytes, charset: str) -> str:
    """Whole and strictly: the charset of the source's file, else UTF-8, else GB 18030, which Excel writes here.

    A file that may be UTF-8 read as something else is refused: its rows have no flag that could say so.
    """
    for word in [charset] if charset else ["utf-8", "gb18030"]:
        codec = charset_named(word) or word
        try:
            text = raw.decode(codec)
        except UnicodeDecodeError:
            continue
        if utf8_in_disguise(raw, text, codec) == "no":
            return text.removeprefix("\ufeff")
    raise FileRefused("charset")


def _sheet_lines(path: Path, form: ListFile) -> Iterator[list[Any]]:
    _check_unpacked(path)
    try:
        for line in read_sheet(
            path, form.sheet, memory=limits.SHEET_BYTES, seconds=limits.SHEET_SECONDS,
            columns=limits.MAX_LIST_COLUMNS, characters=MAX_CELL,
        ):  # fmt: skip
            yield line.cells
    except SheetUnreadable as error:
        raise FileRefused("oversize" if error.reason == "oversize" else "unreadable") from error


def _check_unpacked(path: Path) -> None:
    """A sheet of a few kilobytes may unpack to gigabytes."""
    if not zipfile.is_zipfile(path):
        return  # an old XLS, which packs nothing
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(entry.file_size for entry in packed.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise FileRefused("unreadable") from error
    if size > limits.MAX_FILE_BYTES:
        raise FileRefused("oversize")
