"""What `hcrm init` does: schema, keys, definitions, regions, roles and the first administrator."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from hcrm.accounts.passwords import hash_password, make_password
from hcrm.accounts.service import ensure_sysadmin
from hcrm.core.actor import system_actor
from hcrm.core.db import Database, parse_url
from hcrm.core.definitions import publish_definition
from hcrm.core.migrate import migrate
from hcrm.core.paths import config_path
from hcrm.core.runtime import open_database, open_keys
from hcrm.core.settings import Settings
from hcrm.core.work import Work, open_work
from hcrm.directory.service import load_regions

KINDS = {"classification": "classification", "form": "forms", "protocol": "protocols"}
"""Kinds of definitions and the folders of `config/` they are shipped in."""
SYSADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Installed:
    """What was done: definitions newly published, and the administrator's password where one was made."""

    published: int
    password: str | None


def install(settings: Settings) -> Installed:
    """Create or bring up to date what `--db` names. Running it again changes only what is new."""
    parse_url(settings.db.url)
    open_keys(settings, may_make=True)
    migrate(settings.db.url)
    database = open_database(settings)
    try:
        return _fill(database)
    finally:
        database.dispose()


def _fill(database: Database) -> Installed:
    password = make_password()
    digest = hash_password(password)  # slow on purpose: before the transaction, not inside
    with open_work(database, actor=system_actor("init")) as work:
        published = publish_shipped(work)
        load_regions(work, config_path("regions.csv"))
        made = ensure_sysadmin(work, username=SYSADMIN, password_hash=digest)
    return Installed(published, password if made else None)


def publish_shipped(work: Work) -> int:
    """Publish every definition of `config/` that is not published yet; how many were new."""
    return sum(
        publish_file(work, kind=kind, path=path)
        for kind, folder in KINDS.items()
        for path in sorted(config_path(folder).glob("*.yaml"))
    )


def publish_file(work: Work, *, kind: str, path: Path) -> bool:
    """Publish one file's version; whether it was new."""
    body = path.read_text(encoding="utf-8")
    head = yaml.safe_load(body)
    return publish_definition(work, kind=kind, code=head["code"], version=head["version"], body=body)
