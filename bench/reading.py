"""Section `reading`: how long a search, a patient's page and a list take on a full archive, on both databases.

Pages are asked of the application itself, by Flask's test client in this process: all of ours is in the figure, but
not the socket of the HTTP server, which on loopback is less than a millisecond. A search is the function those pages
call; its statements, asked once more of the database driver with every row fetched, are its query. Every repeat asks
for another patient, name or number; the first of each is not counted.
"""

import re
import secrets
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask.testing import FlaskClient

from bench import ours
from bench.places import DATABASE, Place, sqlite_place
from bench.reading_archive import reading_archive
from bench.reading_asks import Form, actors, as_seen_by, look_around, pages, searches, segments
from bench.reading_copy import copy_archive
from bench.report import Aim, Section, figure, table
from bench.setting import Setting
from hcrm.accounts.models import Account
from hcrm.accounts.passwords import hash_password
from hcrm.accounts.service import add_account
from hcrm.app.factory import create_app
from hcrm.app.wiring import SEGMENT_FIELDS
from hcrm.archive.search.patients import search_patients
from hcrm.core.actor import Actor, system_actor
from hcrm.core.db import WEB, Database
from hcrm.core.runtime import open_database
from hcrm.core.settings import Settings, load_settings
from hcrm.core.work import Work, open_work
from hcrm.desk.search import PatientSearch, patient_filters
from hcrm.segments.catalogue import use_fields
from hcrm.segments.columns import DEFAULT_COLUMNS
from hcrm.segments.filters import SegmentFilter
from hcrm.segments.models import Segment
from hcrm.segments.queries import count_patients, list_patients

REPEATS = 20
QUERY_MS, PAGE_MS = 20, 100
_TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')


Read = Callable[[Work], object]
Statement = tuple[str, Any]


@dataclass
class Times:
    """Milliseconds, by what was measured."""

    query: dict[str, list[float]] = field(default_factory=dict)  # in the database alone
    function: dict[str, list[float]] = field(default_factory=dict)  # that asks and makes the rows of a page
    page: dict[str, list[float]] = field(default_factory=dict)


def measure_reading(setting: Setting, loaded: Path | None) -> Section:
    """All of it on SQLite, then on PostgreSQL."""
    if loaded is None:
        raise RuntimeError("no full archive")
    archive = reading_archive(setting, loaded)
    with ExitStack() as stack:
        places = {"SQLite": sqlite_place(archive)}
        if setting.postgresql:
            folder = stack.enter_context(setting.room("reading PostgreSQL"))
            empty = stack.enter_context(ours.empty_place(setting, folder, on_postgresql=True))
            started = time.monotonic()
            copy_archive(archive / DATABASE, empty.url)
            setting.say(f"copied into PostgreSQL in {time.monotonic() - started:.0f} s")
            # The rows are sealed under the key of the archive they come from.
            key = {"HCRM_KEY_FILE": str(archive / f"{DATABASE}.key")}
            places["PostgreSQL"] = Place(folder, empty.url, key)
        times = {}
        for name, place in places.items():
            setting.say(f"reading: {name}")
            times[name] = _measure(place)
    return _report(setting, times)


def _measure(place: Place) -> Times:
    keys = {"key_file": place.env["HCRM_KEY_FILE"]} if place.env else {}
    settings = load_settings(db={"url": place.url}, **keys)
    database = open_database(settings, use=WEB)
    try:
        return _time_all(settings, database)
    finally:
        database.dispose()


def _time_all(settings: Settings, database: Database) -> Times:
    use_fields(SEGMENT_FIELDS)
    house, times = look_around(database), Times()
    for who, actor in actors(house).items():
        for name, forms in searches(as_seen_by(actor, house)).items():
            key = f"{name}, {who}"
            times.function[key], times.query[key] = _time_searches(database, actor, forms)
    for name, raw in segments(house).items():
        times.function[f"count: {name}"] = _time_reads(database, _counting(raw))
        times.function[f"segment: {name}"] = _time_reads(database, _listing(raw))
    with _People(database) as people:
        client = _sign_in(create_app(settings, database).test_client(), people)
        for name, asks in pages(house, database).items():
            times.page[name] = _time_pages(client, asks)
    return times


def _counting(raw: Mapping[str, Any]) -> Read:
    return lambda work: count_patients(work, SegmentFilter.model_validate(raw), seconds=60)


def _listing(raw: Mapping[str, Any]) -> Read:
    segment = Segment(id="bench", filter=raw)
    return lambda work: list_patients(work, segment, columns=DEFAULT_COLUMNS, sort="seen", key=None, size=50)


# ── timing ──────────────────────────────────────────────────────────────────


def _time_reads(database: Database, read: Read) -> list[float]:
    found = []
    for _ in range(REPEATS // 2 + 1):
        with open_work(database, actor=system_actor("bench"), write=False) as work:
            started = time.perf_counter()
            read(work)
            found.append((time.perf_counter() - started) * 1000)
            work.take_deferred()
    return found[1:]


def _time_searches(
    database: Database, actor: Actor, forms: Sequence[Form]
) -> tuple[list[float], list[float]]:
    """Milliseconds of the function, and of its statements alone; the following page is read now and then."""
    whole, alone, key, previous = [], [], None, None
    for turn in range(REPEATS + 1):
        form = forms[turn % len(forms)] if key is None else previous
        with open_work(database, actor=actor, write=False) as work, _heard(database) as statements:
            asked = PatientSearch.model_validate(form)
            started = time.perf_counter()
            page = search_patients(work, asked.q, filters=patient_filters(work, asked), key=key)
            whole.append((time.perf_counter() - started) * 1000)
            work.take_deferred()  # audit of reads is part of the page's figure
        alone.append(_ask_again(database, statements))
        key, previous = (page.next_key, form) if turn % 5 == 3 else (None, None)
    return whole[1:], alone[1:]


@contextmanager
def _heard(database: Database) -> Iterator[list[Statement]]:
    """What is asked of the database meanwhile, as the driver gets it."""
    heard: list[Statement] = []

    def listen(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        heard.append((statement, parameters))

    sa.event.listen(database.main, "before_cursor_execute", listen)
    try:
        yield heard
    finally:
        sa.event.remove(database.main, "before_cursor_execute", listen)


def _ask_again(database: Database, statements: Sequence[Statement]) -> float:
    """Milliseconds the database takes for them, every row fetched."""
    connection = database.main.raw_connection()
    try:
        cursor = connection.cursor()
        started = time.perf_counter()
        for statement, parameters in statements:
            cursor.execute(statement, parameters)
            if cursor.description:
                cursor.fetchall()
        return (time.perf_counter() - started) * 1000
    finally:
        connection.rollback()
        connection.close()


def _time_pages(client: "_Client", asks: Sequence[tuple[str, Form | None]]) -> list[float]:
    found = []
    for turn in range(REPEATS + 1):
        address, form = asks[turn % len(asks)]
        started = time.perf_counter()
        client.ask(address, form)
        found.append((time.perf_counter() - started) * 1000)
    return found[1:]


class _People:
    """An account for this run, taken away afterwards."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.username = f"bench{secrets.token_hex(4)}"
        self.password = secrets.token_urlsafe(20)

    def __enter__(self) -> "_People":
        with open_work(self._database, actor=system_actor("bench")) as work:
            add_account(
                work,
                username=self.username,
                password_hash=hash_password(self.password),
                role_names=["service_centre"],
            )
        return self

    def __exit__(self, *_: object) -> None:
        with open_work(self._database, actor=system_actor("bench")) as work:
            work.execute(sa.update(Account).where(Account.username == self.username).values(active=False))


class _Client:
    """A browser's part: the cookie and the token of the forms."""

    def __init__(self, client: FlaskClient, token: str) -> None:
        self._client, self._token = client, token

    def ask(self, address: str, form: Form | None) -> None:
        """One page; RuntimeError where it is none."""
        if form is None:
            answer = self._client.get(address)
        else:
            headers = {"Origin": "http://localhost"}
            answer = self._client.post(address, data={"csrf_token": self._token, **form}, headers=headers)
        if answer.status_code not in (200, 303):
            raise RuntimeError(f"{address.split('?', maxsplit=1)[0]} answered {answer.status_code}")
        answer.close()


def _sign_in(client: FlaskClient, people: _People) -> _Client:
    def token() -> str:
        found = _TOKEN.search(client.get("/login").text) or _TOKEN.search(
            client.get("/account/password").text
        )
        assert found
        return found[1]

    typed = {"csrf_token": token(), "username": people.username, "password": people.password}
    answer = client.post("/login", data=typed, headers={"Origin": "http://localhost"})
    if answer.status_code != 303:
        raise RuntimeError(f"signing in answered {answer.status_code}")
    return _Client(client, token())


# ── the report ──────────────────────────────────────────────────────────────


def _report(setting: Setting, times: Mapping[str, Times]) -> Section:
    section = Section("reading")
    engines = list(times)
    head = ["ms", *(f"{engine} {what}" for engine in engines for what in ("p50", "p95"))]
    for kind, title, aim in (
        ("query", "query of a search", QUERY_MS),
        ("function", "search, segment", None),
        ("page", "page", PAGE_MS),
    ):
        by_engine = {engine: getattr(times[engine], kind) for engine in engines}
        names = list(by_engine[engines[0]])
        rows = [[name, *_figures(by_engine, name)] for name in names]
        section.lines += [
            f"reading, {title}: {setting.size:,} patients, {3 * setting.size:,} stays",
            *table(head, rows), "",
        ]  # fmt: skip
        if aim is not None:
            for engine in engines:
                section.aims += _held_against(section, f"{title}, {engine}", by_engine[engine], aim)
            section.lines.append("")
    section.data = {
        engine: {kind: _kept(getattr(times[engine], kind)) for kind in ("query", "function", "page")}
        for engine in engines
    }
    return section


def _held_against(
    section: Section, title: str, found: Mapping[str, Sequence[float]], aim: float
) -> list[Aim]:
    """How many are within the aim, said in a line; the middle one and the slowest as aims."""
    medians = {name: statistics.median(values) for name, values in found.items()}
    within = sum(value < aim for value in medians.values())
    worst = max(medians, key=medians.__getitem__)
    section.lines.append(
        f"{title}: {within} of {len(medians)} within {aim} ms (p50); slowest: {worst}, {figure(medians[worst])} ms"
    )
    middle = statistics.median(medians.values())
    return [
        Aim(4, f"{title}, middle of all p50", middle, below=aim, unit=" ms"),
        Aim(4, f"{title}, slowest p50", medians[worst], below=aim, unit=" ms"),
    ]


def _figures(by_engine: Mapping[str, Mapping[str, Sequence[float]]], name: str) -> Iterator[str]:
    for found in by_engine.values():
        if name in found:
            yield from (figure(statistics.median(found[name])), figure(_p95(found[name])))
        else:
            yield from ("-", "-")


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[max(0, round(len(values) * 0.95) - 1)]


def _kept(times: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    return {
        name: {"p50": round(statistics.median(values), 2), "p95": round(_p95(values), 2)}
        for name, values in times.items()
    }
