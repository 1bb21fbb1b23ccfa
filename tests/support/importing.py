"""Files taken in, from the upload to the revert, without a browser."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import openpyxl
import sqlalchemy as sa

from hcrm.app.wiring import importers
from hcrm.core.actor import Actor
from hcrm.core.clock import FixedClock
from hcrm.core.db import Base, Database
from hcrm.core.work import Work, open_work
from hcrm.core.workbook import write_csv
from hcrm.exchange import imports as acts
from hcrm.exchange.models import ImportRow, ImportRun
from hcrm.exchange.progress import advance_imports
from tests.support.builders import centre_actor

OWN = ("audit_event", "audit_subject", "event", "import_run", "import_row", "import_mapping")
"""What an import leaves behind about itself."""


def csv_file(*lines: Sequence[str], encoding: str = "utf-8-sig") -> bytes:
    return write_csv(lines).decode("utf-8-sig").encode(encoding)


def sheet_file(*lines: Sequence[Any]) -> bytes:
    book = openpyxl.Workbook()
    for line in lines:
        book.active.append(list(line))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


class Intake:
    """Somebody of the service centre, and the machine that works for them."""

    def __init__(self, database: Database, clock: FixedClock, actor: Actor | None = None) -> None:
        self.database = database
        self.clock = clock
        self.actor = actor or centre_actor()
        self.importers = importers()

    def work(self, act: Callable[[Work], Any]) -> Any:
        with open_work(self.database, actor=self.actor, clock=self.clock) as work:
            return act(work)

    def upload(self, kind: str, content: bytes, name: str = "list.csv") -> str:
        return self.work(
            lambda work: acts.upload_file(
                work, importers=self.importers, kind=kind, name=name, content=content
            )
        )

    def choose(self, run_id: str, places: Mapping[str, int] | None = None) -> None:
        def choose(work: Work) -> None:
            run = work.get(ImportRun, run_id)
            offered = self.importers[run.kind].options(work)
            options = {option.code: option.values[0][0] for option in offered}
            acts.choose_columns(
                work, importers=self.importers, run_id=run_id, places=places or run.places, options=options
            )

        self.work(choose)

    def advance(self, owner: str = "one", **options: Any) -> bool:
        return advance_imports(self.database, self.clock, self.importers, owner=owner, **options)

    def check(self, kind: str, content: bytes, name: str = "list.csv") -> ImportRun:
        """Upload, columns as guessed, dry run."""
        run_id = self.upload(kind, content, name)
        self.choose(run_id)
        while self.advance():
            pass
        return self.run(run_id)

    def go(self, run_id: str) -> ImportRun:
        self.work(lambda work: acts.confirm_import(work, run_id=run_id))
        while self.advance():
            pass
        return self.run(run_id)

    def take_in(self, kind: str, content: bytes, name: str = "list.csv") -> ImportRun:
        return self.go(self.check(kind, content, name).id)

    def revert(self, run_id: str) -> ImportRun:
        self.work(lambda work: acts.revert_import(work, run_id=run_id))
        while self.advance():
            pass
        return self.run(run_id)

    def run(self, run_id: str) -> ImportRun:
        return self.work(lambda work: work.get(ImportRun, run_id))

    def rows(self, run_id: str) -> dict[int, ImportRow]:
        found = self.work(lambda work: work.all(ImportRow, ImportRow.run_id == run_id))
        return {row.number: row for row in found}

    def reasons(self, run_id: str) -> dict[int, list[list[str]]]:
        return {number: row.problems for number, row in self.rows(run_id).items() if row.problems}

    def dump(self) -> dict[str, list[Any]]:
        """Every row of every table but those an import keeps of itself."""
        with self.database.main.connect() as connection:
            return {
                table.name: sorted(map(repr, connection.execute(sa.select(table))))
                for table in Base.metadata.sorted_tables
                if table.name not in OWN
            }
