"""What hospitals really send: every fault is told by row and column, and nothing changes that was not announced."""

import io
import re
from collections.abc import Sequence
from datetime import date
from typing import Any

import openpyxl
import pytest
from openpyxl.utils.datetime import CALENDAR_MAC_1904, CALENDAR_WINDOWS_1900

from hcrm.app.wiring import handlers
from hcrm.archive.events import PatientsTouched
from hcrm.archive.models import Patient
from hcrm.contact_log.models import ContactEntry
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock
from hcrm.core.delivery import deliver_events
from hcrm.core.errors import ConflictError, HcrmError
from hcrm.core.paths import config_path
from hcrm.core.settings import load_settings
from hcrm.core.sources import load_sources
from hcrm.core.workbook import write_csv, write_xlsx
from hcrm.exchange import imports as acts
from hcrm.exchange.models import ImportState
from hcrm.exchange.progress import open_cells
from hcrm.exchange.queries import marked_lines
from tests.hcrm.exchange.test_patients_import import HEAD, id_number, known_patient
from tests.support.importing import Intake, csv_file, sheet_file


def workbook(epoch: Any, *lines: Sequence[Any]) -> bytes:
    book = openpyxl.Workbook()
    book.epoch = epoch
    for line in lines:
        book.active.append(list(line))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


@pytest.mark.parametrize("epoch", [CALENDAR_WINDOWS_1900, CALENDAR_MAC_1904], ids=["1900", "1904"])
def test_days_are_read_by_the_calendar_of_their_workbook(intake: Intake, epoch: Any) -> None:
    number = 24_000 if epoch == CALENDAR_WINDOWS_1900 else 24_000 - 1_462
    content = workbook(
        epoch, ("病案号", "姓名", "出生日期"),
        ("1", "甲", date(1965, 9, 15)), ("2", "乙", number), ("3", "丙", "三月七日"),
    )  # fmt: skip

    run = intake.check("patients", content, "list.xlsx")
    assert run.counts == {"new": 2, "wrong": 1}
    assert intake.reasons(run.id) == {4: [["birth_date", "日期无法识别，请写成 2026-11-22"]]}
    intake.go(run.id)

    assert {row.birth_date for row in intake.work(lambda work: work.all(Patient))} == {date(1965, 9, 15)}


def xstring_sheet() -> bytes:
    return sheet_file(
        ("病案号", "姓名"),
        ("1", "张_x0000_三"),
        ("2", "李_x000D_四"),
        ("3", "_x005F_x0000_"),
        ("4", "王\U00031350\ue000"),
    )


def control_csv() -> bytes:
    lines = (
        ("病案号", "姓名"),
        ("1", "张\x01三"),
        ("2", "李\r四"),
        ("3", "_x0000_"),
        ("4", "王\U00031350\ue000"),
    )
    return csv_file(*lines) + b"\x1a"


@pytest.mark.parametrize(
    ("content", "name", "control"),
    [(xstring_sheet(), "a.xlsx", "U+0000"), (control_csv(), "a.csv", "U+0001")],
    ids=["escaped in a sheet", "in a text"],
)
def test_a_control_character_is_refused_by_row_and_column_and_rare_ones_are_kept(
    intake: Intake, content: bytes, name: str, control: str
) -> None:
    run = intake.check("patients", content, name)

    assert intake.reasons(run.id) == {
        2: [["name", f"含有看不见的控制字符，请删去整格后重新填写（{control}）"]]
    }
    intake.go(run.id)
    names = {row.name for row in intake.work(lambda work: work.all(Patient))}
    assert names == {"李四", "_x0000_", "王\U00031350\ue000"}


def test_a_control_character_in_a_heading_is_told_with_its_place(intake: Intake) -> None:
    with pytest.raises(HcrmError, match=re.escape("第 1 行（列名）第 2 列含有看不见的控制字符（U+0007）")):
        intake.upload("patients", sheet_file(("病案号", "姓_x0007_名"), ("1", "甲")), "a.xlsx")


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "a.xlsx",
            "文件名以 .xlsx 结尾，内容却是旧版 Excel 工作簿（xls）；请用正确的格式另存后再上传",
        ),
        (csv_file([f"列{at}" for at in range(300)], ["x"] * 300), "a.csv", "第 1 行多于 200 列；请删去不需要的列"),
        (sheet_file([f"列{at}" for at in range(300)], ["x"] * 300), "a.xlsx", "第 1 行多于 200 列；请删去不需要的列"),
        (
            csv_file(("病案号", "姓名"), ("A1", "甲")) + b'A2,"x\nA3,y\n' + b"x" * 200_000, "a.csv",
            "第 3 行无法读取，可能缺少引号",
        ),
        (csv_file(("病案号", "姓名"), ("A1", "甲")) + b'A2,"x\nA3,y\n', "a.csv", "第 3 行无法读取，可能缺少引号"),
    ],
    ids=["renamed", "wide text", "wide sheet", "open quote", "open quote near the end"],
)  # fmt: skip
def test_a_file_that_cannot_be_taken_says_where_and_leaves_nothing(
    intake: Intake, content: bytes, name: str, sentence: str
) -> None:
    before = intake.dump()

    with pytest.raises(HcrmError) as refusal:
        intake.upload("patients", content, name)

    assert refusal.value.message == sentence
    assert intake.dump() == before


def test_lines_with_quotes_breaks_and_formulas_are_cells_like_others(intake: Intake) -> None:
    content = csv_file(
        ("病案号", "姓名", "住址", "性别"),
        ("1", "甲", '中山路 "老楼"\n三单元,101', "男"),
        ("2", "=HYPERLINK(1)", "@SUM(A1)", "=1+1"),
        ("3", "丙", "字" * 10_240, ""),
    )

    run = intake.check("patients", content)

    assert run.counts == {"new": 1, "wrong": 2}
    assert intake.reasons(run.id) == {
        4: [["sex", "只能填：男、女、其他、未知"]], 5: [["address", "最多 200 个字"]],
    }  # fmt: skip


def test_a_formula_without_its_result_is_told_as_one_with_row_and_column(intake: Intake) -> None:
    book = openpyxl.Workbook()
    book.create_sheet("别的").append(["=1+1"])  # another sheet's formulas are nobody's concern
    for line in (
        ("病案号", "姓名", "住址"),
        ("1", "=CONCATENATE(A1,B1)", "甲路"),
        ("2", "乙", ""),
        ("3", "丙", "=A3"),
    ):
        book.worksheets[0].append(line)
    book.worksheets[0]["B7"] = "=B6"  # a line that holds nothing else
    out = io.BytesIO()
    book.save(out)
    told = "是公式，文件里没有存它的结果；请用表格软件打开并保存一次再上传，或改成文字"

    run = intake.check("patients", out.getvalue(), "list.xlsx")

    assert run.counts == {"new": 1, "wrong": 3}
    assert intake.reasons(run.id) == {
        2: [["name", told]], 4: [["address", told]], 7: [["record_no", "此项必填"], ["name", told]],
    }  # fmt: skip

    intake.work(known_patient)
    lines = (("病案号", "姓名", "随访日期", "随访人", "还疼吗？"), ("1001", "张三", "2020-1-1", "王", "=A1"))
    past = intake.check("follow_ups", sheet_file(*lines), "past.xlsx")
    assert intake.reasons(past.id) == {2: [["", f"“还疼吗？”一列{told}"]]}


def test_an_answer_too_long_for_a_cell_is_given_back_not_cut(intake: Intake) -> None:
    intake.work(known_patient)
    lines = (
        ("病案号", "姓名", "随访日期", "随访人", "经过"),
        ("1001", "张三", "2020-1-1", "王", "字" * 30_000),
    )
    for content, name in ((csv_file(*lines), "a.csv"), (sheet_file(*lines), "a.xlsx")):
        run = intake.check("follow_ups", content, name)
        assert intake.reasons(run.id) == {2: [["", f"“经过”一列的内容超过 {limits.MAX_UPLOAD_CELL} 个字"]]}
    assert intake.work(lambda work: work.all(ContactEntry)) == []


def test_two_people_with_one_list_write_nothing_twice(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both dry runs announce the same; whoever comes second finds it done, row by row, though they go in turns."""
    monkeypatch.setattr(limits, "IMPORT_BATCH", 2)
    content = csv_file(("病案号", "姓名", "手机"), *[(str(at), "甲", f"1380013800{at}") for at in range(6)])
    runs = [intake.check("patients", content).id for _ in range(2)]
    for run_id in runs:
        intake.work(lambda work, run_id=run_id: acts.confirm_import(work, run_id=run_id))

    owners = ("one", "two")
    while sum(intake.advance(owner, rest=lambda: True) for owner in owners):  # each in its turn
        pass

    found = [intake.run(run_id) for run_id in runs]
    assert {run.state for run in found} == {ImportState.DONE}
    assert sum(run.counts["written"] for run in found) == 6
    assert sum(run.counts["moved"] for run in found) == 6
    assert intake.work(lambda work: len(work.all(Patient))) == 6
    with pytest.raises(ConflictError):
        intake.work(lambda work: acts.confirm_import(work, run_id=runs[0]))


def settle(intake: Intake, clock: FixedClock) -> None:
    """Deliver every fact: flat rows, pairs and tokens stand as they would in a hospital."""
    hearing = handlers(load_settings(), load_sources(config_path("sources")))
    while deliver_events(intake.database, hearing, clock, system_actor("worker")):
        pass


def test_a_revert_leaves_every_table_as_before_the_derived_ones_too(
    intake: Intake, clock: FixedClock
) -> None:
    """Facts and receipts, audit and the import's own rows tell what was done and stay; nothing else does."""
    known = intake.work(lambda work: known_patient(work).id)
    intake.work(lambda work: work.emit(PatientsTouched(patient_ids=[known])))
    settle(intake, clock)
    before = {name: rows for name, rows in intake.dump().items() if not name.startswith("event")}
    lines = [
        (f"N{at:05d}", "欧阳小明" if at % 2 else "吕建国", "男", "1966-03-07" if at % 100 else "1966-02-30",
         id_number(at) if at < 900 else "", f"138{at:08d}", "中山路", "王五", f"139{at:08d}")
        for at in range(1, 2_000)
    ]  # fmt: skip

    run = intake.take_in(
        "patients", csv_file(HEAD, ("1001", "张三", "", "", "", "13711112222", "", "", ""), *lines)
    )
    settle(intake, clock)

    during = intake.dump()
    assert (run.counts["written"], run.counts["wrong"]) == (1_981, 19)
    assert {"name_token", "patient_profile"} <= {
        name for name, rows in during.items() if rows != before.get(name, rows)
    }
    reverted = intake.revert(run.id)
    settle(intake, clock)
    assert (reverted.counts["reverted"], reverted.counts["kept"], reverted.counts["ended"]) == (1_981, 0, 0)
    after = {name: rows for name, rows in intake.dump().items() if not name.startswith("event")}
    assert {name for name in before if before[name] != after[name]} == set()


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_a_marked_file_shows_its_bad_cells_runs_nothing_and_goes_in_again_mended(
    intake: Intake, form: str
) -> None:
    """Cells that begin as a formula does come back as they were: behind a sign in a text, as text in a workbook."""
    heads = ("病案号", "姓名", "出生日期", "手机", "住址")
    risky = ("=1+1", "+8613800138000", "@SUM(A1)", "-路", "＝cmd")
    rows = [(f"A{at}", "甲", "1966-02-30", "+8613800138000", text) for at, text in enumerate(risky)]
    run = intake.check("patients", csv_file(heads, *rows, ("", "=乙()", "", "", "")))

    lines = intake.work(lambda work: list(marked_lines(work, run, intake.importers["patients"])))
    content = write_csv(lines) if form == "csv" else write_xlsx("未导入的行", lines)

    if form == "csv":
        text = content.decode("utf-8-sig")
        assert "'=1+1" in text
        assert not re.search(r"(?m)(?:^|,)[=+@＝-]", text)
    else:
        sheet = openpyxl.load_workbook(io.BytesIO(content)).active
        filled = {cell.coordinate for line in sheet.iter_rows() for cell in line if cell.fill.fill_type}
        assert filled == {*(f"C{at}" for at in range(2, 7)), "A7"}
        assert {cell.data_type for line in sheet.iter_rows() for cell in line if cell.value} == {"s"}
        assert all(sheet[f"E{at}"].quotePrefix for at in range(2, 7))
        assert sheet["H2"].value == "出生日期：没有这一天"
    again = intake.upload("patients", content, f"marked.{form}")
    intake.choose(again)
    while intake.advance():
        pass
    cells = [
        intake.work(lambda work, row=row: open_cells(work, row))[:5] for row in intake.rows(again).values()
    ]
    assert [line[4] for line in cells[:5]] == list(risky)
    assert intake.reasons(again) == {
        **{at: [["birth_date", "没有这一天"]] for at in range(2, 7)}, 7: [["record_no", "此项必填"]]
    }  # fmt: skip
    mended = [[*line[:2], "1966-03-07", *line[3:]] for line in lines[1:6]]
    assert intake.check("patients", csv_file(lines[0], *mended)).counts == {"new": 5}
