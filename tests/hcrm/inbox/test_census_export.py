"""Findings as a sheet: whatever a HIS wrote into its cells, the sheet opens."""

import io
from datetime import date

import openpyxl

from hcrm.inbox.census_export import write_sheet
from hcrm.inbox.census_models import CensusLine, CensusRun, Finding, LineState, Movement


def test_what_no_sheet_may_hold_is_left_out_of_it():
    line = CensusLine(
        movement=Movement.ADMISSION, finding=Finding.MISSING, visit_no="V\x01\x0b1", patient_no="1\x1f", campus="",
        department_code="=1+1\x00", field="", theirs="\x08", ours="", state=LineState.OPEN, note=None,
    )  # fmt: skip

    content = write_sheet(
        CensusRun(source="his", day=date(2026, 1, 1), number=1),
        [line],
        is_clear=True,
        departments={"=1+1\x00": "=1+1\x00"},
    )

    cells = next(openpyxl.load_workbook(io.BytesIO(content)).active.iter_rows(min_row=3, values_only=True))
    assert (cells[2], cells[3], cells[5]) == ("V1", "1", "=1+1")
