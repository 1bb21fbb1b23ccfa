"""Small commands say what is wrong in one Chinese sentence and end with 1: no traceback, no "0 done"."""

import socket
import threading

import pytest
from click.testing import CliRunner

from hcrm.app.processes import require_free
from hcrm.cli import demo as demo_module
from hcrm.cli.main import main
from hcrm.core.settings import load_settings
from tests.support.adt import adt
from tests.support.hospital import Hospital


@pytest.fixture
def port() -> int:
    """One that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        found: int = server.getsockname()[1]
    require_free("127.0.0.1", found)
    return found


def simulate(port: int) -> tuple[int, str]:
    done = CliRunner().invoke(
        main, ["simulate", "--patients", "1", "--days", "1", "--to", f"127.0.0.1:{port}"]
    )
    assert isinstance(done.exception, SystemExit)
    return done.exit_code, done.output


def test_a_simulation_towards_nobody_says_so(port):
    code, output = simulate(port)

    assert code == 1
    assert f"hcrm: 连不上 127.0.0.1:{port}" in output


def test_a_simulation_whose_listener_hangs_up_says_how_far_it_came():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            peer, _ = server.accept()
            peer.recv(10)
            peer.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        code, output = simulate(server.getsockname()[1])
        thread.join()

    assert code == 1
    assert "没有应答就断开了，已收下 0 条" in output


def test_replaying_a_message_there_is_none_of_is_refused(database, database_url, monkeypatch):
    monkeypatch.setattr("hcrm.cli.replay.open_database", lambda _: database)
    done = CliRunner().invoke(main, ["inbox", "replay", "--db", database_url, "--seq", "999999"])

    assert done.exit_code == 1
    assert "没有这条消息：999999" in done.output
    huge = CliRunner().invoke(main, ["inbox", "replay", "--db", database_url, "--seq", "9" * 30])
    assert huge.exit_code == 2
    assert isinstance(huge.exception, SystemExit)


def test_replaying_by_a_reason_there_is_none_of_is_refused_and_says_which_there_are(
    database, database_url, clock, monkeypatch
):
    monkeypatch.setattr("hcrm.cli.replay.open_database", lambda _: database)
    with Hospital(database, clock) as hospital:
        hospital.send(adt("A01", c=1, dob="19901340"))
        hospital.settle()

    def replay(reason: str) -> tuple[int, str]:
        done = CliRunner().invoke(
            main, ["inbox", "replay", "--db", database_url, "--parked", "--reason", reason]
        )
        return done.exit_code, done.output

    code, output = replay("impossible_dat")
    assert code == 1
    assert "没有原因 impossible_dat，是否想写 impossible_date？" in output
    assert "已搁置的消息现有：impossible_date（日期或时间不可能存在）" in output
    assert replay("charset") == (0, '{"replayed": 0}\n')  # there is such a reason, and nothing parked for it
    assert replay("impossible_date") == (0, '{"replayed": 1}\n')


def test_only_its_own_account_may_read_what_the_demo_makes(tmp_path, monkeypatch):
    class Done:
        def __init__(self, *_: object) -> None: ...

        def play(self, _: object) -> int:
            return 0

    monkeypatch.setattr(demo_module, "Year", Done)
    monkeypatch.setattr(demo_module, "enter_staff", lambda *_: None)
    demo_module.seed(load_settings(db={"url": f"sqlite:///{tmp_path}/hcrm.db"}), tmp_path, 10)

    made = {
        path.name: path.stat().st_mode & 0o777
        for path in tmp_path.iterdir()
        if path.name.startswith("hcrm.db")
    }
    assert {"hcrm.db", "hcrm.db-inbox", "hcrm.db.key"} <= made.keys()
    assert set(made.values()) == {0o600}
