"""The real application under Flask's test client, with people who sign in through its pages."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher
from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from hcrm.accounts import passwords
from hcrm.accounts.models import Account
from hcrm.accounts.service import add_account
from hcrm.app.factory import create_app
from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.settings import Settings, load_settings
from hcrm.core.work import open_work

PASSWORD = "correct horse battery"
OWN_PAGE = {"Origin": "http://localhost"}
_TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')

MakePerson = Callable[..., Account]


class KeptBytecode(BytecodeCache):
    """Compiled templates of this process: each test has an application of its own, and compiling is dear."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._kept:
            bucket.bytecode_from_string(self._kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key] = bucket.bytecode_to_string()


Flask.jinja_options = {"bytecode_cache": KeptBytecode()}


_compile = Rule.compile
_compiled: dict[tuple[Any, ...], tuple[Any, ...]] = {}


def _compile_once(self: Rule) -> None:
    """A route is compiled once: an application has some hundreds of them, and so has the next."""
    key = (self.rule, self.subdomain, self.host, self.merge_slashes, *sorted((self.defaults or {}).items()))
    if key not in _compiled:
        _compile(self)
        builders = self._build.__func__, self._build_unknown.__func__  # type: ignore[attr-defined]
        _compiled[key] = self._parts, self._trace, self._converters, self.arguments, *builders
    self._parts, self._trace, self._converters, arguments, build, build_unknown = _compiled[key]
    self.arguments = set(arguments)
    self._build, self._build_unknown = build.__get__(self, None), build_unknown.__get__(self, None)


Rule.compile = _compile_once  # type: ignore[method-assign]


class Browser:
    """One browser: keeps cookies, and the token of the last page it saw, as a form would."""

    def __init__(self, app: Flask) -> None:
        self.client = app.test_client()
        self.token = ""

    def get(self, path: str, **options: Any) -> TestResponse:
        return self._seen(self.client.get(path, **options))

    def post(self, path: str, fields: dict[str, Any] | None = None, **options: Any) -> TestResponse:
        options.setdefault("headers", OWN_PAGE)
        return self._seen(
            self.client.post(path, data={"csrf_token": self.token, **(fields or {})}, **options)
        )

    def log_in(self, username: str, password: str = PASSWORD) -> TestResponse:
        self.get("/login")
        answer = self.post("/login", {"username": username, "password": password})
        if answer.status_code == 303:
            self.get("/account/password")  # any page: the token is new
        return answer

    def _seen(self, answer: TestResponse) -> TestResponse:
        found = _TOKEN.search(answer.text) if answer.mimetype == "text/html" else None
        if found:
            self.token = found[1]
        return answer


@contextmanager
def no_audit(database: Database) -> Iterator[None]:
    """Meanwhile no audit row can be written. The database is used again by other tests, so the table comes back."""
    _run(database, "ALTER TABLE audit_event RENAME TO audit_event_away")
    try:
        yield
    finally:
        _run(database, "ALTER TABLE audit_event_away RENAME TO audit_event")


def _run(database: Database, statement: str) -> None:
    with database.writer.begin() as connection:
        connection.execute(sa.text(statement))


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hashes that cost nothing: what is tested is who may sign in, not how slowly."""
    monkeypatch.setattr(passwords, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    passwords._nobody.cache_clear()
    yield
    passwords._nobody.cache_clear()


@pytest.fixture
def settings() -> Settings:
    return load_settings()


@pytest.fixture
def app(settings: Settings, database: Database, clock: FixedClock) -> Flask:
    return create_app(settings, database, clock=clock)


@pytest.fixture
def browser_of(app: Flask) -> Callable[..., Browser]:
    """A browser, signed in when a user name is given."""

    def open_browser(username: str | None = None) -> Browser:
        browser = Browser(app)
        if username:
            assert browser.log_in(username).status_code == 303
        return browser

    return open_browser


@pytest.fixture
def make_person(database: Database, clock: FixedClock) -> MakePerson:
    """An account with PASSWORD, committed."""

    def make(username: str = "wang", roles: Sequence[str] = ("service_centre",), **values: Any) -> Account:
        with open_work(database, actor=system_actor("test"), clock=clock) as work:
            return add_account(
                work,
                username=username,
                password_hash=passwords.hash_password(PASSWORD),
                role_names=roles,
                **values,
            )

    return make
