"""A hospital whose HIS keeps a list: what tests of the daily comparison share."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.sources import Source, Sources
from hcrm.core.work import open_work
from hcrm.inbox.monitor import watch_interface
from hcrm.inbox.monitor_models import Incident, IncidentKind
from tests.support.adt import adt
from tests.support.census import ACTOR, ListFolder, ListView, Reconciling, source_of
from tests.support.hospital import Hospital

DAY = date(2026, 11, 21)


@pytest.fixture
def clock() -> FixedClock:
    """Sunday 10:00 in Shanghai; yesterday is over."""
    return FixedClock(datetime(2026, 11, 22, 2, tzinfo=UTC))


@pytest.fixture
def folder(tmp_path: Path) -> ListFolder:
    return ListFolder(tmp_path)


@pytest.fixture
def view(postgresql_databases: Any, tmp_path: Path) -> Iterator[ListView]:
    with postgresql_databases.blank(tmp_path) as url:
        yield ListView(url)


@pytest.fixture(params=["folder", "view"])
def lists(request: pytest.FixtureRequest) -> ListFolder | ListView:
    found: ListFolder | ListView = request.getfixturevalue(request.param)
    return found


class House(Hospital):
    """A hospital whose HIS keeps a list."""

    def __init__(self, database: Database, clock: FixedClock, source: Source) -> None:
        super().__init__(database, clock, sources=Sources([source]))
        self.office = Reconciling(database, clock, source)

    def stay(self, visit_no: str, admitted: str, discharged: str | None = None, **more: str) -> None:
        """Its messages; times as the list writes them."""
        number = visit_no.removeprefix("V")
        for event, when in (("A01", admitted), ("A03", discharged)):
            if when:
                self.receive(message(event, visit_no, when, p=more.get("p", number), **_fields(event, more)))


def _fields(event: str, more: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in more.items() if name != "p"}
    return kept if event == "A03" else {name: value for name, value in kept.items() if name != "PV1_36"}


def message(event: str, visit_no: str, when: str, **more: str) -> bytes:
    at = f"202611{when.replace(' ', '').replace(':', '')}00+0800"
    fields = {"PV1_36": "1"} | more if event == "A03" else more
    return adt(event, c=f"{event}-{visit_no}-{when}", v=visit_no, o=at, m=at, r=at, **fields)


@pytest.fixture
def house_of(database: Database, clock: FixedClock) -> Iterator[Callable[..., House]]:
    """A hospital by its source's list."""
    opened: list[House] = []

    def build(lists: ListFolder | ListView, **more: Any) -> House:
        house = House(database, clock, source_of(lists.census(**more)))
        opened.append(house)
        house.__enter__()
        return house

    yield build
    for house in opened:
        house.__exit__()


def incidents(house: House) -> list[tuple[IncidentKind, str, bool]]:
    with open_work(house.database, actor=ACTOR, clock=house.clock) as work:
        watch_interface(work)
    rows = house.all(Incident)
    return sorted((row.kind, row.subject, row.closed_at is None) for row in rows)
