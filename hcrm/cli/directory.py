"""`hcrm directory`: names of departments and staff, from the hospital's own list."""

import csv
import io
from pathlib import Path
from typing import Annotated, Literal

import click
from pydantic import AfterValidator, Field

from hcrm.cli.options import Bilingual, db_option, settings_for
from hcrm.core.actor import system_actor
from hcrm.core.errors import HcrmError, InvalidInput
from hcrm.core.inputs import Input, read_input
from hcrm.core.runtime import open_database
from hcrm.core.work import open_work
from hcrm.directory.kinds import checked_specialty
from hcrm.directory.service import DepartmentEntry, PractitionerEntry, register_staff

_YES = frozenset({"1", "y", "yes", "true", "是"})


class StaffLine(Input):
    """One line of the list; a department needs no more than code and name."""

    kind: Literal["department", "practitioner"]
    code: Annotated[str, Field(min_length=1, max_length=64)]
    name: Annotated[str, Field(min_length=1, max_length=64)]
    specialty: Annotated[str, AfterValidator(checked_specialty)] = ""
    title: str = ""
    department: str = ""
    is_head: str = ""


@click.group(cls=Bilingual, help="科室与医师目录 | departments and staff")
def directory() -> None:
    """Departments and practitioners."""


@directory.command(
    help="从 CSV 载入科室和医师的名称（列：kind,code,name,specialty,title,department,is_head）"
    " | names of departments and staff from a CSV file"
)
@db_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def load(db: str, file: Path) -> None:
    """All of it or, where a line is wrong, none; known codes get the name of the file."""
    departments, practitioners = read_staff(file)
    database = open_database(settings_for(db))
    try:
        with open_work(database, actor=system_actor("cli")) as work:
            report = register_staff(work, departments=departments, practitioners=practitioners)
    finally:
        database.dispose()
    click.echo(f"已载入科室 {len(departments)} 个、医师 {len(practitioners)} 名")
    click.echo(
        f"新增 {report.new} 条，改动 {report.changed} 条，未变 {report.same} 条；可在控制台逐条查看和撤销"
    )


def read_staff(file: Path) -> tuple[list[DepartmentEntry], list[PractitionerEntry]]:
    """The entries of a list; a mistake is refused with its line."""
    departments: dict[str, DepartmentEntry] = {}
    practitioners: dict[str, tuple[int, PractitionerEntry]] = {}
    for number, row in enumerate(csv.DictReader(io.StringIO(_text(file))), start=2):
        if None in row:
            raise _refusal(number, "多于表头的列")
        line = _line(number, row)
        if line.code in (departments if line.kind == "department" else practitioners):
            raise _refusal(number, f"{line.code} 重复")
        if line.kind == "department":
            departments[line.code] = DepartmentEntry(line.code, line.name, line.specialty)
        else:
            is_head = line.is_head.lower() in _YES
            entry = PractitionerEntry(line.code, line.name, line.title, line.department, is_head)
            practitioners[line.code] = (number, entry)
    for number, entry in practitioners.values():
        if entry.department_code not in departments:
            raise _refusal(number, f"文件中没有科室 {entry.department_code or '（未填）'}")
    return list(departments.values()), [entry for _, entry in practitioners.values()]


def _text(file: Path) -> str:
    """As a spreadsheet saves it: UTF-8 with or without its mark, or GB 18030."""
    raw = file.read_bytes()
    for charset in ("utf-8-sig", "gb18030"):
        try:
            return raw.decode(charset)
        except UnicodeDecodeError:
            continue
    raise HcrmError("directory.charset", f"{file.name} 既不是 UTF-8 也不是 GB 18030")


def _line(number: int, row: dict[str, str]) -> StaffLine:
    try:
        return read_input(StaffLine, {name: value or "" for name, value in row.items()})
    except InvalidInput as error:
        name, sentence = next(iter(error.errors.items()))
        raise _refusal(number, f"{name} {sentence}") from None


def _refusal(number: int, words: str) -> HcrmError:
    return HcrmError("directory.line", f"第 {number} 行：{words}；没有载入任何内容")
