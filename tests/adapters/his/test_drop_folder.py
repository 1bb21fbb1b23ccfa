"""Drop folders: taken whole, stored, then archived; nothing lost or doubled by crashes, second workers or bad files."""

import os
import zipfile
from pathlib import Path

import openpyxl
import pytest

from adapters.his.drop_folder import Taken
from hcrm.core.sources import Source
from tests.support.drop_folder import NAMES, ROWS, Taker, csv_text, drop, names, source_of, take, told
from tests.support.listener import adt, refusals, stored

__all__ = ["drop", "take"]


# ── HL7 files ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "content",
    [
        adt("1") + adt("2"),
        (adt("1") + adt("2")).replace(b"\r", b"\r\n"),
        b"\x0b" + adt("1") + b"\x1c\r\x0b" + adt("2") + b"\x1c\r",
        b"FHS|^~\\&\rBHS|^~\\&\r" + adt("1") + adt("2") + b"BTS|2\rFTS|1\r",
    ],
)
def test_a_file_of_messages_is_stored_then_archived_by_day(take, database, drop, content):
    (drop / "a.hl7").write_bytes(content)

    assert take() == [Taken(2, 2)]
    assert stored(database) == [("1", ""), ("2", "")]
    assert names(drop) == ["_archive/20261122/a.hl7"]
    assert take() == []


def test_the_same_file_again_is_the_same_messages_and_overwrites_no_archive(take, database, drop):
    for _ in range(2):
        (drop / "a.hl7").write_bytes(adt("1"))
        take()
    assert take.taken == [Taken(1, 0)]
    assert stored(database) == [("1", "")]
    assert names(drop) == ["_archive/20261122/a-2.hl7", "_archive/20261122/a.hl7"]


def test_files_are_taken_in_the_order_they_were_written(take, database, drop):
    for n, name in enumerate(["z", "a", "m"]):
        (drop / f"{name}.hl7").write_bytes(adt(str(n)))
        os.utime(drop / f"{name}.hl7", ns=(n * 10**9, n * 10**9))
    take()
    assert [control_id for control_id, _ in stored(database)] == ["0", "1", "2"]


# ── when a file is whole ────────────────────────────────────────────────────


def test_a_file_that_still_grows_is_left(database, clock, drop):
    take = Taker(database, clock, source_of(drop, still_seconds=5))
    (drop / "a.hl7").write_bytes(adt("1")[:20])
    assert take() == []
    clock.move(seconds=4)
    (drop / "a.hl7").write_bytes(adt("1"))
    assert take() == []
    clock.move(seconds=4)
    assert take() == []  # not still for five seconds yet
    clock.move(seconds=1)
    assert take() == [Taken(1, 1)]
    assert stored(database) == [("1", "")]


def test_a_file_waits_for_its_ok(database, clock, drop):
    take = Taker(database, clock, source_of(drop, ready="ok"))
    (drop / "a.hl7").write_bytes(adt("1"))
    clock.move(hours=1)
    assert take() == []
    (drop / "a.hl7.ok").touch()
    assert take() == [Taken(1, 1)]
    assert names(drop) == ["_archive/20261122/a.hl7"]


def test_what_is_being_written_under_another_name_is_left_and_so_is_what_is_no_file(take, database, drop):
    for name in ("a.hl7.tmp", "b.part", ".c.hl7", "d.filepart"):
        (drop / name).write_bytes(adt("1"))
    (drop / "folder").mkdir()
    os.mkfifo(drop / "pipe")
    (drop / "link").symlink_to("/etc/hostname")

    assert take() == []
    assert stored(database) == []


def test_only_files_of_the_pattern_are_taken(database, clock, drop):
    take = Taker(database, clock, source_of(drop, pattern="*.hl7"))
    (drop / "a.hl7").write_bytes(adt("1"))
    (drop / "notes.docx").write_bytes(b"x")
    assert take() == [Taken(1, 1)]
    assert (drop / "notes.docx").exists()


# ── lists ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("charset", ["utf-8-sig", "utf-8", "gb18030"])
def test_a_list_as_csv_is_a_message_a_row(take, database, drop, charset):
    (drop / "出院.csv").write_text(
        csv_text(["出院日报"], ["科室", *NAMES], *(["内科", *row] for row in ROWS), []), encoding=charset
    )

    assert take() == [Taken(2, 2)]
    assert len(stored(database)) == 2


def plain_list(drop: Path, charset: str) -> Source:
    """Names of columns that read the same in every charset."""
    source = source_of(
        drop, rows={"patient_no": "no", "visit_no": "visit", "name": "name", "discharged_at": "out"}
    )
    assert source.list_file is not None
    return source.model_copy(update={"list_file": source.list_file.model_copy(update={"charset": charset})})


@pytest.mark.parametrize("charset", ["gb18030", "gbk", "gb2312", "iso8859-1"])
@pytest.mark.parametrize("name", ["欧阳建国", "丽丽"])
def test_a_list_in_utf_8_is_not_taken_for_the_charset_that_was_agreed(database, clock, drop, charset, name):
    take = Taker(database, clock, plain_list(drop, charset))
    lines = csv_text(["no", "visit", "name", "out"], ["100", "V1", name, "2026-11-21 10:30"])
    (drop / "a.csv").write_text(lines, encoding="utf-8")

    assert [taken.reason for taken in take()] == ["charset"]
    assert stored(database) == []
    assert "_error/20261122-a.csv" in names(drop)


@pytest.mark.parametrize("charset", ["gbk", "gb2312"])
def test_a_list_said_to_be_gbk_may_hold_what_only_gb18030_has(database, clock, drop, charset):
    take = Taker(database, clock, plain_list(drop, charset))
    lines = csv_text(["no", "visit", "name", "out"], ["100", "V1", "张镕\U00020bb7", "2026-11-21 10:30"])
    (drop / "a.csv").write_text(lines, encoding="gb18030")

    assert take() == [Taken(1, 1)]


def test_a_list_as_xlsx_holds_the_same_messages_as_the_csv(take, database, drop):
    book = openpyxl.Workbook()
    for line in (["出院日报"], NAMES, *ROWS):
        book.active.append(line)
    book.save(drop / "a.xlsx")
    assert take() == [Taken(2, 2)]

    lines = [[*row[:3], row[3].isoformat()] for row in ROWS]
    (drop / "a.csv").write_text(csv_text(NAMES, *lines), encoding="utf-8")
    assert take() == [Taken(2, 0)]
    assert len(stored(database)) == 2


def test_the_next_days_list_holds_only_what_is_new(take, database, drop):
    (drop / "1.csv").write_text(csv_text(NAMES, ROWS[0]), encoding="utf-8")
    take()
    (drop / "2.csv").write_text(csv_text(NAMES, *ROWS), encoding="utf-8")
    assert take() == [Taken(2, 1)]


def test_a_sheet_is_read_whole_with_its_times_and_numbers(take, database, drop):
    book = openpyxl.Workbook()
    book.active.append(NAMES)
    for n in range(1_200):
        book.active.append([n, f"V{n}", "张三\n", ROWS[0][3]])
    book.save(drop / "a.xlsx")
    assert take() == [Taken(1_200, 1_200)]


def test_a_list_needs_a_folder():
    with pytest.raises(ValueError, match="folder"):
        Source.model_validate({"code": "a", "title": "a", "list_file": {"columns": {"patient_no": "a"}}})
    with pytest.raises(ValueError, match="绝对路径"):
        source_of(Path("relative"))


# ── bad files ───────────────────────────────────────────────────────────────


def zip_bomb(path: Path) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
        packed.open("xl/worksheets/sheet1.xml", "w") as sheet,
    ):
        for _ in range(80):
            sheet.write(b"0" * 1024**2)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", csv_text(["病人ID", "姓名"], ["1", "张三"]).encode(), "columns"),
        ("a.csv", b"\xff\xff\xff", "charset"),
        ("a.csv", b"", "empty"),
        ("a.xlsx", b"PK\x03\x04 no zip", "unreadable"),
        ("a.xls", b"no sheet", "unreadable"),
        ("a.xlsx", zip_bomb, "oversize"),
        ("a.hl7", b"hello", "refused"),
        ("a.hl7", adt("1") + adt("", body="PID|1||2"), "refused"),
        ("a.hl7", adt("1") + b"x" * (4 * 1024 * 1024), "oversize"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_taken_in_lies_in_the_error_folder_with_its_reason(
    take, drop, name, content, reason
):
    if callable(content):
        content(drop / name)
    else:
        (drop / name).write_bytes(content)
    (drop / "b.hl7").write_bytes(adt("9"))

    found = take()
    assert [taken.reason for taken in found] in ([reason, ""], ["", reason])  # the neighbour is not lost
    assert f"_error/20261122-{name}" in names(drop)
    text = told(drop, name)
    assert "张三" not in text
    assert text.strip()
    if reason == "columns":
        assert "住院号、出院时间" in text


def test_the_good_messages_of_a_file_with_a_bad_one_are_stored(take, database, drop):
    (drop / "a.hl7").write_bytes(adt("1") + adt("", body="PID|1||2"))
    assert take() == [Taken(2, 1, "refused")]
    assert stored(database) == [("1", "")]
    assert "header" in refusals(database)
    assert "文件中另有 1 条已接收" in told(drop, "a.hl7")


@pytest.mark.parametrize("content", [b"hello", b""])
def test_of_a_file_without_a_message_nothing_is_said_to_be_taken_in(take, database, drop, content):
    (drop / "a.hl7").write_bytes(content)
    take()

    assert stored(database) == []
    assert "文件中没有消息被接收" in told(drop, "a.hl7")


def test_a_list_without_a_description_of_its_columns_is_not_guessed(database, clock, drop):
    take = Taker(database, clock, source_of(drop, rows=None))
    (drop / "a.csv").write_text(csv_text(NAMES, *ROWS), encoding="utf-8")
    assert [taken.reason for taken in take()] == ["no_list"]


def test_old_days_of_the_archive_go_and_nothing_else(take, drop):
    for name in ("20261001", "20261121", "keep"):
        (drop / "_archive" / name).mkdir(parents=True)
    take()
    assert sorted(path.name for path in (drop / "_archive").iterdir()) == ["20261121", "keep"]


# ── links ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["_work", "_archive", "_error"])
def test_a_working_folder_that_leads_elsewhere_is_not_followed(take, drop, tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "private").write_bytes(adt("1"))
    (drop / name).symlink_to(elsewhere)
    (drop / "a.hl7").write_bytes(adt("2"))

    with pytest.raises(NotADirectoryError):
        take()
    assert names(elsewhere) == ["private"]


def test_a_link_put_in_a_files_place_is_not_read(take, database, drop, tmp_path):
    (tmp_path / "private").write_bytes(adt("1"))
    (drop / "_work").mkdir()
    (drop / "_work" / "a.hl7").symlink_to(tmp_path / "private")

    assert take() == [Taken(0, 0, "unreadable")]
    assert stored(database) == []
    assert (tmp_path / "private").exists()
