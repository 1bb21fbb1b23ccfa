"""Where keys and database of a process come from."""

import pytest

from hcrm.core.errors import HcrmError
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
