"""What a process starts with: settings, database and clock, opened the same way by every command and every role."""

from dataclasses import dataclass, field
from pathlib import Path

from hcrm.core.clock import Clock, SystemClock, use_zone
from hcrm.core.crypto import KeyRing, load_key_file, make_key_file
from hcrm.core.db import JOBS, Database, Use, parse_url, require_files, require_inbox, sqlite_path
from hcrm.core.destinations import Destinations, load_destinations
from hcrm.core.errors import HcrmError
from hcrm.core.installation import require_own_keys
from hcrm.core.paths import config_path
from hcrm.core.settings import Settings
from hcrm.core.sources import Sources, load_sources


@dataclass(frozen=True)
class Runtime:
    """What entry points need to open a work."""

    settings: Settings
    database: Database
    clock: Clock = field(default_factory=SystemClock)


def key_path(settings: Settings) -> Path:
    """Where the key file lies: HCRM_KEY_FILE, else beside an SQLite database; PostgreSQL must name one."""
    if settings.key_file is not None:
        return settings.key_file
    url = parse_url(settings.db.url)
    if url.get_backend_name() == "sqlite":
        path = sqlite_path(url)
        return path.with_name(path.name + ".key")
    raise HcrmError("key.file", "使用 PostgreSQL 时必须用 HCRM_KEY_FILE 指定密钥文件")


def open_keys(settings: Settings, *, may_make: bool = False) -> KeyRing:
    """The process's keys. `hcrm init` may make the file of an SQLite database; another one is never made silently.

    A new key beside old data would leave every sealed value unreadable, so a missing file stops the start.
    """
    path = key_path(settings)
    is_sqlite = parse_url(settings.db.url).get_backend_name() == "sqlite"
    if may_make and is_sqlite and not path.exists():
        return make_key_file(path)
    return load_key_file(path)


def open_database(settings: Settings, *, use: Use = JOBS, may_be_new: bool = False) -> Database:
    """The database the settings name, with its own keys and no others.

    Dates are counted in the hospital's zone from here on. `may_be_new` is for `hcrm init`.
    """
    url = parse_url(settings.db.url)
    use_zone(settings.zone)
    require_files(url)
    database = Database(url, open_keys(settings), use=use)
    try:
        require_own_keys(database, may_be_new=may_be_new)
        with database.main.connect() as connection:
            require_inbox(connection)
    except BaseException:
        database.dispose()
        raise
    return database


def open_sources(settings: Settings) -> Sources:
    """The sending systems as their files describe them."""
    return load_sources(config_path("sources"), known_senders_only=settings.mllp.known_senders_only)


def open_destinations() -> Destinations:
    """The systems we send to as their files describe them."""
    return load_destinations(config_path("destinations"))
