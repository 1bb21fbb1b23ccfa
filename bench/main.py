"""Entry of the bench: `python3 run.py bench [--size 100k|1m] [--only NAME,…]`; prints, and keeps a result file."""

import argparse
import json
import os
import platform
import shutil
import signal
import sqlite3
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

# Started as a file, Python puts bench/ itself on the path, where our names could hide the standard library's.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from bench.accept import measure_accept  # noqa: E402  the path comes first
from bench.client import LoadClient, cores  # noqa: E402
from bench.report import Aim, Section, table  # noqa: E402
from bench.setting import Setting  # noqa: E402
from bench.variants import (  # noqa: E402
    Variant,
    hl7apy,
    hl7apy_parsed,
    install_node_peer,
    python_hl7,
    simple_hl7,
)

SECTIONS = ("accept", "end_to_end", "profile")
SIZES = {"100k": 100_000, "1m": 1_000_000}
RUN_SECONDS = 570  # the promise is ten minutes


def accept(setting: Setting) -> Section:
    """Our listener beside the peers that this machine can run."""
    variants: list[Variant] = [python_hl7()]
    home = setting.home / "node"
    setting.say("npm peer (its first installation compiles better-sqlite3, some minutes)")
    if reason := install_node_peer(home):
        setting.note(f"simple-hl7 skipped: {reason}")
    else:
        variants.append(simple_hl7(home))
    return measure_accept(setting, [*variants, hl7apy(), hl7apy_parsed()])


def machine() -> dict[str, object]:
    """Where these figures come from; no host names."""
    return {
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load": [round(value, 1) for value in os.getloadavg()],
    }


def run_sections(setting: Setting, names: list[str]) -> list[Section]:
    """The sections in their order; one that fails is named and does not stop the others."""
    measures = {"accept": accept}
    done = []
    for name in names:
        try:
            done.append(measures[name](setting))
        except (RuntimeError, OSError) as error:
            setting.note(f"{name} failed: {error}")
    return done


def print_report(setting: Setting, sections: list[Section], before: dict[str, object]) -> None:
    """Everything a reader needs, below the progress lines."""
    print(
        f"\n{before['cores']} cores, Python {before['python']}, SQLite {before['sqlite']}, load {before['load']}"
    )
    print(f"load client: {setting.client.description}; one message outstanding per connection, loopback")
    for section in sections:
        print("\n" + "\n".join(section.lines))
    aims: list[Aim] = [aim for section in sections for aim in section.aims]
    if aims:
        print("\n" + "\n".join(table(["aim", "measured", "aim", "verdict"], [aim.row() for aim in aims])))
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
            {"what": aim.what, "measured": aim.measured, "at_least": aim.at_least, "below": aim.below,
             "verdict": aim.verdict}
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
    options = parser.parse_args(arguments)
    options.only = [name for name in options.only.split(",") if name]
    if unknown := set(options.only) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    return options


def main(arguments: list[str]) -> int:
    """Measure what was asked for; 0 when it could be measured, whatever the verdicts."""
    options = read_arguments(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave through the context managers
    started, before = time.monotonic(), machine()
    home = ROOT / "var" / "bench"
    folder = home / f"run-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        client = LoadClient.compiled(folder) or LoadClient.interpreted()
        limit = RUN_SECONDS if options.size == "100k" else 6 * RUN_SECONDS
        setting = Setting(home, folder, client, SIZES[options.size], started + limit, options.rounds)
        sections = run_sections(setting, options.only)
        print_report(setting, sections, before)
        path = keep_result(setting, sections, before, time.monotonic() - started)
        print(f"{time.monotonic() - started:.0f} s; result in {path.relative_to(ROOT)}")
        return 0 if len(sections) == len(options.only) else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
