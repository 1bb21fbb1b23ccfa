"""Section `end_to_end`: how fast each feed is applied, on both databases, into an empty and a full archive."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import ours
from bench.messages import DOES, Feed
from bench.places import Place, sqlite_place
from bench.report import Aim, Section, figure, median, spread, table
from bench.runs import CONNECTIONS, Run, measure_run
from bench.setting import Setting

RUN_SECONDS = 8  # of applying, what one run should take
AROUND = 11  # seconds for starting, warming up, waiting, stopping
MOST = 20_000
ISSUE_2 = ("discharges", False)  # what issue 2 sets an aim for: feed, database


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    feed: str
    on_postgresql: bool = False
    workers: int = 1
    is_full: bool = False

    def name(self, size: int) -> str:
        """What a reader is told."""
        where = "PostgreSQL" if self.on_postgresql else "SQLite"
        several = f", {self.workers} workers" if self.workers > 1 else ""
        return f"{self.feed}, {where}{several}, {f'{size:,} patients' if self.is_full else 'empty'}"


CASES = (  # the most telling first: what time does not allow falls off at the end
    Case("adt"),
    Case("discharges"),
    Case("oru"),
    Case("adt", is_full=True),
    Case("adt", on_postgresql=True),
    Case("adt", on_postgresql=True, workers=2),
    Case("oru", on_postgresql=True),
    Case("oru", on_postgresql=True, workers=2),
    Case("discharges", is_full=True),
    Case("discharges", on_postgresql=True),
    Case("discharges", on_postgresql=True, workers=2),
)


def measure_end_to_end(setting: Setting, archive: Path | None, feeds: dict[str, Feed]) -> Section:
    """Every case by turns, a fresh copy each time, so that no run inherits another's rows."""
    cases = [
        case
        for case in CASES
        if (archive or not case.is_full) and (setting.postgresql or not case.on_postgresql)
    ]
    runs: dict[Case, list[Run]] = defaultdict(list)
    around: float = AROUND
    for number in range(setting.rounds):
        for place, case in enumerate(cases):
            began, shared = time.monotonic(), setting.seconds_left() / (len(cases) - place)
            seconds = min(RUN_SECONDS, shared - around)
            if seconds < 2:
                if not number:
                    setting.note(f"end_to_end: no time for {case.name(setting.size)}")
                continue
            with _place_of(setting, case, archive) as found:
                run = measure_run(
                    setting, found, feeds[case.feed], seconds=seconds, most=MOST, workers=case.workers
                )
            runs[case].append(run)
            took = time.monotonic() - began
            around = (around + took - run.seconds) / 2  # a busy machine is slow at this too
            name = case.name(setting.size)
            if run.complaint:
                setting.note(f"end_to_end, {name}: {run.complaint}")
            setting.say(
                f"end to end, {name}: {run.per_second:,.0f} messages/s of {run.count:,}, "
                f"ACK p99 {figure(run.sent.p99_ms)} ms (fdatasync {run.disk:,.0f}/s)"
            )
    return _section(setting, runs)


@contextmanager
def _place_of(setting: Setting, case: Case, archive: Path | None) -> Iterator[Place]:
    with setting.room("end-to-end") as folder:
        if case.is_full and archive:
            yield sqlite_place(folder, archive)
        else:
            with ours.empty_place(setting, folder, on_postgresql=case.on_postgresql) as place:
                yield place


def row_of(runs: list[Run]) -> list[str]:
    """The figures of a row: medians of its rounds."""
    return [
        spread([run.per_second for run in runs]),
        figure(median([run.count for run in runs])),
        figure(median([run.sent.per_second for run in runs])),
        figure(median([run.sent.p50_ms for run in runs])),
        spread([run.sent.p99_ms for run in runs]),
        f"{median([run.drain_seconds for run in runs]):.1f}",
        f"{sum(run.instructions for run in runs) / sum(run.count for run in runs):.2f}",
        figure(median([run.disk for run in runs])),
    ]


HEAD = [
    "",
    "messages/s",
    "sent",
    "ACKs/s",
    "p50 ms",
    "ACK p99 ms",
    "drain s",
    "instructions each",
    "fdatasync/s",
]


def _section(setting: Setting, runs: dict[Case, list[Run]]) -> Section:
    section = Section("end_to_end")
    rows = [[case.name(setting.size), *row_of(found)] for case, found in runs.items()]
    section.lines = [
        f"End to end at {CONNECTIONS} connections: first send until all is applied and every event delivered",
        *table(HEAD, rows),
        *(f"{name}: {DOES[name]}" for name in dict.fromkeys(case.feed for case in runs)),
    ]
    for case, found in runs.items():
        what, rate = f"end to end, {case.name(setting.size)}", median([run.per_second for run in found])
        if (case.feed, case.on_postgresql) == ISSUE_2:
            section.aims.append(Aim(2, what, rate, at_least=1000, unit="/s"))
        aim = 1000 if case.on_postgresql else 2000
        section.aims.append(Aim(3, what, rate, at_least=aim, unit="/s"))
    for on_postgresql, name in ((False, "SQLite"), (True, "PostgreSQL")):
        worst = [
            median([run.sent.p99_ms for run in found])
            for case, found in runs.items()
            if case.on_postgresql is on_postgresql
        ]
        if worst:
            what = f"ACK p99 at {CONNECTIONS} connections while the worker runs, worst of {name}"
            section.aims.append(Aim(3, what, max(worst), below=15, unit=" ms"))
    section.data = {
        "runs": {case.name(setting.size): [asdict(run) for run in found] for case, found in runs.items()}
    }
    return section
