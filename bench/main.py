"""Entry of the bench: `python3 run.py bench [--size 100k|1m] [--only NAME,…]`; prints, and keeps a result file."""

import argparse
import json
import os
import platform
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

# Started as a file, Python puts bench/ itself on the path, where our names could hide the standard library's.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from bench.accept import MESSAGES, measure_accept  # noqa: E402  the path comes first
from bench.burst import BURST, measure_burst  # noqa: E402
from bench.client import LoadClient, cores  # noqa: E402
from bench.end_to_end import MOST, measure_end_to_end  # noqa: E402
from bench.importing import ROWS, measure_importing  # noqa: E402
from bench.memory import measure_memory  # noqa: E402
from bench.messages import Feed, prepare_feed  # noqa: E402
from bench.ours import listener, prepare_archive, prepare_postgresql, prepare_template  # noqa: E402
from bench.places import Postgresql  # noqa: E402
from bench.profiling import measure_profile  # noqa: E402
from bench.reading import measure_reading  # noqa: E402
from bench.report import Aim, Section, table  # noqa: E402
from bench.runs import WARM_UP  # noqa: E402
from bench.setting import Setting  # noqa: E402
from bench.slow_senders import measure_slow_senders  # noqa: E402
from bench.variants import (  # noqa: E402
    Variant,
    hl7apy,
    hl7apy_parsed,
    install_node_peers,
    node_hl7_server,
    python_hl7,
    simple_hl7,
)

SECTIONS = {
    "accept": 75, "end_to_end": 215, "burst": 60, "memory": 50, "slow_senders": 22, "profile": 35,
    "importing": 150, "reading": 90,
}  # fmt: skip
"""Each with the seconds that one round of it takes: those before it leave them to it."""
SENDING = {
    "accept": ["discharges"], "end_to_end": ["adt", "oru", "discharges"], "burst": ["adt"], "memory": [],
    "slow_senders": ["discharges"], "profile": ["discharges"], "importing": [], "reading": [],
}  # fmt: skip
"""Each with the feeds it needs."""
WITH_POSTGRESQL = ("accept", "end_to_end", "importing", "reading")
WITH_ARCHIVE = {"end_to_end", "importing", "reading"}
FEEDS = {"discharges": MESSAGES, "adt": BURST + WARM_UP, "oru": MOST + WARM_UP}
SIZES = {"100k": 100_000, "1m": 1_000_000}
RUN_SECONDS = 705  # of measuring: the promise is twelve minutes with what is prepared once


@dataclass
class Ready:
    """What was made before anything is measured."""

    variants: list[Variant]
    archive: Path | None
    feeds: dict[str, Feed]


def prepare(setting: Setting, names: list[str]) -> Ready:
    """Install the npm peers and load the archive side by side: both are long, the first time, and not measured."""
    variants: list[Variant] = []
    try:
        prepare_template(setting)
        variants.append(listener(setting))
        if setting.postgresql:
            prepare_postgresql(setting.postgresql)
            variants.append(listener(setting, on_postgresql=True))
    except (RuntimeError, OSError) as error:
        setting.note(f"HCRM itself cannot be measured: {error}")
    with ThreadPoolExecutor() as pool:
        home = setting.home / "node"
        installing = pool.submit(install_node_peers, home) if "accept" in names else None
        loading = pool.submit(prepare_archive, setting) if WITH_ARCHIVE & set(names) and variants else None
        sent = {feed for name in names for feed in SENDING[name]}
        feeds = {feed: prepare_feed(setting, feed, FEEDS[feed]) for feed in sorted(sent)}
        archive = None
        if loading:
            try:
                archive = loading.result()
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                setting.note(f"no full archive: {error}")
        if installing:
            variants.append(python_hl7())
            if reason := installing.result():
                setting.note(f"simple-hl7 and node-hl7-server skipped: {reason}")
            else:
                variants += [simple_hl7(home), node_hl7_server(home)]
            variants += [hl7apy(), hl7apy_parsed()]
    return Ready(variants, archive, feeds)


def start_postgresql(setting: Setting, stack: ExitStack) -> None:
    """One for this run, or a note why there is none."""
    try:
        setting.postgresql = stack.enter_context(Postgresql(setting.folder))
    except Exception as error:  # noqa: BLE001  whatever is wrong is the reason it is not measured
        setting.note(f"PostgreSQL skipped: {type(error).__name__}: {error}")


def machine() -> dict[str, object]:
    """Where these figures come from; no host names."""
    return {
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load": [round(value, 1) for value in os.getloadavg()],
    }


def run_sections(setting: Setting, names: list[str], limit: float, rows: int) -> list[Section]:
    """The sections in their order; one that fails is named and does not stop the others."""
    setting.say("preparing (the first time some minutes: npm peers, archive, messages)")
    ready = prepare(setting, names)
    feeds = ready.feeds
    measures: dict[str, Callable[[], Section]] = {
        "accept": lambda: measure_accept(setting, ready.variants, feeds["discharges"].frames),
        "end_to_end": lambda: measure_end_to_end(setting, ready.archive, feeds),
        "burst": lambda: measure_burst(setting, feeds["adt"]),
        "memory": lambda: measure_memory(setting),
        "slow_senders": lambda: measure_slow_senders(setting, feeds["discharges"]),
        "profile": lambda: measure_profile(setting, feeds["discharges"].frames),
        "importing": lambda: measure_importing(setting, ready.archive, rows),
        "reading": lambda: measure_reading(setting, ready.archive),
    }
    done = []
    setting.deadline = time.monotonic() + limit
    for place, name in enumerate(names):
        setting.reserved = sum(SECTIONS[later] for later in names[place + 1 :])
        try:
            done.append(measures[name]())
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            setting.note(f"{name} failed: {error}")
    return done


def print_report(setting: Setting, sections: list[Section], before: dict[str, object]) -> None:
    """Everything a reader needs, below the progress lines."""
    print(
        f"\n{before['cores']} cores, Python {before['python']}, SQLite {before['sqlite']}, load {before['load']}"
    )
    if setting.postgresql:
        shown = ", ".join(f"{name} {value}" for name, value in setting.postgresql.shown.items())
        print(f"PostgreSQL: {shown}")
    print(f"load client: {setting.client.description}; one message outstanding per connection, loopback")
    for section in sections:
        print("\n" + "\n".join(section.lines))
    aims: list[Aim] = [aim for section in sections for aim in section.aims]
    if aims:
        print("\n" + "\n".join(table(["issue", "measured", "aim", "verdict"], [aim.row() for aim in aims])))
    for line in setting.notes:
        print(f"note: {line}")


def keep_result(setting: Setting, sections: list[Section], before: dict[str, object], seconds: float) -> Path:
    """Write the result file, and the same as latest.json."""
    moment = datetime.now(UTC)
    result = {
        "measured_at": moment.isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "machine": before,
        "client": setting.client.description,
        "size": setting.size,
        "sections": {section.name: section.data for section in sections},
        "aims": [
            {"issue": aim.issue, "what": aim.what, "measured": aim.measured, "at_least": aim.at_least,
             "below": aim.below, "verdict": aim.verdict}
            for section in sections for aim in section.aims
        ],
        "notes": setting.notes,
    }  # fmt: skip
    path = setting.home / f"result-{moment:%Y%m%dT%H%M%S}.json"
    path.write_text(json.dumps(result, ensure_ascii=False, indent=1))
    shutil.copy(path, setting.home / "latest.json")
    return path


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line of `run.py bench`."""
    parser = argparse.ArgumentParser(prog="run.py bench", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="100k", help="patients in the full archive")
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"sections: {', '.join(SECTIONS)}")
    parser.add_argument("--rounds", type=int, choices=range(1, 10), default=3)
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the list in section importing")
    options = parser.parse_args(arguments)
    options.only = [name for name in options.only.split(",") if name]
    if unknown := set(options.only) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    return options


def main(arguments: list[str]) -> int:
    """Measure what was asked for; 0 when it could be measured, whatever the verdicts."""
    options = read_arguments(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave through the context managers
    for name in [name for name in os.environ if name.startswith("HCRM_")]:
        del os.environ[name]  # shipped settings, whatever the shell was set up for
    started, before = time.monotonic(), machine()
    home = ROOT / "var" / "bench"
    folder = home / f"run-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        client = LoadClient.compiled(folder) or LoadClient.interpreted()
        limit = RUN_SECONDS if options.size == "100k" else 6 * RUN_SECONDS
        setting = Setting(home, folder, client, SIZES[options.size], started + limit, options.rounds)
        with ExitStack() as stack:
            if set(options.only) & set(WITH_POSTGRESQL):
                start_postgresql(setting, stack)
            sections = run_sections(setting, options.only, limit, options.rows)
        print_report(setting, sections, before)
        path = keep_result(setting, sections, before, time.monotonic() - started)
        print(f"{time.monotonic() - started:.0f} s; result in {path.relative_to(ROOT)}")
        return 0 if len(sections) == len(options.only) else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
