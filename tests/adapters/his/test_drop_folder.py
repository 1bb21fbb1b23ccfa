"""Drop folders: taken whole, stored, then archived; nothing lost or doubled by crashes, second workers or bad files."""

import csv
import io
import os
import signal
import subprocess
import sys
import threading
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import openpyxl
import pytest

from adapters.his.drop_folder import DropFolder, Taken
from hcrm.app.collector import Collector
from hcrm.core.actor import system_actor
from hcrm.core.errors import HcrmError
from hcrm.core.sources import Source, Sources
from hcrm.core.work import open_work
from hcrm.inbox.cursor_models import SourceCursor
from hcrm.inbox.intake import StoreUnavailable, store_now
from tests.support.listener import adt, refusals, stored

COLUMNS = {"patient_no": "病人ID", "visit_no": "住院号", "name": "姓名", "discharged_at": "出院时间"}
NAMES = list(COLUMNS.values())
ROWS = [
    ["100", "V1", "张三", datetime(2026, 11, 21, 10, 30)],  # noqa: DTZ001  as a sheet holds it
    ["101", "V2", "李四", datetime(2026, 11, 21, 11, 0)],  # noqa: DTZ001  as a sheet holds it
]


@pytest.fixture
def drop(tmp_path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


def source_of(drop: Path, *, rows=COLUMNS, **settings) -> Source:
    folder = {"path": str(drop), "still_seconds": 0, **settings}
    return Source.model_validate(
        {
            "code": "his_files",
            "title": "HIS",
            "folder": folder,
            "list_file": {"columns": rows} if rows else None,
        }
    )


def sources_of(source: Source) -> Sources:
    return Sources([Source(code="default", title="default"), source])


class Taker:
    """A process that takes files in."""

    def __init__(self, database, clock, source) -> None:
        self.folder = DropFolder(source, sources_of(source))
        self._database, self._clock = database, clock
        self.taken: list[Taken] = []

    def __call__(self, store=None) -> list[Taken]:
        self.taken = []
        self.folder.take_all(
            store or (lambda items: store_now(self._database, items)), self._clock.now, self.taken.append
        )
        return self.taken


@pytest.fixture
def take(database, clock, drop) -> Taker:
    return Taker(database, clock, source_of(drop))


def csv_text(*lines) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue()


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


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


def told(drop, name: str) -> str:
    return (drop / "_error" / f"20261122-{name}.reason.txt").read_text(encoding="utf-8")


def test_a_list_without_a_description_of_its_columns_is_not_guessed(database, clock, drop):
    take = Taker(database, clock, source_of(drop, rows=None))
    (drop / "a.csv").write_text(csv_text(NAMES, *ROWS), encoding="utf-8")
    assert [taken.reason for taken in take()] == ["no_list"]


def test_old_days_of_the_archive_go_and_nothing_else(take, drop):
    for name in ("20261001", "20261121", "keep"):
        (drop / "_archive" / name).mkdir(parents=True)
    take()
    assert sorted(path.name for path in (drop / "_archive").iterdir()) == ["20261121", "keep"]


# ── crashes and second workers ──────────────────────────────────────────────


def test_while_the_store_is_away_the_file_stays_and_is_taken_later(take, database, drop):
    (drop / "a.hl7").write_bytes(adt("1"))

    def away(_items):
        raise StoreUnavailable

    with pytest.raises(StoreUnavailable):
        take(away)
    assert names(drop) == ["_work/a.hl7"]
    assert take.folder.has_left_over()
    assert take() == [Taken(1, 1)]
    assert names(drop) == ["_archive/20261122/a.hl7"]


PROGRAM = """
import sys
from adapters.his.drop_folder import DropFolder
from hcrm.core.clock import SystemClock
from hcrm.core.crypto import KeyRing
from hcrm.core.db import Database
from hcrm.core.sources import Source, Sources
from hcrm.inbox.intake import store_now

database = Database(sys.argv[1], KeyRing(current="k1", data={"k1": bytes(range(32))}, index=bytes(range(32, 64))))
source = Source.model_validate(
    {"code": "his_files", "title": "HIS", "folder": {"path": sys.argv[2], "still_seconds": 0}}
)
DropFolder(source, Sources([source])).take_all(lambda items: store_now(database, items), SystemClock().now, print)
"""


@pytest.mark.parametrize("point", ["before_commit", "after_commit_before_ack"])
def test_a_process_killed_on_the_way_loses_nothing_and_doubles_nothing(
    database, database_url, clock, drop, point
):
    for n in range(3):
        (drop / f"{n}.hl7").write_bytes(adt(str(n)))
    command = [sys.executable, "-c", PROGRAM, database_url, str(drop)]
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    for nth in (1, 2):
        done = subprocess.run(
            command,
            env={**environment, "HCRM_FAULT": f"{point}:{nth}"},
            cwd=root,
            capture_output=True,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    subprocess.run(command, env=environment, cwd=root, check=True, capture_output=True)

    assert sorted(control_id for control_id, _ in stored(database)) == ["0", "1", "2"]
    assert len(names(drop)) == 3
    assert all(name.startswith("_archive/") for name in names(drop))


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


def test_two_workers_never_take_one_file(database, clock, drop):
    for n in range(40):
        (drop / f"{n}.hl7").write_bytes(adt(str(n)))
    takers = [Taker(database, clock, source_of(drop)) for _ in range(3)]
    threads = [threading.Thread(target=taker) for taker in takers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(stored(database)) == 40
    assert sum(taken.new for taker in takers for taken in taker.taken) == 40
    assert len(names(drop)) == 40


def test_the_collector_takes_in_and_says_how_it_went(database, clock, drop):
    source = source_of(drop)
    collector = Collector(database, sources_of(source), clock)
    (channel,) = collector.channels
    assert channel.is_idle()
    (drop / "a.hl7").write_bytes(adt("1"))
    (drop / "b.csv").write_text(csv_text(NAMES, *ROWS), encoding="utf-8")
    assert not channel.is_idle()
    assert collector.turn(channel)
    with open_work(database, actor=system_actor("test"), clock=clock, write=False) as work:
        cursor = work.one(SourceCursor)
    assert (cursor.source, cursor.channel, cursor.rows_last, cursor.rows_total) == (
        "his_files",
        "folder",
        3,
        3,
    )
    assert cursor.last_error is None


def test_a_folder_that_is_away_is_told_and_tried_again(database, clock, drop):
    source = source_of(drop / "gone")
    collector = Collector(database, sources_of(source), clock)
    (channel,) = collector.channels
    for expected in ("FileNotFoundError", None):
        assert not channel.is_idle() or expected is None
        collector.turn(channel)
        with open_work(database, actor=system_actor("test"), clock=clock, write=False) as work:
            assert work.one(SourceCursor).last_error == expected
        (drop / "gone").mkdir(exist_ok=True)
        clock.move(seconds=5)


def test_a_collector_in_its_threads_goes_on_until_it_is_told_to_stop(database, clock, drop):
    source = source_of(drop, every_seconds=1)
    stop = threading.Event()
    collector = Collector(database, sources_of(source), clock)
    collector.run(stop)
    for n in range(2):
        (drop / f"{n}.hl7").write_bytes(adt(str(n)))
        deadline = datetime.now(UTC) + timedelta(seconds=15)
        while len(stored(database)) <= n and datetime.now(UTC) < deadline:
            stop.wait(0.1)
    stop.set()
    collector.join(10)
    assert [control_id for control_id, _ in stored(database)] == ["0", "1"]


def test_a_list_needs_a_folder():
    with pytest.raises(ValueError, match="folder"):
        Source.model_validate({"code": "a", "title": "a", "list_file": {"columns": {"patient_no": "a"}}})
    with pytest.raises(ValueError, match="绝对路径"):
        source_of(Path("relative"))
    assert HcrmError is not None


# ── files that end the process that reads them ──────────────────────────────

TAKE_LISTS = PROGRAM.replace(
    '"folder": {"path": sys.argv[2], "still_seconds": 0}}',
    '"folder": {"path": sys.argv[2], "still_seconds": 0},'
    ' "list_file": {"columns": {"patient_no": "病人ID", "visit_no": "住院号"}}}',
)


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


def run_program(program: str, *arguments: str) -> subprocess.CompletedProcess:
    root = Path(__file__).resolve().parents[3]
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], env={**os.environ, "PYTHONPATH": str(root)}, cwd=root,
        capture_output=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "dimension"),
    [
        ([*HEADS, ("XFD1048576", "2")], "A1:XFD1048576"),
        ([*HEADS, ("XFD1048576", "2")], "A1:B2"),
        ([*HEADS, ("ZZ1048576", "2")], "A1:B2"),
    ],
)
def test_a_sheet_that_asks_for_a_terabyte_ends_no_process_and_holds_up_no_file(
    database, database_url, drop, cells, dimension
):
    workbook(drop / "a.xlsx", *cells, dimension=dimension)
    assert (drop / "a.xlsx").stat().st_size < 3000
    workbook(drop / "b.xlsx", *HEADS, ("A2", "1"), ("B2", "V1"))

    done = run_program(TAKE_LISTS, database_url, str(drop))

    assert done.returncode == 0, done.stderr.decode()
    assert len(stored(database)) == 1
    assert [path.suffix for path in sorted((drop / "_error").iterdir())] == [".xlsx", ".txt"]
    assert "行数" in next((drop / "_error").glob("*.reason.txt")).read_text(encoding="utf-8")


def test_a_file_that_ended_its_process_twice_is_put_aside_and_those_behind_it_come_in(
    take, database, database_url, drop
):
    (drop / "a.csv").write_text(csv_text(NAMES, ROWS[0]), encoding="utf-8")
    dying = TAKE_LISTS.replace(
        "lambda items: store_now(database, items)", "lambda items: __import__('os').abort()"
    )
    for _ in range(2):
        assert run_program(dying, database_url, str(drop)).returncode == -signal.SIGABRT
    (drop / "b.hl7").write_bytes(adt("1"))

    assert [taken.reason for taken in take()] == ["crashed", ""]
    assert stored(database) == [("1", "")]
    assert refusals(database) == ["file"]
    assert sorted(names(drop)) == [
        "_archive/20261122/b.hl7", "_error/20261122-a.csv", "_error/20261122-a.csv.reason.txt",
    ]  # fmt: skip
    (drop / "_error" / "20261122-a.csv").rename(drop / "a.csv")  # put back, it has its tries again
    assert take() == [Taken(1, 1)]


def test_a_store_that_is_away_counts_against_no_file(take, database, drop):
    (drop / "a.csv").write_text(csv_text(NAMES, *ROWS), encoding="utf-8")

    def away(_items):
        raise StoreUnavailable

    for _ in range(5):
        with pytest.raises(StoreUnavailable):
            take(away)
    assert take() == [Taken(2, 2)]


def test_a_sheet_is_read_whole_with_its_times_and_numbers(take, database, drop):
    book = openpyxl.Workbook()
    book.active.append(NAMES)
    for n in range(1_200):
        book.active.append([n, f"V{n}", "张三\n", ROWS[0][3]])
    book.save(drop / "a.xlsx")
    assert take() == [Taken(1_200, 1_200)]
