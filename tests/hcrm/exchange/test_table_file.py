"""What an uploaded file is, and what is refused with the reason."""

import io
import zipfile

import openpyxl
import pytest

from hcrm.archive.imports.importers import patient_importer
from hcrm.core import limits
from hcrm.core.errors import HcrmError
from hcrm.core.importing import OPEN_FORMULA
from hcrm.core.workbook import write_xlsx
from hcrm.exchange.imports import guess_places, known_headings
from hcrm.exchange.table_file import FileForm, find_heading, read_lines, recognise
from tests.support.importing import csv_file, sheet_file

HEAD = ("病案号", "姓名")


def open_file(content: bytes, name: str) -> None:
    form = recognise(content, name)
    find_heading(content, form, known_headings(patient_importer()))
    list(read_lines(content, form))


def refusal(content: bytes, name: str = "list.csv") -> str:
    with pytest.raises(HcrmError) as found:
        open_file(content, name)
    return found.value.message


def lines(content: bytes, name: str = "list.csv") -> list[list[str]]:
    return [line.cells for line in read_lines(content, recognise(content, name))]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_a_text_is_read_in_its_encoding(encoding: str) -> None:
    assert lines(csv_file(HEAD, ("0012", "欧阳翀"), encoding=encoding)) == [[*HEAD], ["0012", "欧阳翀"]]


def test_mixed_encodings_are_refused_with_the_line() -> None:
    content = csv_file(HEAD, ("1", "张建国"), encoding="gb18030") + csv_file(
        ("2", "李小红姑娘"), encoding="utf-8"
    )

    assert refusal(content) == (
        "文件混用了两种文字编码：前面是 GB18030，第 3 行是 UTF-8；请统一另存为“CSV UTF-8”后再上传"
    )
    assert "第 2 行" in refusal(
        csv_file(HEAD, encoding="utf-8") + csv_file(("1", "张建国"), encoding="gb18030")
    )


def test_bytes_of_no_encoding_are_refused_with_the_line() -> None:
    assert refusal(b"name,no\n" + b"\xff\xff\xff,1\n").startswith("第 2 行的文字编码无法识别")


def test_semicolons_and_tabs_part_cells_too() -> None:
    assert lines("病案号;姓名\n1;甲,x\n".encode()) == [["病案号", "姓名"], ["1", "甲,x"]]
    assert lines("病案号\t姓名\n1\t甲\n".encode()) == [["病案号", "姓名"], ["1", "甲"]]


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (b"", "a.csv", "文件是空的"),
        (b"%PDF-1.7", "a.xlsx", "这不是表格，而是PDF 文档"),
        (b"\x89PNG\r\n", "a.csv", "这不是表格，而是图片"),
        (b"<html><table>", "a.xls", "这不是表格，而是网页"),
        (b"a,b\0c", "a.csv", "这不是文本，也不是 Excel 文件"),
        ("no,name\n1,甲".encode(), "a.xlsx", "文件名以 .xlsx 结尾，内容却是纯文本；请用正确的格式另存后再上传"),
        ("no,name\n1,甲".encode(), "a.exe", "只能上传 .xlsx、.xls 或 .csv 文件"),
        (b"PK\x03\x04 broken", "a.xlsx", "文件已损坏，无法打开"),
        (sheet_file(HEAD)[:-30], "a.xlsx", "文件已损坏，无法打开"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "a.xls", "文件已损坏，无法读取"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
            "a.xlsx",
            "文件有密码，请去掉密码后再上传",
        ),
        (sheet_file(HEAD), "a.xlsx", "表格中没有数据：需要一行列名，下面至少一行数据"),
    ],
)  # fmt: skip
def test_what_is_no_list_is_refused(content: bytes, name: str, sentence: str) -> None:
    assert refusal(content, name) == sentence


def test_a_document_and_a_bomb_in_a_workbooks_clothes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def packed(name: str, content: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(name, content)
        return out.getvalue()

    assert refusal(packed("word/document.xml", b"x"), "a.xlsx") == "这是压缩包或别的文档，不是 Excel 工作簿"
    monkeypatch.setattr(limits, "MAX_UPLOAD_UNPACKED", 10_000)
    assert (
        refusal(packed("xl/workbook.xml", bytes(20_000)), "a.xlsx")
        == "文件解压后有 0.1 MB，最大 0 MB；请另存为 CSV，或拆成几个文件"
    )
    large = bytes(limits.MAX_UPLOAD_BYTES + 1)
    assert refusal(large, "a.xlsx") == "文件有 10.1 MB，最大 10 MB，请拆成几个文件"
    monkeypatch.setattr(limits, "MAX_UPLOAD_BYTES", 10)
    assert "文件有" in refusal(sheet_file(HEAD, (1, 2)), "a.xlsx")


def test_a_cell_at_the_end_of_the_world_is_refused() -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(HEAD)
    book.active["XFD1048576"] = "x"
    out = io.BytesIO()
    book.save(out)

    assert refusal(out.getvalue(), "a.xlsx") == "表格过大，无法读取；请删去空白的行列，或拆成几个文件"


def test_a_sheet_gives_values_as_people_see_them_and_formulas_as_text() -> None:
    from datetime import date, datetime

    content = sheet_file(
        ("某院患者名单", None), (), ("病案号", "姓名"),
        (12.0, "=1+1"), (date(2026, 1, 2), datetime.fromisoformat("2026-01-02T03:04")), ("@SUM", 110101196603070011),
    )  # fmt: skip
    found = [(line.number, line.cells) for line in read_lines(content, FileForm("xlsx"))]

    assert found == [
        (1, ["某院患者名单"]), (3, ["病案号", "姓名"]), (4, ["12", OPEN_FORMULA]),  # nobody has computed it
        (5, ["2026-01-02", "2026-01-02T03:04:00"]), (6, ["@SUM", "1.1010119660307e+17"]),
    ]  # fmt: skip
    heading = find_heading(content, FileForm("xlsx"), known_headings(patient_importer()))
    assert (heading.number, heading.names) == (3, ["病案号", "姓名"])


def test_headings_are_known_whatever_people_write_around_them() -> None:
    importer = patient_importer()

    assert guess_places(importer, ["*姓 名（必填）", "住院号", "联系电话", "姓名"]) == {
        "name": 0, "record_no": 1, "phone": 2
    }  # fmt: skip


@pytest.mark.parametrize("text", ["_x0041_", "_x005F_", "__x0000_x", "_x4e2d_甲"])
def test_what_looks_like_an_escape_comes_back_as_it_was_written(text: str) -> None:
    content = write_xlsx("表", [HEAD, (text, "x")])
    assert [line.cells for line in read_lines(content, recognise(content, "a.xlsx"))][1] == [text, "x"]


def test_a_list_for_people_keeps_its_headings_in_sight_and_shows_whole_values():
    lines = [
        ["用途：核对号码"],
        ["病案号", "住址"],
        ["00000001", "浙江省杭州市西湖区文三路"],
        ["1", "长" * 90],
    ]
    sheet = openpyxl.load_workbook(io.BytesIO(write_xlsx("名单", iter(lines)))).active

    assert sheet.freeze_panes == "A3"
    assert [cell.font.bold for cell in sheet["A"]] == [False, True, False, False]
    assert sheet.column_dimensions["A"].width == len("00000001") + 2
    assert sheet.column_dimensions["B"].width == 44
    assert [[cell.value for cell in line if cell.value] for line in sheet.iter_rows()] == lines
