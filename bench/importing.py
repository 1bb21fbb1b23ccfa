"""Section `importing`: a list of patients taken in and taken back by `hcrm import`, in the full archive.

3,000 rows, or `--rows 100000`. One row in a hundred has a day that does not exist. The commands work on the file
themselves, with the rests between transactions that leave pages their turn. Figures are of the whole command, its
start included; on a machine that does other things too the seconds of a core say more than the rate. Between writing
and revert a worker delivers every fact, so that what only repeats the archive stands too; afterwards every table must
hold what it held before (`digest_archive`).
"""

import csv
import os
import random
import resource
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path

from bench import ours
from bench.importing_digest import digest_archive
from bench.places import DATABASE, Place, sqlite_place
from bench.processes import memory_of
from bench.reading_copy import copy_archive
from bench.report import Aim, Section, figure, table
from bench.setting import SEED, Setting
from bench.variants import ROOT
from hcrm.core.text import id_check_digit

ROWS = 3_000
FAULTY_EVERY = 100
LEAST_ROWS = 500
"""Rows written a second that 100,000 are in within minutes."""
MOST_GROWTH = 40
"""MB that the process which writes may hold more after the tenth part of a list."""
HEAD = (
    "病案号",
    "姓名",
    "性别",
    "出生日期",
    "身份证号",
    "手机",
    "住址",
    "联系人",
    "联系人关系",
    "联系人电话",
)
_SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗单"
_GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀兰霞平刚桂英华建国小红海波"
DELIVERY_SECONDS = 900
_LOOK_SECONDS = 0.1
_FIRST_DAY = date(1930, 1, 1)


@dataclass(frozen=True)
class Step:
    """What one command took."""

    name: str
    rows: int
    seconds: float
    core: float  # seconds of a processor, the command and what it started
    memory: int  # MB, the most it held that no file backs: SQLite maps its own


def write_list(path: Path, rows: int) -> None:
    """A list as a hospital has it, the same each time; 100,000 rows stay below what one upload may hold.

    Its numbers are nobody's in the archive.
    """
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEAD)
        writer.writerows(_lines(rows))


def _lines(rows: int) -> Iterator[Sequence[str]]:
    chance = random.Random(SEED)
    for number in range(rows):
        # One birthday after the other, so that no two have the same ID number.
        born = _FIRST_DAY + timedelta(days=number % 30_000)
        name = chance.choice(_SURNAMES) + "".join(chance.choices(_GIVEN, k=chance.randint(1, 2)))
        body = f"110101{born:%Y%m%d}{number // 30_000:03d}"
        is_faulty = number % FAULTY_EVERY == 0
        yield (
            f"L{number:06d}", name, chance.choice("男女"), "1966-02-30" if is_faulty else born.isoformat(),
            body + id_check_digit(body) if number % 3 else "",
            f"13{number:09d}", f"中山路{number}号", "王五", "配偶", f"139{number:08d}",
        )  # fmt: skip


def measure_importing(setting: Setting, loaded: Path | None, rows: int = ROWS) -> Section:
    """Dry run, writing, marked file, revert, on each database there is."""
    if loaded is None:
        raise RuntimeError("no full archive")
    section = Section("importing")
    found: dict[str, list[Step]] = {}
    for name, on_postgresql in (("SQLite", False), ("PostgreSQL", True)):
        if on_postgresql and setting.postgresql is None:
            continue
        with (
            setting.room(f"importing {name}") as folder,
            _archive(setting, loaded, folder, on_postgresql=on_postgresql) as place,
        ):
            found[name] = _steps(setting, name, place, folder, rows)
    lines = [
        [f"{step.name}, {name}", f"{step.rows:,}", f"{step.seconds:.1f}", figure(step.rows / step.seconds),
         f"{step.core:.1f}", str(step.memory)]
        for name, steps in found.items() for step in steps
    ]  # fmt: skip
    title = f"A list of {rows:,} patients taken into {setting.size:,} and back, one row in {FAULTY_EVERY} with a fault"
    section.lines = [
        title,
        *table(["", "rows", "seconds", "rows/s", "seconds of a core", "MB of no file"], lines),
    ]
    section.data = {name: [asdict(step) for step in steps] for name, steps in found.items()}
    section.aims = [
        Aim(4, f"rows an import writes, {name}", step.rows / step.seconds, at_least=LEAST_ROWS, unit="/s")
        for name, steps in found.items() for step in steps if step.name == "writing"
    ]  # fmt: skip
    return section


@contextmanager
def _archive(setting: Setting, loaded: Path, folder: Path, *, on_postgresql: bool) -> Iterator[Place]:
    """A copy of the loaded archive."""
    if not on_postgresql:
        yield sqlite_place(folder, loaded)
        return
    with ours.empty_place(setting, folder, on_postgresql=True) as empty:
        copy_archive(loaded / DATABASE, empty.url)
        # The rows are sealed under the key of the archive they come from.
        yield Place(folder, empty.url, {"HCRM_KEY_FILE": str(loaded / f"{DATABASE}.key")})


def _steps(setting: Setting, name: str, place: Place, folder: Path, rows: int) -> list[Step]:
    few, many, errors = folder / "few.csv", folder / "many.csv", folder / "errors.csv"
    write_list(few, max(rows // 10, FAULTY_EVERY))
    write_list(many, rows)
    _deliver(place)
    before = digest_archive(place)
    small = _number(_run(place, "check", str(few), "--kind", "patients", ok=1).printed)
    held = _run(place, "run", small).memory
    _run(place, "revert", small)
    done = _run(place, "check", str(many), "--kind", "patients", ok=1)
    steps = [done.step("dry run", rows)]
    number = _number(done.printed)
    faulty = len(range(0, rows, FAULTY_EVERY))
    done = _run(place, "run", number)
    steps.append(done.step("writing", rows - faulty))
    if f"已写入 {rows - faulty}" not in done.printed:
        raise RuntimeError("not every good row was written")
    if done.memory - held > MOST_GROWTH:
        setting.note(f"importing on {name}: {done.memory - held} MB more for ten times the rows")
    steps.append(_run(place, "errors", number, str(errors)).step("marked file", faulty))
    if (lines := len(errors.read_text(encoding="utf-8").splitlines()) - 1) != faulty:
        raise RuntimeError(f"the marked file holds {lines} rows instead of {faulty}")
    _deliver(place)
    if before == digest_archive(place):
        raise RuntimeError("the digest does not see what was written")
    steps.append(_run(place, "revert", number).step("revert", rows - faulty))
    _deliver(place)
    after = digest_archive(place)
    if changed := sorted(table for table in before if before[table] != after[table]):
        setting.note(f"importing on {name}: other rows after the revert than before in {', '.join(changed)}")
    else:
        held_rows = sum(one.rows for one in before.values())
        setting.say(f"importing on {name}: {rows:,} rows in and back; {held_rows:,} rows as before")
    return steps


def _deliver(place: Place) -> None:
    """Let a worker deliver every fact that waits."""
    with ours.serve(place, "listener,worker"):
        waited = ours.wait_for_inbox(place, DELIVERY_SECONDS)
    if waited.events_waiting:
        raise RuntimeError(f"{waited.events_waiting} facts not delivered within {DELIVERY_SECONDS} s")


def _number(printed: str) -> str:
    """The run's number, which `check` prints first."""
    if not printed.startswith("编号 "):
        raise RuntimeError("hcrm import check: the list was refused")
    return printed.split()[1]


@dataclass(frozen=True)
class Done:
    """One command that has ended."""

    seconds: float
    core: float
    memory: int
    printed: str

    def step(self, name: str, rows: int) -> Step:
        """As a line of the report."""
        return Step(name, rows, self.seconds, self.core, self.memory)


def _core_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run(place: Place, *words: str, ok: int = 0) -> Done:
    """One `hcrm import` command."""
    command = [str(ours.HCRM), "import", words[0], "--db", place.url, *words[1:]]
    env = os.environ | dict(place.env)
    started, core, most = time.monotonic(), _core_seconds(), 0
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        while process.poll() is None:
            most = max(most, memory_of([process.pid]).anonymous)
            time.sleep(_LOOK_SECONDS)
        seconds = time.monotonic() - started
        assert process.stdout is not None
        printed = process.stdout.read()
    if process.returncode != ok:
        raise RuntimeError(f"hcrm import {words[0]}: ended with {process.returncode}: {printed[-200:]}")
    return Done(seconds, _core_seconds() - core, most // 1000, printed)
