"""What every section is given: folders, the load client, time left, and how it says what it does."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.client import LoadClient
from bench.places import Postgresql

SEED = 20260801


@dataclass
class Setting:
    """One run of the bench."""

    home: Path  # var/bench: kept between runs
    folder: Path  # var/bench/run-…: of this run, removed at its end
    client: LoadClient
    size: int  # patients in the full archive
    deadline: float  # monotonic; a section shortens itself rather than pass it
    rounds: int = 3
    postgresql: Postgresql | None = None
    reserved: float = 0.0  # seconds that the sections to come need
    notes: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        """Progress, as it happens."""
        print(line, flush=True)

    def note(self, line: str) -> None:
        """What a reader must know: printed now and again below the tables."""
        self.notes.append(line)
        self.say(f"  note: {line}")

    def seconds_left(self) -> float:
        """Until this section must be over, so that those to come get their time."""
        return self.deadline - self.reserved - time.monotonic()

    @contextmanager
    def room(self, name: str) -> Iterator[Path]:
        """A folder of its own for one server, gone afterwards."""
        folder = self.folder / name.replace(" ", "-").replace(",", "")
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
