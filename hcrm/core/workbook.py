"""Writing lists for people: XLSX and CSV. What somebody wrote is never a formula (assurance C18)."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from unicodedata import east_asian_width

from hcrm.core.cells import is_formula_like

XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV_TYPE = "text/csv; charset=utf-8"


_ESCAPE = re.compile("_(?=x[0-9A-Fa-f]{4}_)")
"""What a reader takes for an escaped character (ECMA-376 part 1, 22.9.2.19) is text: its first sign is escaped."""
_FAULT_COLOUR = "FFF3C7C3"
_LOOKED_AT = 200
"""Lines that say how wide the columns are: a file is written while it is read."""
_NARROWEST, _WIDEST = 8, 44  # in signs of a Latin letter's width


class MarkedCell(str):
    """A cell that people shall see at once: on a ground of its own in a workbook, as it is in a text."""

    __slots__ = ()


def write_xlsx(
    title: str, lines: Iterable[Sequence[str]], *, properties: Mapping[str, str] | None = None
) -> bytes:
    """A workbook of one sheet, every cell a text; the headings, the first line of several cells, stay in sight.

    `properties`: of the document, `creator`, `description`.
    """
    # A writer that takes a tenth of a second to import is not paid by every process.
    from openpyxl import Workbook  # noqa: PLC0415
    from openpyxl.cell import WriteOnlyCell  # noqa: PLC0415
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE  # noqa: PLC0415
    from openpyxl.styles import Font, PatternFill  # noqa: PLC0415
    from openpyxl.utils import get_column_letter  # noqa: PLC0415

    book = Workbook(write_only=True)
    sheet = book.create_sheet(title)
    for name, value in (properties or {}).items():
        setattr(book.properties, name, value)

    rest = iter(lines)
    first = list(islice(rest, _LOOKED_AT))
    heading = next((at for at, line in enumerate(first) if len(line) > 1), 0)
    for at, width in enumerate(_widths(first[heading:]), start=1):
        sheet.column_dimensions[get_column_letter(at)].width = width
    sheet.freeze_panes = f"A{heading + 2}"

    ground, bold = PatternFill("solid", fgColor=_FAULT_COLOUR), Font(bold=True)

    def text(value: str) -> WriteOnlyCell:
        cell = WriteOnlyCell(sheet, value=_ESCAPE.sub("_x005F_", ILLEGAL_CHARACTERS_RE.sub("", value)))
        cell.data_type = "s"  # what a sender wrote is never a formula
        if is_formula_like(value):
            cell.quotePrefix = True  # and does not become one when somebody edits the cell
        if isinstance(value, MarkedCell):
            cell.fill = ground
        return cell

    for number, line in enumerate(chain(first, rest)):
        cells = [text(value) for value in line]
        if number == heading:
            for cell in cells:
                cell.font = bold
        sheet.append(cells)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    """Of each column, what its longest value takes, within bounds; a Chinese sign takes the room of two letters."""
    wanted = [0] * max(map(len, lines), default=0)
    for line in lines:
        for at, value in enumerate(line):
            wanted[at] = max(wanted[at], sum(2 if east_asian_width(sign) in "WF" else 1 for sign in value))
    return [min(max(one + 2, _NARROWEST), _WIDEST) for one in wanted]


def write_csv(lines: Iterable[Sequence[str]]) -> bytes:
    """UTF-8 with the mark that lets a spreadsheet read it as such; what looks like a formula gets a quote in front."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    for line in lines:
        writer.writerow([f"'{value}" if is_formula_like(value) else value for value in line])
    return out.getvalue().encode("utf-8-sig")
