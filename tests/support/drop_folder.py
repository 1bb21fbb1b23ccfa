"""A drop folder, and who takes files out of it: here, or in a process that may die."""

import csv
import io
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.his.drop_folder import DropFolder, Taken
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.sources import Source, Sources
from hcrm.inbox.intake import store_now
from tests.support.forked import Forked

COLUMNS = {"patient_no": "病人ID", "visit_no": "住院号", "name": "姓名", "discharged_at": "出院时间"}
NAMES = list(COLUMNS.values())
ROWS = [
    ["100", "V1", "张三", datetime(2026, 11, 21, 10, 30)],  # noqa: DTZ001  as a sheet holds it
    ["101", "V2", "李四", datetime(2026, 11, 21, 11, 0)],  # noqa: DTZ001  as a sheet holds it
]


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


def source_of(drop: Path, *, rows: dict[str, str] | None = COLUMNS, **settings: Any) -> Source:
    folder = {"path": str(drop), "still_seconds": 0, **settings}
    return Source.model_validate(
        {
            "code": "his_files",
            "title": "HIS",
            "folder": folder,
            "list_file": {"columns": rows} if rows else None,
        }
    )


def sources_of(source: Source) -> Sources:
    return Sources([Source(code="default", title="default"), source])


class Taker:
    """A process that takes files in."""

    def __init__(self, database: Database, clock: FixedClock, source: Source) -> None:
        self.folder = DropFolder(source, sources_of(source))
        self._database, self._clock = database, clock
        self.taken: list[Taken] = []

    def __call__(self, store: Callable[[Any], Any] | None = None) -> list[Taken]:
        self.taken = []
        self.folder.take_all(
            store or (lambda items: store_now(self._database, items)), self._clock.now, self.taken.append
        )
        return self.taken


@pytest.fixture
def take(database: Database, clock: FixedClock, drop: Path) -> Taker:
    return Taker(database, clock, source_of(drop))


def csv_text(*lines: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue()


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def told(drop: Path, name: str) -> str:
    """Why a file was put aside."""
    return (drop / "_error" / f"20261122-{name}.reason.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def taker() -> Iterator[Forked]:
    """Processes that take files in and may die of it (`tests.support.taker`)."""
    with Forked("tests.support.taker") as program:
        yield program


def take_apart(taker: Forked, url: str, drop: Path, *, fault: str = "") -> int:
    """All files of the folder, in a process of its own; how it ended."""
    taker.start(url, drop, fault)
    return taker.ended()
