"""Section `accept`: messages accepted and durably stored, at 1, 8 and 32 connections, beside the peers."""

import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from bench import limits
from bench.client import Sent, echo_server
from bench.ours import NAME, NAME_POSTGRESQL
from bench.report import Aim, Section, figure, median, ratio, spread, table
from bench.setting import Setting
from bench.variants import LEVELS, Variant

SECONDS = 2  # of load per level and round
WARM_UP = 400
COUNTS = {1: 7_600, 8: 24_000, 32: 44_000}  # no message is sent twice to one server
FIRST = {1: WARM_UP, 8: WARM_UP + COUNTS[1], 32: WARM_UP + COUNTS[1] + COUNTS[8]}
MESSAGES = WARM_UP + sum(COUNTS.values())
PEERS = ("python-hl7", "hl7apy", "hl7apy, parsing", "simple-hl7", "node-hl7-server")


@dataclass
class Measured:
    """All rounds of one row."""

    runs: dict[int, list[Sent]] = field(default_factory=lambda: defaultdict(list))
    memory: list[float] = field(default_factory=list)

    def rates(self, level: int) -> list[float]:
        """Accepted per second, one figure a round."""
        return [sent.per_second for sent in self.runs[level]]

    def row(self, name: str) -> list[str]:
        """Its line of the table."""
        cells = [spread(self.rates(level)) if self.runs[level] else "-" for level in LEVELS]
        last = self.runs[LEVELS[-1]]
        times = ([sent.p50_ms for sent in last], [sent.p99_ms for sent in last])
        cells += [spread(each) if each else "-" for each in times]
        return [name, *cells, f"{max(self.memory):.0f}" if self.memory else "-"]


@dataclass(frozen=True)
class Bare:
    """The limits of the machine, one figure a round."""

    disk: list[float]
    sqlite: list[float]
    postgresql: list[float]


def measure_accept(setting: Setting, variants: list[Variant], frames: Path) -> Section:
    """Interleave the variants round by round, so that a busy moment of the machine hits all of them alike."""
    measured: dict[str, Measured] = defaultdict(Measured)
    disk: list[float] = []
    grouped: list[float] = []
    grouped_postgresql: list[float] = []
    longest = 0.0
    for number in range(setting.rounds):
        if number and setting.seconds_left() < 1.3 * longest:
            setting.note(f"accept: {number} of {setting.rounds} rounds, no time for more")
            break
        started = time.monotonic()
        setting.say(f"accept, round {number + 1} of {setting.rounds}")
        disk.append(limits.fdatasync_rate(setting.folder, 0.7))
        grouped.append(limits.group_commit_rate(setting.folder, 0.7))
        if setting.postgresql:
            with setting.postgresql.place(setting.folder) as place:
                grouped_postgresql.append(limits.postgresql_commit_rate(place.url, 0.7))
        _measure_echo(setting, frames, measured)
        turn = number % len(variants)
        for variant in variants[turn:] + variants[:turn]:
            _measure_variant(setting, variant, frames, measured[variant.name])
        longest = max(longest, time.monotonic() - started)
    return _section(variants, measured, Bare(disk, grouped, grouped_postgresql))


def _measure_echo(setting: Setting, frames: Path, measured: dict[str, Measured]) -> None:
    server = echo_server(setting.folder)
    if server is None:
        return
    with server:
        for level in LEVELS:
            sent = setting.client.send(
                port=server.port,
                frames=frames,
                connections=level,
                count=COUNTS[level],
                seconds=1,
                first=FIRST[level],
            )
            measured["echo"].runs[level].append(sent)


def _measure_variant(setting: Setting, variant: Variant, frames: Path, measured: Measured) -> None:
    with setting.room(variant.name) as folder, variant.house(folder) as house:
        acked = 0
        with house.server as server:
            for level in (0, *variant.levels):
                sent = setting.client.send(
                    port=server.port,
                    frames=frames,
                    connections=level or 8,
                    count=COUNTS[level] if level else WARM_UP,
                    seconds=SECONDS if level else 1,
                    first=FIRST[level] if level else 0,
                    new_connection=variant.new_connection,
                )
                acked += sent.acked
                if sent.errors:
                    setting.note(f"{variant.name} at {level or 'warm-up'}: {_errors(sent)}")
                if level:
                    measured.runs[level].append(sent)
                    setting.say(
                        f"  {variant.name:16} {level:3} connections {sent.per_second:10,.0f} messages/s"
                    )
            memory = server.resident_mb()
        if memory is not None:
            measured.memory.append(memory)
        stored = house.count_rows()
        if stored < acked:
            setting.note(f"{variant.name}: {acked} acknowledged but only {stored} stored")


def _errors(sent: Sent) -> str:
    kinds = ("refused", "mismatched", "malformed", "closed", "unanswered")
    return ", ".join(f"{sent.line[kind]} {kind}" for kind in kinds if sent.line[kind])


def _section(variants: list[Variant], measured: dict[str, Measured], bare: Bare) -> Section:
    top = LEVELS[-1]
    rows = [measured[variant.name].row(variant.name) for variant in variants]
    if "echo" in measured:
        rows.append(measured["echo"].row("(client against echo)"))
    levels = [f"{level}c" for level in LEVELS]
    head = ["messages/s, median (min-max)", *levels, f"p50 ms {top}c", f"p99 ms {top}c", "MB"]
    section = Section("accept", ["Accepted and durably stored", *table(head, rows), ""])
    section.lines.append(f"fdatasync of 4 KiB: {spread(bare.disk)}/s")
    section.lines.append(f"SQLite, {limits.ROWS_PER_COMMIT} rows a commit: {spread(bare.sqlite)} rows/s")
    if bare.postgresql:
        words = f"PostgreSQL, {limits.ROWS_PER_COMMIT} rows a commit: {spread(bare.postgresql)} rows/s"
        section.lines.append(words)
    section.lines += [f"{variant.name}: {variant.does}" for variant in variants]
    rates = {name: row.rates(top) for name, row in measured.items() if row.runs[top]}
    section.lines += _ratios(rates, bare)
    section.aims = accept_aims(rates, bare)
    memory = max(measured[NAME].memory) if NAME in measured and measured[NAME].memory else None
    section.aims.append(Aim(2, "resident memory of the listener (peak)", memory, below=100, unit=" MB"))
    section.data = {
        "fdatasync_per_second": bare.disk,
        "group_commit_rows_per_second": bare.sqlite,
        "postgresql_rows_per_second": bare.postgresql,
        "rounds": {
            name: {str(level): [sent.line for sent in runs] for level, runs in row.runs.items()}
            for name, row in measured.items()
        },
        "resident_mb": {name: row.memory for name, row in measured.items()},
    }
    return section


def _ratios(rates: dict[str, list[float]], bare: Bare) -> list[str]:
    """Our two rows beside everything else of the run."""
    lines = []
    for name in (NAME, NAME_POSTGRESQL):
        others = {other: rates[other] for other in PEERS if other in rates}
        others["fdatasync"] = bare.disk
        others["its bare group commit"] = bare.sqlite if name == NAME else bare.postgresql
        found = {other: ratio(rates.get(name, []), theirs) for other, theirs in others.items()}
        shown = ", ".join(f"{other} {figure(value)}x" for other, value in found.items() if value)
        if shown:
            lines.append(f"{name} at {LEVELS[-1]} connections / {shown}")
    return lines


def accept_aims(rates: dict[str, list[float]], bare: Bare) -> list[Aim]:
    """What issues 2 and 3 want of the accept rate at the most connections."""
    what = f"accept at {LEVELS[-1]} connections /"
    ours = rates.get(NAME, [])
    aims = [
        Aim(2, f"{what} {name}", ratio(ours, rates.get(name, [])), at_least=aim, unit="x")
        for name, aim in (("python-hl7", 20), ("simple-hl7", 5))
    ]
    found = {name: rates[name] for name in PEERS if name in rates}
    best = max(found, key=lambda name: median(found[name]), default="")
    return [
        *aims,
        Aim(3, f"{what} SQLite's bare group commit", ratio(ours, bare.sqlite), at_least=0.5, unit="x"),
        Aim(
            3,
            f"{what} best of the peers ({best or 'none'})",
            ratio(ours, found.get(best, [])),
            at_least=5,
            unit="x",
        ),
        Aim(3, f"{what} fdatasync", ratio(ours, bare.disk), at_least=2, unit="x"),
    ]
