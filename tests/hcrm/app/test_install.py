"""One database, one key file: nobody starts with another."""

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from hcrm.app.install import install
from hcrm.app.processes import serve
from hcrm.cli.main import main
from hcrm.core.crypto import load_key_file, make_key_file
from hcrm.core.errors import HcrmError
from hcrm.core.migrate import migrate
from hcrm.core.runtime import key_path, open_database
from hcrm.core.settings import Settings, load_settings

WRONG = "密钥文件与数据库不符"


@pytest.fixture
def installed(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cheap_passwords: None
) -> Settings:
    """An installation, its key file in HCRM_KEY_FILE."""
    monkeypatch.setenv("HCRM_KEY_FILE", str(tmp_path / "keys.json"))
    make_key_file(tmp_path / "keys.json")
    settings = load_settings(db={"url": database_url})
    install(settings)
    return settings


def another_key_file(tmp_path: Path, *, kept: str) -> Path:
    """As made for another installation, but for one part of ours."""
    path = tmp_path / "others.json"
    make_key_file(path)
    ours = json.loads((tmp_path / "keys.json").read_text())
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | ({kept: ours[kept]} if kept else {})))
    return path


@pytest.mark.parametrize("kept", ["", "data", "index"])
def test_with_another_key_file_nothing_starts(
    installed: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    monkeypatch.setenv("HCRM_KEY_FILE", str(another_key_file(tmp_path, kept=kept)))
    settings = load_settings(db={"url": installed.db.url})

    for start in (
        lambda: open_database(settings),
        lambda: serve(settings, http="127.0.0.1:0", mllp="127.0.0.1:0"),
        lambda: install(settings),
    ):
        with pytest.raises(HcrmError, match=WRONG):
            start()
    told = CliRunner().invoke(main, ["doctor", "--db", installed.db.url])
    assert told.exit_code == 1
    assert f"✗ 密钥与数据库 keys and database：{WRONG}" in told.output


def test_with_its_own_key_file_all_is_well_however_often_it_is_installed(installed: Settings) -> None:
    install(installed)

    open_database(installed).dispose()
    told = CliRunner().invoke(main, ["doctor", "--db", installed.db.url])
    assert (told.exit_code, "✗" in told.output) == (0, False)


def test_a_rotated_key_opens_what_the_old_one_sealed(installed: Settings, tmp_path: Path) -> None:
    content = json.loads((tmp_path / "keys.json").read_text())
    make_key_file(tmp_path / "new.json")
    content["data"]["k2"] = json.loads((tmp_path / "new.json").read_text())["data"]["k1"]
    (tmp_path / "keys.json").write_text(json.dumps(content | {"current": "k2"}))

    open_database(installed).dispose()


def test_a_database_that_was_never_initialised_is_refused(
    blank_database_url: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("HCRM_KEY_FILE", str(tmp_path / "keys.json"))
    make_key_file(tmp_path / "keys.json")
    migrate(blank_database_url)

    with pytest.raises(HcrmError, match="hcrm init"):
        open_database(load_settings(db={"url": blank_database_url}))
    migrate(blank_database_url, "base")
    with pytest.raises(HcrmError, match="hcrm init"):
        open_database(load_settings(db={"url": blank_database_url}))


def test_beside_data_that_stands_no_new_key_is_made(tmp_path: Path, cheap_passwords: None) -> None:
    settings = load_settings(db={"url": f"sqlite:///{tmp_path}/h.db"})
    install(settings)
    kept = tmp_path / "kept"
    shutil.move(key_path(settings), kept)

    with pytest.raises(HcrmError, match="找不到密钥文件"):
        install(settings)
    assert not key_path(settings).exists()

    shutil.move(kept, key_path(settings))
    install(settings)
    assert load_key_file(key_path(settings))


def test_only_its_own_account_may_read_what_init_makes(tmp_path: Path, cheap_passwords: None) -> None:
    before = os.umask(0o022)
    try:
        done = CliRunner().invoke(main, ["init", "--db", f"sqlite:///{tmp_path}/h.db"])
        assert os.umask(0o022) == 0o022  # as it was
    finally:
        os.umask(before)

    assert done.exit_code == 0, done.output
    made = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert {"h.db", "h.db-inbox", "h.db.key"} <= made.keys()
    assert set(made.values()) == {0o600}


def test_the_doctor_names_the_key_file_in_use_and_no_file_for_what_nobody_set(
    tmp_path: Path, cheap_passwords: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HCRM_DB__URL", raising=False)
    monkeypatch.delenv("HCRM_KEY_FILE", raising=False)
    url = f"sqlite:///{tmp_path}/h.db"
    CliRunner().invoke(main, ["init", "--db", url])

    told = CliRunner().invoke(main, ["doctor", "--db", url]).output.splitlines()
    assert f"key_file = {tmp_path}/h.db.key  (默认 default)" in told
    assert f"db.url = {url}  (--db)" in told
    assert "http.threads = 8  (config/hcrm.toml)" in told

    blank = CliRunner().invoke(main, ["doctor"])
    assert blank.exit_code == 1
    assert "db.url =   (未设置 not set)" in blank.output
