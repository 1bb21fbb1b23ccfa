"""What `hcrm init` does: schema, keys, definitions, regions, roles and the first administrator."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hcrm.accounts.passwords import hash_password, make_password
from hcrm.accounts.service import ensure_sysadmin
from hcrm.archive.fields.definition import OWN, SHIPPED, FieldsFile, OwnFieldsFile
from hcrm.archive.identity.matching_rule import MatchingRule
from hcrm.archive.test_patients.rules import TestPatientRules
from hcrm.centre.care import CareFile
from hcrm.centre.classification_rules import AxisRules
from hcrm.centre.protocols import Protocol, Protocols, require_known_codes
from hcrm.centre.published import published_rules
from hcrm.core.actor import system_actor
from hcrm.core.crypto import make_key_file
from hcrm.core.db import Database, parse_url, sqlite_path
from hcrm.core.definition_file import Definition, load_definition, load_definitions
from hcrm.core.definitions import latest_definitions, publish_definition
from hcrm.core.installation import ensure_key_mark
from hcrm.core.migrate import migrate
from hcrm.core.paths import config_path
from hcrm.core.runtime import key_path, open_database, open_keys
from hcrm.core.settings import Settings
from hcrm.core.work import Work, open_work
from hcrm.directory.service import load_regions
from hcrm.forms.definition import Questionnaire
from hcrm.segments.service import publish_shipped_segments

KINDS = {
    "classification": "classification", "form": "forms", "protocol": "protocols", "fields": "", "matching": "",
    "test_patients": "", "care": "",
}  # fmt: skip
"""Kinds of definitions and the folders of `config/` they are shipped in."""
MODELS: dict[str, type[Definition]] = {
    "classification": AxisRules, "form": Questionnaire, "protocol": Protocol,
}  # fmt: skip
ROOT_FILES: dict[str, dict[str, type[Definition]]] = {
    "fields": {SHIPPED: FieldsFile, OWN: OwnFieldsFile},
    "matching": {"matching": MatchingRule},
    "test_patients": {"test_patients": TestPatientRules},
    "care": {"care": CareFile},
}
"""Kinds whose few definitions lie in `config/` itself: code and model of each."""
SYSADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Installed:
    """What was done: definitions newly published, and the administrator's password where one was made."""

    published: int
    password: str | None


def install(settings: Settings, *, make_key: bool = False) -> Installed:
    """Create or bring up to date what `--db` names. Running it again changes only what is new.

    `make_key` allows a key file to be made for PostgreSQL too, where it is never made silently.
    """
    url = parse_url(settings.db.url)
    if make_key and not key_path(settings).exists():
        make_key_file(key_path(settings))
    # Beside data that stands a new key would be the wrong one.
    open_keys(settings, may_make=url.get_backend_name() == "sqlite" and not sqlite_path(url).exists())
    migrate(settings.db.url)
    database = open_database(settings, may_be_new=True)
    try:
        return _fill(database)
    finally:
        database.dispose()


def _fill(database: Database) -> Installed:
    password = make_password()
    digest = hash_password(password)  # slow on purpose: before the transaction, not inside
    with open_work(database, actor=system_actor("init")) as work:
        ensure_key_mark(work)
        published = publish_shipped(work)
        publish_shipped_segments(work)
        load_regions(work, config_path("regions.csv"))
        made = ensure_sysadmin(work, username=SYSADMIN, password_hash=digest)
    return Installed(published, password if made else None)


def publish_shipped(work: Work) -> int:
    """Publish every definition of `config/` that is not published yet; how many were new."""
    return publish_folder(work, config_path())


def publish_folder(work: Work, folder: Path) -> int:
    """Publish what is new in a folder laid out like `config/`: all of it or, where anything is wrong, none.

    It may hold a single file: what it does not bring is taken from what is published.
    """
    found = {kind: _read(folder, kind) for kind in KINDS}
    classes = {rules.code: rules.classes for rules in (*published_rules(work), *found["classification"])}
    forms = {*latest_definitions(work, kind="form"), *(form.code for form in found["form"])}
    require_known_codes(Protocols(found["protocol"]), forms=forms, classes=classes)
    return sum(
        publish_definition(
            work, kind=kind, code=item.code, version=item.version, body=_body(folder, kind, item.code)
        )
        for kind, items in found.items()
        for item in items
    )


def _read(folder: Path, kind: str) -> list[Any]:
    """The definitions of one kind, refused with file and line where one is wrong."""
    if kind in ROOT_FILES:
        files = ((folder / f"{code}.yaml", model) for code, model in ROOT_FILES[kind].items())
        return [load_definition(model, path) for path, model in files if path.exists()]
    place = folder / KINDS[kind]
    return load_definitions(MODELS[kind], place) if place.is_dir() else []


def _body(folder: Path, kind: str, code: str) -> str:
    return (folder / KINDS[kind] / f"{code.replace('.', '_')}.yaml").read_text(encoding="utf-8-sig")
