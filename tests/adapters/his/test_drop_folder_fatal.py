"""Files that end the process that reads them: put aside after two tries, and nothing behind them waits."""

import signal
import zipfile
from pathlib import Path

import pytest

from adapters.his.drop_folder import Taken
from tests.support.drop_folder import NAMES, ROWS, csv_text, drop, names, take, take_apart, taker
from tests.support.listener import adt, refusals, stored

__all__ = ["drop", "take", "taker"]


def workbook(path: Path, *cells: tuple[str, str], dimension: str = "A1:B2") -> None:
    """An XLSX of a kilobyte with these cells and no others."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    rows: dict[str, str] = {}
    for place, text in cells:
        number = place.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        cell = f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'
        rows[number] = rows.get(number, "") + cell
    data = "".join(f'<row r="{number}">{inside}</row>' for number, inside in rows.items())
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="xml" '
        'ContentType="application/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="S" sheetId="1" '
        'r:id="r1"/></sheets></workbook>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><dimension ref="{dimension}"/><sheetData>{data}'
        "</sheetData></worksheet>",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in parts.items():
            packed.writestr(name, f'<?xml version="1.0"?>{text}')


HEADS = [("A1", "病人ID"), ("B1", "住院号")]


@pytest.mark.parametrize(
    ("cells", "dimension"),
    [
        ([*HEADS, ("XFD1048576", "2")], "A1:XFD1048576"),
        ([*HEADS, ("XFD1048576", "2")], "A1:B2"),
        ([*HEADS, ("ZZ1048576", "2")], "A1:B2"),
    ],
)
def test_a_sheet_that_asks_for_a_terabyte_ends_no_process_and_holds_up_no_file(
    taker, database, database_url, drop, cells, dimension
):
    workbook(drop / "a.xlsx", *cells, dimension=dimension)
    assert (drop / "a.xlsx").stat().st_size < 3000
    workbook(drop / "b.xlsx", *HEADS, ("A2", "1"), ("B2", "V1"))

    assert take_apart(taker, database_url, drop) == 0

    assert len(stored(database)) == 1
    assert [path.suffix for path in sorted((drop / "_error").iterdir())] == [".xlsx", ".txt"]
    assert "行数" in next((drop / "_error").glob("*.reason.txt")).read_text(encoding="utf-8")


def test_a_file_that_ended_its_process_twice_is_put_aside_and_those_behind_it_come_in(
    take, taker, database, database_url, drop
):
    (drop / "a.csv").write_text(csv_text(NAMES, ROWS[0]), encoding="utf-8")
    for _ in range(2):
        assert take_apart(taker, database_url, drop, fault="before_commit") == -signal.SIGKILL
    (drop / "b.hl7").write_bytes(adt("1"))

    assert [taken.reason for taken in take()] == ["crashed", ""]
    assert stored(database) == [("1", "")]
    assert refusals(database) == ["file"]
    assert sorted(names(drop)) == [
        "_archive/20261122/b.hl7", "_error/20261122-a.csv", "_error/20261122-a.csv.reason.txt",
    ]  # fmt: skip
    (drop / "_error" / "20261122-a.csv").rename(drop / "a.csv")  # put back, it has its tries again
    assert take() == [Taken(1, 1)]
