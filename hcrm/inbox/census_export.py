"""Findings as a sheet for the HIS's office."""

from collections.abc import Mapping, Sequence

from hcrm.core.workbook import write_xlsx
from hcrm.inbox.census_models import OF_OTHER_PATIENT, CensusLine, CensusRun
from hcrm.inbox.census_queries import OF_DEPARTMENT, masked_number
from hcrm.inbox.words import CENSUS_FIELDS, source_words

HEADS = (
    "类别", "差异", "就诊流水号", "病案号", "院区", "科室", "项目", "HIS 名单", "随访系统", "状态", "说明",
)  # fmt: skip


def write_sheet(
    run: CensusRun, lines: Sequence[CensusLine], *, is_clear: bool, departments: Mapping[str, str]
) -> bytes:
    """An XLSX: a title, the heads, a line per finding. `is_clear`: with whole numbers; `departments`: names by code."""

    def values(line: CensusLine) -> tuple[str, ...]:
        return (
            line.movement.label, line.finding.label, masked_number(line.visit_no, is_clear=is_clear),
            masked_number(line.patient_no, is_clear=is_clear), line.campus,
            departments.get(line.department_code, line.department_code), CENSUS_FIELDS.get(line.field, ""),
            *line_values(line, is_clear=is_clear, departments=departments), line.state.label, line.note or "",
        )  # fmt: skip

    title = f"{source_words(run.source)} {run.day.isoformat()} 对账差异，第 {run.number} 次"
    return write_xlsx("对账差异", [(title,), HEADS, *map(values, lines)])


def line_values(line: CensusLine, *, is_clear: bool, departments: Mapping[str, str]) -> tuple[str, str]:
    """What the list and the archive say, for people: numbers masked, departments by name and code."""
    if line.field == OF_OTHER_PATIENT:
        return masked_number(line.theirs, is_clear=is_clear), masked_number(line.ours, is_clear=is_clear)
    if line.field == OF_DEPARTMENT:
        return _department(line.theirs, departments), _department(line.ours, departments)
    return line.theirs, line.ours


def _department(code: str, departments: Mapping[str, str]) -> str:
    name = departments.get(code, code)
    return name if name == code else f"{name}（{code}）"
