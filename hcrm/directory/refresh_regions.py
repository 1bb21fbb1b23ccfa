"""Refresh `config/regions.csv` from the npm package @vant/area-data (GB/T 2260; MIT). Run by developers.

    npm pack @vant/area-data && tar xzf vant-area-data-*.tgz
    python -m hcrm.directory.refresh_regions package/dist/index.js config/regions.csv --on 2026-11-22

A code that is gone keeps its row and gets a last day, since citizen ID numbers and old addresses carry the codes of
their time; a code that is new is valid from the day of the refresh. No day means: since before this table, until now.
A new name replaces the old one under the same code.
"""

import csv
import json
import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import click

_LISTS = {"province": "province_list", "city": "city_list", "county": "county_list"}
_ENTRY = re.compile(r"[\"']?(\d{6})[\"']?\s*:\s*(\"(?:[^\"\\]|\\.)*\")")
_WITHOUT_COUNTIES = ("4419", "4420", "4604", "6202")
"""东莞, 中山, 儋州, 嘉峪关 have no counties; the package lists their towns under codes of its own invention."""


@dataclass(frozen=True)
class RegionRow:
    """One line of the table."""

    code: str
    name: str
    parent: str
    level: str
    valid_from: str = ""
    valid_to: str = ""


def read_package(text: str) -> list[RegionRow]:
    """The regions of the package's source file, without codes that GB/T 2260 does not know."""
    rows = []
    for level, name in _LISTS.items():
        block = re.search(rf"{name}\s*:\s*\{{(.*?)\}}", text, re.DOTALL)
        if block is None:
            raise click.ClickException(f"{name} not found: not the source file of @vant/area-data")
        for code, label in _ENTRY.findall(block[1]):
            if level == "county" and code.startswith(_WITHOUT_COUNTIES):
                continue
            parent = {"province": "", "city": f"{code[:2]}0000", "county": f"{code[:4]}00"}[level]
            rows.append(RegionRow(code, json.loads(label), parent, level))
    return rows


def merge_regions(known: Iterable[RegionRow], current: Iterable[RegionRow], day: date) -> list[RegionRow]:
    """The table after a refresh on that day, one row per code: nothing is dropped, what came or went gets its date."""
    table = {row.code: row for row in known}
    now = {row.code: row for row in current}
    since = day.isoformat() if table else ""
    last = (day - timedelta(days=1)).isoformat()
    for code, row in table.items():
        if code in now:
            table[code] = replace(now[code], valid_from=row.valid_from)
        elif not row.valid_to:
            table[code] = replace(row, valid_to=last)
    table |= {code: replace(row, valid_from=since) for code, row in now.items() if code not in table}
    return [table[code] for code in sorted(table)]


def read_table(path: Path) -> list[RegionRow]:
    """The table as it lies there; none yet is empty."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [RegionRow(**row) for row in csv.DictReader(file)]


def write_table(path: Path, rows: Iterable[RegionRow]) -> None:
    """Write the table, one line per region."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(RegionRow))
        writer.writerows(astuple(row) for row in rows)


@click.command()
@click.argument("package_file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("table", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--on", "day", required=True, type=click.DateTime(["%Y-%m-%d"]), help="day the new state is valid from"
)
def main(package_file: Path, table: Path, day: datetime) -> None:
    """Bring TABLE up to date from PACKAGE_FILE."""
    known = read_table(table)
    rows = merge_regions(known, read_package(package_file.read_text(encoding="utf-8")), day.date())
    write_table(table, rows)
    click.echo(f"{len(rows)} rows, {len(rows) - len(known)} more than before")


if __name__ == "__main__":
    main()
