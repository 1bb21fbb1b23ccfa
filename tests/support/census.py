"""A HIS's own list for tests: a view on PostgreSQL or a file, and the comparison as the job runs it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import psycopg
import sqlalchemy as sa

from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock, local_date
from hcrm.core.db import Database
from hcrm.core.sources import Source, Sources
from hcrm.core.work import Work, open_work
from hcrm.inbox import census_acts as acts
from hcrm.inbox.census import reconcile_day, reconcile_due
from hcrm.inbox.census_models import CensusLine, CensusRun
from hcrm.inbox.intake import store_now
from hcrm.scheduler.table import CENSUS

COLUMNS = {
    "patient_no": "brid", "visit_no": "zyh", "name": "xm", "encounter_class": "lb", "department": "ks",
    "admitted_at": "ryrq", "discharged_at": "cyrq", "discharge_way": "lyfs",
}  # fmt: skip
NAMES = tuple(COLUMNS.values())
ACTOR = system_actor("inbox.reconcile")
Listed = Mapping[str, object]


def listed(visit_no: str, admitted: str, discharged: str | None = None, **more: object) -> dict[str, object]:
    """A row of the list; times as `21 09:30`, of November 2026."""
    row: dict[str, object] = {
        "brid": more.pop("patient", visit_no.removeprefix("V")), "zyh": visit_no, "xm": "张三", "lb": "I",
        "ks": "W1", "ryrq": f"2026-11-{admitted}:00", "cyrq": f"2026-11-{discharged}:00" if discharged else None,
        "lyfs": "1" if discharged else None,
    }  # fmt: skip
    return row | more


def source_of(census: Mapping[str, object], **more: object) -> Source:
    """The default source of tests with a list of its own."""
    return Source.model_validate(
        {"code": "his", "title": "示范 HIS", "sender": "HIS", "default_authority": "H1",
         "department_from": ["PV1-3.1"], **more, "census": {"columns": COLUMNS, **census}}
    )  # fmt: skip


class ListFolder:
    """Lists of days as XLSX files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def census(self, **more: object) -> dict[str, object]:
        return {"file": {"path": str(self.folder / "cy-%Y%m%d.xlsx"), "still_seconds": 0}, **more}

    def put(self, day: date, rows: Sequence[Listed]) -> None:
        book = openpyxl.Workbook()
        sheet = book.active
        sheet.append(["出入院名单"])
        sheet.append(list(NAMES))
        for row in rows:
            sheet.append([row.get(name) for name in NAMES])
        book.save(self.folder / f"cy-{day:%Y%m%d}.xlsx")


class ListView:
    """A list as a view of a real PostgreSQL."""

    def __init__(self, url: str) -> None:
        self.url = str(sa.make_url(url)._replace(password=None, drivername="postgresql"))
        self._plain = url.replace("postgresql+psycopg", "postgresql")
        self.run(
            f"CREATE TABLE mdrb (tjrq date, {', '.join(f'{name} text' for name in NAMES if name[2:] != 'rq')}, "
            "ryrq timestamp, cyrq timestamp)",
            "CREATE VIEW v_mdrb AS SELECT * FROM mdrb",
        )

    def run(self, *statements: str) -> None:
        with psycopg.connect(self._plain, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def census(self, **more: object) -> dict[str, object]:
        return {"view": {"url": self.url, "name": "v_mdrb", "day": "tjrq"}, **more}

    def put(self, day: date, rows: Sequence[Listed]) -> None:
        with psycopg.connect(self._plain, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute("DELETE FROM mdrb WHERE tjrq = %s", (day,))
            cursor.executemany(
                f"INSERT INTO mdrb (tjrq, {', '.join(NAMES)}) VALUES (%s{', %s' * len(NAMES)})",
                [(day, *(row.get(name) for name in NAMES)) for row in rows],
            )


class Reconciling:
    """The job and the people."""

    def __init__(self, database: Database, clock: FixedClock, source: Source) -> None:
        self.database, self.clock, self.source = database, clock, source
        self.sources = Sources([source])

    @property
    def yesterday(self) -> date:
        return local_date(self.clock.now()) - timedelta(days=1)

    def run(self, day: date | None = None) -> CensusRun | None:
        """One comparison, whether it is due or not."""
        return reconcile_day(
            self.database, actor=ACTOR, clock=self.clock, source=self.source, day=day or self.yesterday,
            parts=CENSUS,
        )  # fmt: skip

    def tick(self) -> int:
        """What the job does every five minutes."""
        return reconcile_due(self.database, actor=ACTOR, clock=self.clock, sources=self.sources, parts=CENSUS)

    def write(self, act: Callable[[Work], Any]) -> Any:
        with open_work(self.database, actor=ACTOR, clock=self.clock) as work:
            return act(work)

    def apply(self, run: CensusRun, line_id: str | None = None) -> int:
        applied: int = self.write(
            lambda work: acts.apply_lines(
                work, run_id=run.id, sources=self.sources, store=lambda found: store_now(self.database, found),
                line_id=line_id,
            )
        )  # fmt: skip
        return applied

    def lines(self, run: CensusRun) -> list[CensusLine]:
        with open_work(self.database, actor=ACTOR, clock=self.clock, write=False) as work:
            rows = work.all(CensusLine, CensusLine.run_id == run.id)
        return sorted(rows, key=lambda line: (line.visit_no, line.movement, line.field))

    def said(self, run: CensusRun) -> list[tuple[str, str, str, str]]:
        """Visit, movement, finding and field of each line."""
        return [
            (line.visit_no, line.movement.value, line.finding.value, line.field) for line in self.lines(run)
        ]
