"""A row that returns to what it was is told again and applied; what is read or sent twice is stored once.

From the file, the envelope and the view inwards, to what the archive says of the stay.
"""

import csv
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from adapters.his.drop_folder import DropFolder, Taken
from hcrm.archive.visit_models import EncounterStatus
from hcrm.core import limits
from hcrm.core.sources import Source, Sources
from hcrm.inbox.intake import StoreUnavailable, store_now
from hcrm.inbox.models import InboxMessage
from hcrm.inbox.polling import poll_view
from hcrm.inbox.rows import row_message
from hcrm.inbox.turns import take_turn
from tests.support.hospital import Hospital
from tests.support.truth_table import evening as evening

COLUMNS = {
    "patient_no": "no", "visit_no": "v", "name": "n", "ward": "w", "phone": "p", "discharged_at": "d",
}  # fmt: skip
TOLD = {**COLUMNS, "event": "e"}
EVENTS = {"IN": "admit", "OUT": "discharge", "BACK": "cancel_discharge"}
FIRST = {"no": "100", "v": "V1", "n": "张三", "w": "W1", "p": "13900000001", "d": ""}
SECOND = FIRST | {"w": "W2", "p": "13900000002"}


class Office:
    """A HIS's office that tells rows in one way, and the hospital that hears them."""

    def __init__(self, hospital: Hospital, folder: Path, his: str, way: str) -> None:
        self.hospital, self.folder, self.his, self.way = hospital, folder, his, way
        self.source = next(each for each in hospital.sources.by_code.values() if each.code == "office")
        self.drop = DropFolder(self.source, hospital.sources)
        self.count = 0

    def tell(self, *rows: dict[str, str]) -> int:
        """Tell them; how many were new."""
        self.hospital.clock.move(minutes=7)
        before = self.messages()
        getattr(self, f"_by_{self.way}")(rows)
        self.hospital.settle()
        return self.messages() - before

    def messages(self) -> int:
        with self.hospital.database.main.connect() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(InboxMessage)) or 0

    def write(self, *rows: dict[str, str]) -> None:
        self.count += 1
        text = io.StringIO()
        csv.writer(text).writerows([list(rows[0]), *(list(row.values()) for row in rows)])
        (self.folder / f"{self.count}.csv").write_text(text.getvalue(), encoding="utf-8")

    def take(self, store: Callable | None = None) -> list[Taken]:
        taken: list[Taken] = []
        self.drop.take_all(store or self.store, self.hospital.clock.now, taken.append)
        return taken

    def store(self, arriving):
        return store_now(self.hospital.database, arriving)

    def _by_list_file(self, rows) -> None:
        self.write(*rows)
        self.take()

    def _by_soap(self, rows) -> None:
        for row in rows:
            self.store([row_message(self.source, "soap", row, peer="soap", at=self.hospital.clock.now())])

    def _by_view(self, rows) -> None:
        engine = sa.create_engine(f"sqlite:///{self.his}")
        with engine.begin() as connection:
            for row in rows:
                self.count += 1
                values = {
                    **{name: row.get(name) or None for name in [*COLUMNS.values(), "e"]},
                    "m": self.count,
                }
                connection.execute(sa.text("DELETE FROM stays WHERE v = :v"), values)
                connection.execute(
                    sa.text("INSERT INTO stays VALUES (:no, :v, :n, :w, :p, :d, :e, :m)"), values
                )
        engine.dispose()
        self.poll()

    def poll(self) -> None:
        database, clock = self.hospital.database, self.hospital.clock
        turn = take_turn(database, clock, source="office", channel="view", owner="test")
        assert turn is not None
        poll_view(database, self.source, turn)
        turn.end()


@pytest.fixture
def office_of(database, evening, tmp_path):
    """An office by its way; keywords are settings of its rows."""
    (tmp_path / "drop").mkdir()
    his = tmp_path / "his.db"
    engine = sa.create_engine(f"sqlite:///{his}")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE stays (no, v, n, w, p, d, e, m INTEGER)"))
    engine.dispose()
    opened: list[Hospital] = []

    def make(way: str, *, of_view: dict | None = None, **rows) -> Office:
        rows = {"columns": COLUMNS, **rows}
        view = {
            "url": f"sqlite:///{his}",
            "name": "stays",
            "watermark": "m",
            "key": ["v"],
            **rows,
            **(of_view or {}),
        }
        source = Source.model_validate({
            "code": "office", "title": "HIS", "default_authority": "H1", "soap": {"rows": rows}, "view": view,
            "folder": {"path": str(tmp_path / "drop"), "still_seconds": 0}, "list_file": rows,
        })  # fmt: skip
        sources = Sources([Source(code="default", title="default"), source])
        opened.append(Hospital(database, evening, sources=sources).__enter__())
        return Office(opened[-1], tmp_path / "drop", str(his), way)

    yield make
    for hospital in opened:
        hospital.__exit__(None, None, None)


WAYS = pytest.mark.parametrize("way", ["list_file", "soap", "view"])


# ── what returns ────────────────────────────────────────────────────────────


@WAYS
def test_a_row_that_returns_to_what_it_was_is_applied_again(office_of, way):
    office = office_of(way)
    for row, phone in ((FIRST, "1"), (SECOND, "2"), (FIRST, "1"), (SECOND, "2"), (FIRST, "1")):
        assert office.tell(row) == 1
        assert office.hospital.phones(100) == [f"+861390000000{phone}"]


@WAYS
def test_a_discharge_taken_back_and_told_again_ends_the_stay(office_of, way):
    office = office_of(way, columns=TOLD, events=EVENTS)
    out = FIRST | {"d": "2026-11-22 12:00:00", "e": "OUT"}
    for row in (FIRST | {"e": "IN"}, out, FIRST | {"e": "BACK"}, out):
        assert office.tell(row) == 1
    assert office.hospital.visit("V1").status is EncounterStatus.FINISHED


@pytest.mark.parametrize("clock", [True, False])
def test_a_list_that_repeats_older_lines_leaves_the_stay_as_its_last_line_says(office_of, clock):
    columns = {**TOLD, "changed_at": "c"} if clock else TOLD
    office = office_of("list_file", columns=columns, events=EVENTS)
    lines = [FIRST | {"e": "IN", "c": "2026-11-21 10:00:00"},
             FIRST | {"d": "2026-11-22 12:00:00", "e": "OUT", "c": "2026-11-22 12:00:00"}]  # fmt: skip
    for _ in range(3):
        office.tell(*lines)
        assert office.hospital.visit("V1").status is EncounterStatus.FINISHED


# ── what comes twice ────────────────────────────────────────────────────────


@pytest.mark.parametrize("way", ["list_file", "soap"])
def test_a_row_told_twice_in_a_row_is_stored_once(office_of, way):
    office = office_of(way)
    assert [office.tell(row) for row in (FIRST, FIRST, SECOND, SECOND, FIRST, FIRST)] == [1, 0, 1, 0, 1, 0]


def test_a_page_of_a_view_read_twice_is_stored_once(office_of):
    office = office_of("view")
    for row in (FIRST, SECOND, FIRST):
        office.tell(row)
    before = office.messages()
    for _ in range(2):
        office.poll()
    assert office.messages() == before == 3


def test_a_file_read_again_after_its_store_went_away_holds_the_rows_it_held(office_of):
    """Several rows of one stay, and only some of them stored."""
    office = office_of("list_file")
    office.tell(SECOND)
    others = [FIRST | {"no": str(n), "v": f"W{n}"} for n in range(499)]
    office.write(FIRST, SECOND, *others, FIRST)
    calls = []

    def away_at_the_second(arriving):
        calls.append(len(arriving))
        if len(calls) > 1:
            raise StoreUnavailable
        return office.store(arriving)

    with pytest.raises(StoreUnavailable):
        office.take(away_at_the_second)
    assert calls == [500, 2]
    assert office.messages() == 1 + 500
    for _ in range(2):
        calls.clear()
        with pytest.raises(StoreUnavailable):
            office.take(away_at_the_second)
        assert office.messages() == 1 + 500
    assert office.take() == [Taken(502, 2)]
    office.hospital.settle()
    assert office.hospital.phones(100) == ["+8613900000001"]


def there_and_back() -> list[dict[str, str]]:
    """A stay that returns to what it was, and more rows than are stored at once."""
    others = [FIRST | {"no": str(n), "v": f"W{n}", "e": "IN"} for n in range(500)]
    return [
        FIRST | {"e": "IN"},
        FIRST | {"d": "2026-11-22 12:00:00", "e": "OUT"},
        FIRST | {"e": "BACK"},
        *others,
    ]


@pytest.mark.parametrize("turns", [["first"], ["first", "none", "none"], ["unsaid"]])
def test_a_list_whose_store_is_away_turn_after_turn_is_doubled_by_nothing(office_of, turns):
    """One part stored, then nothing for turns on end; or stored, and nobody heard of it."""
    office = office_of("list_file", columns=TOLD, events=EVENTS)
    office.write(*there_and_back())

    def away_after(number: int):
        calls = []

        def store(arriving):
            calls.append(len(arriving))
            if len(calls) > number:
                raise StoreUnavailable
            return office.store(arriving)

        return store

    def unsaid(arriving):
        office.store(arriving)
        raise StoreUnavailable

    stores = {"first": away_after(1), "none": away_after(0), "unsaid": unsaid}
    for turn in turns:
        with pytest.raises(StoreUnavailable):
            office.take(stores[turn])
    assert office.take() == [Taken(503, 3)]
    assert office.messages() == 503
    assert not list((office.folder / "_work").iterdir())


def test_a_file_by_the_name_of_one_that_is_gone_is_another_taking(office_of):
    """A person took the first out of `_work`; what it had told is told again by the second."""
    office = office_of("list_file")
    office.write(FIRST)

    def unsaid(arriving):
        office.store(arriving)
        raise StoreUnavailable

    with pytest.raises(StoreUnavailable):
        office.take(unsaid)
    (office.folder / "_work" / "1.csv").unlink()
    assert office.tell(SECOND) == 1
    office.count = 0
    assert office.tell(FIRST) == 1


def test_a_turn_that_is_stopped_counts_against_no_file_while_its_process_lives(office_of):
    office = office_of("list_file")
    office.write(FIRST)

    def stopped(_arriving):
        raise SystemExit

    for _ in range(limits.FILE_TRIES + 1):
        with pytest.raises(SystemExit):
            office.take(stopped)
    assert office.take() == [Taken(1, 1)]


def test_the_same_file_put_in_again_later_is_a_return(office_of):
    office = office_of("list_file")
    assert [office.tell(row) for row in (FIRST, SECOND, FIRST)] == [1, 1, 1]
    assert not list((office.folder / "_work").iterdir())


def test_many_who_tell_one_row_at_once_store_one(office_of):
    office = office_of("soap")
    office.tell(SECOND)
    office.tell(FIRST)
    office.tell(SECOND)
    start = threading.Barrier(6)

    def send() -> None:
        start.wait(30)
        office._by_soap([FIRST])

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert office.messages() == 4


def test_rows_that_name_nobody_are_told_apart_by_what_they_say(office_of):
    office = office_of("list_file")
    one, other = {**FIRST, "no": "", "v": ""}, {**SECOND, "no": "", "v": ""}
    assert office.tell(one, other) == 2
    assert office.tell(one, other) == 0


# ── a view's discharge that is cleared ──────────────────────────────────────

OUT = FIRST | {"d": "2026-11-22 12:00:00"}


def test_a_cleared_time_of_discharge_takes_it_back_where_the_file_says_so(office_of):
    office = office_of("view", of_view={"empty_takes_back": ["discharged_at"]})
    office.tell(FIRST)
    office.tell(OUT)
    assert office.hospital.visit("V1").status is EncounterStatus.FINISHED
    assert office.tell(FIRST) == 1
    assert office.hospital.visit("V1").status is EncounterStatus.IN_PROGRESS
    assert office.tell(SECOND) == 1  # is no cancel of anything
    office.poll()
    assert office.hospital.visit("V1").status is EncounterStatus.IN_PROGRESS
    assert office.tell(OUT) == 1
    assert office.hospital.visit("V1").status is EncounterStatus.FINISHED
    assert kinds(office) == ["ADMIT", "DISCHARGE", "CANCEL_DISCHARGE", "ADMIT", "DISCHARGE"]
    assert office.messages() == 5


def test_a_cleared_time_of_discharge_is_flagged_where_the_file_says_nothing(office_of):
    office = office_of("view")
    office.tell(OUT)
    office.tell(FIRST)
    office.tell(SECOND)
    assert office.hospital.visit("V1").status is EncounterStatus.FINISHED
    assert flags(office) == ["", "discharge_cleared", ""]


def test_what_is_cleared_must_be_a_column_that_says_a_discharge():
    with pytest.raises(ValueError, match="empty_takes_back"):
        Source.model_validate({
            "code": "a", "title": "a", "view": {
                "url": "sqlite:////x", "name": "v", "watermark": "m", "key": ["v"], "event": "discharge",
                "columns": COLUMNS, "empty_takes_back": ["discharged_at"],
            },
        })  # fmt: skip


def kinds(office: Office) -> list[str]:
    return [row.kind.removeprefix("ROW^") for row in rows_of(office)]


def flags(office: Office) -> list[str]:
    return [row.flags for row in rows_of(office)]


def rows_of(office: Office) -> list:
    with office.hospital.database.main.connect() as connection:
        statement = sa.select(InboxMessage.kind, InboxMessage.flags).order_by(InboxMessage.seq)
        return list(connection.execute(statement))


# ── killed on the way ───────────────────────────────────────────────────────

PROGRAM = """
import sys
from adapters.his.drop_folder import DropFolder
from hcrm.core.clock import SystemClock
from hcrm.core.crypto import KeyRing
from hcrm.core.db import Database
from hcrm.core.sources import Source, Sources
from hcrm.inbox.intake import store_now

database = Database(sys.argv[1], KeyRing(current="k1", data={"k1": bytes(range(32))}, index=bytes(range(32, 64))))
source = Source.model_validate_json(sys.argv[3])
DropFolder(source, Sources([source])).take_all(lambda items: store_now(database, items), SystemClock().now, print)
"""


def test_a_list_whose_process_is_killed_between_its_rows_is_doubled_by_nothing(
    database, database_url, office_of
):
    office = office_of("list_file")
    others = [FIRST | {"no": str(n), "v": f"W{n}"} for n in range(499)]
    office.write(FIRST, SECOND, *others, FIRST)
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", PROGRAM, database_url, str(office.folder),
               office.source.model_dump_json(exclude_defaults=True)]  # fmt: skip
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(root), "HCRM_FAULT": "after_commit_before_ack"}, cwd=root,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert office.messages() == 500

    assert office.take() == [Taken(502, 2)]
    assert office.messages() == 502
