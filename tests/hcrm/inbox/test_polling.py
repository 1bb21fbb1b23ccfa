"""Views of a HIS on PostgreSQL and MariaDB, polled by watermark: nothing lost, nothing twice, nothing written there."""

import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace

import psycopg
import pytest
import sqlalchemy as sa

from hcrm.app.collector import Collector
from hcrm.core.actor import system_actor
from hcrm.core.channels import View
from hcrm.core.errors import HcrmError
from hcrm.core.sources import Source, Sources, load_sources
from hcrm.core.work import open_work
from hcrm.inbox import polling
from hcrm.inbox.cursor_models import SourceCursor
from hcrm.inbox.models import InboxMessage
from hcrm.inbox.polling import back, decode_mark, encode_mark, first_mark, open_view, page_of
from hcrm.inbox.turns import TurnLost, take_turn
from hcrm.inbox.view_faults import view_fault
from hcrm.inbox.words import channel_error
from tests.support.mariadb import MariaDb

COLUMNS = {"patient_no": "brid", "visit_no": "zyh", "name": "xm", "discharged_at": "cysj"}
TABLE = (
    "CREATE TABLE zybr (zyh varchar(20), brid varchar(20), xm varchar(40), cysj timestamp NULL, "
    "gxsj timestamp(6) NULL)"
)


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDb]:
    server = MariaDb()
    yield server
    server.stop()


@pytest.fixture(params=["postgresql", "mariadb"])
def his(request, monkeypatch, postgresql_databases, tmp_path) -> Iterator[SimpleNamespace]:
    """The hospital's own database with a table and the view we are given; `run` is its administrator."""
    monkeypatch.setenv("HIS_VIEW_PASSWORD", "Reader-2026")
    if request.param == "mariadb":
        found = request.getfixturevalue("mariadb")
        found.run(
            "DROP VIEW IF EXISTS v_cy",
            "DROP TABLE IF EXISTS zybr",
            TABLE.replace("timestamp", "datetime"),
            "CREATE VIEW v_cy AS SELECT * FROM zybr",
        )
        yield SimpleNamespace(url=found.url, run=found.run, engine="mariadb")
        return
    with postgresql_databases.blank(tmp_path) as url:
        plain = url.replace("postgresql+psycopg", "postgresql")

        def run(*statements: str) -> None:
            with psycopg.connect(plain, autocommit=True) as connection:
                for statement in statements:
                    connection.execute(statement)  # type: ignore[call-overload]

        run(TABLE, "CREATE VIEW v_cy AS SELECT * FROM zybr")
        yield SimpleNamespace(
            url=str(sa.make_url(plain)._replace(password=None)), run=run, engine="postgresql"
        )


def source_of(his, **more) -> Source:
    password = {"password_env": "HIS_VIEW_PASSWORD"} if his.engine == "mariadb" else {}
    view = {
        "url": his.url, "name": "v_cy", "watermark": "gxsj", "key": ["zyh"], "columns": COLUMNS, **password, **more,
    }  # fmt: skip
    return Source.model_validate(
        {"code": "his_view", "title": "HIS", "default_authority": "H1", "view": view}
    )


Poll = Callable[..., SourceCursor]


@pytest.fixture
def poll(database, clock, his) -> Poll:
    """One turn over the view; the cursor afterwards."""

    def turn(collector: Collector | None = None, **more) -> SourceCursor:
        collector = collector or Collector(database, Sources([source_of(his, **more)]), clock)
        (channel,) = collector.channels
        assert collector.turn(channel)
        with open_work(database, actor=system_actor("test"), clock=clock, write=False) as work:
            return work.one(SourceCursor, SourceCursor.source == "his_view")

    return turn


def add(his, number: int, changed: str = "2026-11-22 09:00:00", *, patient: str = "") -> None:
    his.run(
        f"INSERT INTO zybr VALUES ('V{number}', '{patient or number}', '张三', '2026-11-22 08:00:00', '{changed}')"
    )


def visits(database) -> list[str]:
    with database.main.connect() as connection:
        rows = connection.execute(sa.select(InboxMessage.raw).order_by(InboxMessage.seq))
        found = [database.keys.open(row.raw).decode() for row in rows]
    return [text.partition('"zyh":"')[2].partition('"')[0] for text in found]


# ── reading ─────────────────────────────────────────────────────────────────


def test_what_is_new_is_read_once_and_the_cursor_says_how_it_went(database, clock, his, poll):
    add(his, 1)
    add(his, 2)
    cursor = poll()
    assert (cursor.rows_last, cursor.rows_total, cursor.last_error) == (2, 2, None)
    assert cursor.last_run_at == cursor.last_ok_at == clock.now()
    assert cursor.leased_by is None
    assert decode_mark(cursor.watermark).isoformat() == "2026-11-22T09:00:00"

    assert poll().rows_total == 2  # nothing new
    add(his, 3, "2026-11-22 09:30:00")
    assert poll().rows_total == 3
    assert visits(database) == ["V1", "V2", "V3"]


def test_rows_with_one_watermark_are_not_lost_between_pages(database, his, poll):
    for number in range(7):
        add(his, number)
    assert poll(batch=2).rows_total == 7
    assert sorted(visits(database)) == [f"V{number}" for number in range(7)]


def test_a_row_that_appears_late_below_the_watermark_is_found(database, his, poll):
    add(his, 1, "2026-11-22 09:00:00")
    poll()
    add(his, 2, "2026-11-22 08:57:00")  # a transaction that took three minutes
    assert poll().rows_total == 2
    add(his, 3, "2026-11-22 08:50:00")  # beyond the overlap: not ours to find
    assert poll().rows_total == 2


def test_a_row_that_changed_is_a_message_of_its_own(database, his, poll):
    add(his, 1)
    poll()
    his.run("UPDATE zybr SET xm = '张三丰', gxsj = '2026-11-22 09:10:00'")
    assert poll().rows_total == 2
    assert visits(database) == ["V1", "V1"]


def test_a_watermark_in_the_future_hides_nothing_that_follows(database, his, poll):
    add(his, 1, "2062-11-22 09:00:00")
    assert poll().rows_total == 1
    add(his, 2, "2026-11-22 09:59:00")
    cursor = poll()
    assert cursor.rows_total == 2
    assert decode_mark(cursor.watermark).year == 2026


def test_reading_begins_where_the_file_says(database, his, poll):
    add(his, 1, "2025-01-01 00:00:00")
    add(his, 2, "2026-11-22 09:00:00")
    assert poll(since="2026-11-01T00:00:00").rows_total == 1
    assert visits(database) == ["V2"]


def test_a_crash_after_the_store_repeats_and_doubles_nothing(database, clock, his, poll, monkeypatch):
    add(his, 1)
    collector = Collector(database, Sources([source_of(his)]), clock)
    with monkeypatch.context() as broken:
        broken.setattr("hcrm.inbox.turns.Turn.advance", lambda *_, **__: sys.exit(9))
        with pytest.raises(SystemExit):
            collector.turn(collector.channels[0])
    assert visits(database) == ["V1"]

    clock.move(minutes=6)  # the dead process's turn is over
    assert poll().rows_total == 0
    assert visits(database) == ["V1"]


# ── turns ───────────────────────────────────────────────────────────────────


def test_one_process_at_a_time_has_the_turn(database, clock):
    first = take_turn(database, clock, source="a", channel="view", owner="one")
    assert first is not None
    assert take_turn(database, clock, source="a", channel="view", owner="two") is None
    assert take_turn(database, clock, source="b", channel="view", owner="two") is not None

    clock.move(minutes=6)
    second = take_turn(database, clock, source="a", channel="view", owner="two")
    assert second is not None
    with pytest.raises(TurnLost):
        first.advance(rows=1, new=1, watermark="n:1")
    second.end()
    assert take_turn(database, clock, source="a", channel="view", owner="one") is not None


# ── faults ──────────────────────────────────────────────────────────────────


def test_the_view_is_read_by_a_session_that_cannot_write(his):
    view = source_of(his).view
    assert view is not None
    engine = open_view(view)
    with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError, match=r"(?i)read.only|denied"):
        connection.execute(sa.text("DELETE FROM zybr"))
    engine.dispose()


def test_a_statement_that_takes_too_long_is_given_up(his):
    view = source_of(his, statement_seconds=1).view
    assert view is not None
    engine = open_view(view)
    sleep = "SELECT pg_sleep(20)" if his.engine == "postgresql" else "SELECT sleep(20)"
    with engine.connect() as connection, pytest.raises(sa.exc.OperationalError):
        connection.execute(sa.text(sleep))
    engine.dispose()


@pytest.mark.parametrize(
    ("broken", "error"),
    [({"name": "v_none"}, "view.missing"), ({"watermark": "none"}, "view.missing"),
     ({"url": "postgresql://nobody@127.0.0.1:1/his", "password_env": ""}, "view.host"),
     ({"url": "oracle://u@127.0.0.1/his", "password_env": ""}, "view.driver"),
     ({"password_env": "HIS_NOT_SET"}, "view.password")],
)  # fmt: skip
def test_what_goes_wrong_is_written_on_the_cursor_and_tried_again(database, his, poll, capfd, broken, error):
    add(his, 1)
    cursor = poll(**broken)
    assert cursor.last_error == error
    assert (cursor.rows_total, cursor.last_ok_at, cursor.leased_by) == (0, None, None)
    assert "Reader-2026" not in "".join(capfd.readouterr())

    assert poll().rows_total == 1


def test_with_too_much_waiting_nothing_more_is_read(his, poll, monkeypatch):
    add(his, 1)
    monkeypatch.setattr(polling, "is_full", lambda _: True)
    cursor = poll()
    assert (cursor.last_error, cursor.rows_total) == ("inbox.full", 0)


def test_rows_the_key_cannot_tell_apart_are_a_fault_that_is_named(his, poll):
    for _ in range(4):
        add(his, 1)
    assert poll(batch=2).last_error == "view.key_repeats"


# ── why it cannot be read ───────────────────────────────────────────────────


def fault_of(his, **more) -> str:
    """What reading the view ends with."""
    view = source_of(his, **more).view
    assert view is not None
    engine = open_view(view)
    try:
        with engine.connect() as connection:
            connection.execute(page_of(view, None, None)).all()
    except sa.exc.SQLAlchemyError as error:
        return view_fault(error)
    finally:
        engine.dispose()
    return ""


def changed(his, **more) -> str:
    return sa.make_url(his.url).set(**more).render_as_string(hide_password=False)


def test_a_database_that_lets_nobody_in_is_told_by_its_cause(his):
    assert fault_of(his) == ""
    assert fault_of(his, url=changed(his, port=1)) == "view.host"
    assert fault_of(his, url=changed(his, username="nobody_here")) == "view.login"
    found = fault_of(his, url=changed(his, database="no_such_database"))
    assert found == "view.database" or (
        his.engine == "mariadb" and found == "view.rights"
    )  # it tells no stranger


def test_a_view_or_column_that_is_not_there_is_told(his):
    for more in ({"name": "v_none"}, {"watermark": "none"}, {"columns": {**COLUMNS, "phone": "none"}}):
        assert fault_of(his, **more) == "view.missing"


def test_an_account_without_rights_is_told(his):
    if his.engine == "mariadb":
        his.run("DROP USER IF EXISTS poor@'127.0.0.1'", "CREATE USER poor@'127.0.0.1' IDENTIFIED BY 'Reader-2026'",
                "GRANT CREATE ON his.* TO poor@'127.0.0.1'")  # fmt: skip
    else:
        his.run("DO $$ BEGIN CREATE ROLE poor LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")

    assert fault_of(his, url=changed(his, username="poor")) == "view.rights"


def test_a_statement_that_takes_too_long_is_told(his):
    sleep = "SELECT sleep(20) AS s" if his.engine == "mariadb" else "SELECT pg_sleep(20) AS s"
    his.run("INSERT INTO zybr VALUES ('V1', '1', 'x', NULL, '2026-11-22 09:00:00')", "DROP VIEW v_cy",
            f"CREATE VIEW v_cy AS SELECT zybr.* FROM zybr, ({sleep}) t WHERE t.s IS NOT NULL")  # fmt: skip

    assert fault_of(his, statement_seconds=1) == "view.timeout"


def test_every_cause_has_words():
    codes = {"view.host", "view.login", "view.database", "view.missing", "view.rights", "view.timeout"}

    assert all(channel_error(code) != code for code in codes)


# ── the file ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "wrong",
    [{"url": "mysql://u:secret@h/d"}, {"url": "mysql://u@h/d?passwd=secret"}, {"name": "v; DROP TABLE x"},
     {"name": "(select 1)"}, {"key": []}, {"columns": {"name": "xm"}}, {"columns": {**COLUMNS, "shoe_size": "xh"}},
     {"columns": {"patient_no": "a", "visit_no": "a"}}, {"events": {"x": "admit"}}],
)  # fmt: skip
def test_a_view_that_is_not_described_rightly_stops_the_start_without_showing_a_password(tmp_path, wrong):
    import yaml

    view = {"url": "mysql://u@h/d", "name": "v", "watermark": "t", "key": ["k"], "columns": COLUMNS, **wrong}
    (tmp_path / "his.yaml").write_text(yaml.safe_dump({"code": "his", "title": "HIS", "view": view}))

    with pytest.raises(HcrmError, match=r"his\.yaml") as refused:
        load_sources(tmp_path)
    assert "secret" not in refused.value.message


@pytest.mark.parametrize(
    ("since", "overlap", "expected"),
    [("2026-11-22T10:00:00", 300, "t:2026-11-22T09:55:00"), ("2026-11-22", 300, "d:2026-11-21"), ("1000", 10, "n:990"),
     ("20261122100000", 300, "s:20261122095500"), ("abc", 300, "s:abc")],
)  # fmt: skip
def test_marks_are_times_numbers_or_texts(since, overlap, expected):
    view = View(url="mysql://u@h/d", name="v", watermark="t", key=("k",), columns=COLUMNS, since=since)
    mark = back(first_mark(view), overlap)
    if since == "2026-11-22":
        mark = first_mark(view) - timedelta(days=1)  # type: ignore[operator]
    assert mark is not None
    assert encode_mark(mark) == expected
    assert decode_mark(encode_mark(mark)) == mark
