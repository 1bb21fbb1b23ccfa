"""Where keys and database of a process come from."""

import pytest
from click.testing import CliRunner

from hcrm.app.install import install
from hcrm.app.processes import serve
from hcrm.cli.main import main
from hcrm.core.errors import HcrmError
from hcrm.core.migrate import require_current_schema
from hcrm.core.runtime import key_path, open_database, open_keys
from hcrm.core.settings import load_settings

POSTGRESQL = "postgresql://localhost/nowhere"


@pytest.fixture
def settings(tmp_path):
    return load_settings(db={"url": f"sqlite:///{tmp_path}/h.db"})


def test_keys_of_sqlite_lie_beside_the_database(settings, tmp_path):
    assert key_path(settings) == tmp_path / "h.db.key"


def test_a_named_key_file_wins(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("HCRM_KEY_FILE", str(tmp_path / "elsewhere"))

    assert key_path(load_settings(db={"url": settings.db.url})) == tmp_path / "elsewhere"


def test_keys_are_made_only_when_asked_and_then_kept(settings):
    with pytest.raises(HcrmError, match="找不到密钥文件"):
        open_keys(settings)

    sealed = open_keys(settings, may_make=True).seal_text("张三")

    assert open_keys(settings, may_make=True).open_text(sealed) == "张三"
    assert key_path(settings).stat().st_mode & 0o077 == 0


def test_postgresql_needs_a_key_file_and_never_gets_one_silently(tmp_path, monkeypatch):
    with pytest.raises(HcrmError, match="HCRM_KEY_FILE"):
        open_keys(load_settings(db={"url": POSTGRESQL}), may_make=True)
    monkeypatch.setenv("HCRM_KEY_FILE", str(tmp_path / "k"))
    with pytest.raises(HcrmError, match="找不到密钥文件"):
        open_keys(load_settings(db={"url": POSTGRESQL}), may_make=True)
    assert not (tmp_path / "k").exists()


def test_a_mistyped_path_makes_no_empty_database(settings, tmp_path):
    open_keys(settings, may_make=True)

    with pytest.raises(HcrmError, match="不存在"):
        open_database(settings)

    assert not (tmp_path / "h.db").exists()


@pytest.mark.parametrize("lost", ["gone", "empty"])
def test_an_archive_without_its_inbox_opens_for_nobody_and_nothing_makes_an_empty_one(
    settings, tmp_path, lost
):
    install(settings)
    inbox = tmp_path / "h.db-inbox"
    inbox.unlink()
    if lost == "empty":
        inbox.touch()
    openings = [
        open_database,
        lambda settings: require_current_schema(settings.db.url),
        lambda settings: serve(settings, http="127.0.0.1:0", mllp="127.0.0.1:0", only=("worker",)),
        install,
    ]
    for opening in openings:
        with pytest.raises(HcrmError, match="从备份恢复") as refusal:
            opening(settings)
        assert refusal.value.code == ("db.inbox_missing" if lost == "gone" else "db.inbox_empty")
        assert inbox.exists() is (lost == "empty")

    shown = CliRunner().invoke(main, ["doctor", "--db", settings.db.url])
    assert shown.exit_code == 1
    assert shown.output.count("从备份恢复") == 1  # said once, at the check that met it first
    assert inbox.exists() is (lost == "empty")
