"""Section `end_to_end`: from the first send until all is archived, classified and its instructions issued."""

import shutil
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import ours
from bench.client import Sent
from bench.limits import fdatasync_rate
from bench.report import Aim, Section, figure, median, spread, table
from bench.setting import Setting

CONNECTIONS = 32
WARM_UP = 300
PILOT = 1500
RUN_SECONDS = 12  # what one run should take
MOST = 20_000
PATIENCE = 90  # seconds until a run counts as stuck
EMPTY = "empty archive"


@dataclass(frozen=True)
class Run:
    """One burst, sent and drained."""

    count: int
    applied: int
    seconds: float  # from the first send until `hcrm inbox wait` returned
    drain_seconds: float  # from the last ACK until then
    wait_seconds: float  # of that, what `hcrm inbox wait` takes by itself when nothing waits
    instructions: int
    sent: Sent
    disk: float  # fdatasync per second just before: a stall of the disk shows here

    @property
    def per_second(self) -> float:
        """The rate that is judged."""
        return self.applied / self.seconds

    @property
    def without_wait(self) -> float:
        """The rate less what the waiting command takes by itself: an upper bound."""
        return self.applied / max(self.seconds - self.wait_seconds, 0.001)


def measure_end_to_end(setting: Setting, archive: Path | None, frames: Path) -> Section:
    """Empty and full archive by turns, a fresh copy each time, so that no round inherits the other's rows."""
    template = ours.prepare_template(setting)
    archives = {EMPTY: template}
    if archive:
        archives[f"{setting.size:,} patients"] = archive
    runs: dict[str, list[Run]] = defaultdict(list)
    count = PILOT
    for number in range(setting.rounds):
        for name, source in archives.items():
            if runs[name] and setting.seconds_left() < 4 * RUN_SECONDS:
                setting.note(f"end_to_end: {number} of {setting.rounds} rounds, no time for more")
                return _section(runs)
            with setting.room("end-to-end") as folder:
                shutil.copytree(source, folder, dirs_exist_ok=True)
                if not runs[EMPTY]:
                    count = _choose_count(setting, folder, frames)
                run = _measure_burst(setting, folder, frames, count)
            runs[name].append(run)
            setting.say(
                f"end to end, {name}: {run.per_second:,.0f} messages/s, ACK p99 {figure(run.sent.p99_ms)} ms "
                f"(fdatasync {run.disk:,.0f}/s)"
            )
    return _section(runs)


def _choose_count(setting: Setting, folder: Path, frames: Path) -> int:
    """How many messages make a run of the wished length, from a short pilot on a copy of its own."""
    with setting.room("pilot") as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        rate = _measure_burst(setting, copy, frames, PILOT).without_wait
    return max(PILOT, min(MOST, int(rate * RUN_SECONDS) // 100 * 100))


def _measure_burst(setting: Setting, folder: Path, frames: Path, count: int) -> Run:
    with ours.serve(folder, "listener,worker") as server:

        def send(first: int, number: int) -> Sent:
            return setting.client.send(
                port=server.port,
                frames=frames,
                connections=CONNECTIONS,
                count=number,
                seconds=60,
                first=first,
            )

        send(0, WARM_UP)
        before = ours.wait_for_inbox(folder, PATIENCE)
        issued = ours.count_instructions(folder)
        disk = fdatasync_rate(folder, 0.5)
        sent = send(WARM_UP, count)
        after = ours.wait_for_inbox(folder, PATIENCE)
        idle = ours.wait_for_inbox(folder, PATIENCE)
    applied = after.applied - before.applied
    issued = ours.count_instructions(folder) - issued
    if (sent.acked, sent.errors, applied, after.events_waiting) != (count, 0, count, 0):
        setting.note(
            f"end_to_end: of {count} messages {sent.acked} acknowledged, {applied} applied, "
            f"{after.parked - before.parked} parked, {after.events_waiting} events waiting"
        )
    if issued < applied:
        setting.note(f"end_to_end: {issued} instructions for {applied} discharges")
    seconds = after.ended - sent.first_send
    return Run(count, applied, seconds, seconds - sent.seconds, idle.seconds, issued, sent, disk)


def _section(runs: dict[str, list[Run]]) -> Section:
    section = Section("end_to_end")
    rows = []
    for name, found in runs.items():
        rates = [run.per_second for run in found]
        p99 = [run.sent.p99_ms for run in found]
        rows.append(
            [
                name,
                spread(rates),
                figure(median([run.without_wait for run in found])),
                figure(median([run.sent.per_second for run in found])),
                figure(median([run.sent.p50_ms for run in found])),
                spread(p99),
                f"{median([run.drain_seconds for run in found]):.1f}",
                f"{sum(run.instructions for run in found) / sum(run.count for run in found):.2f}",
                spread([run.disk for run in found]),
            ]
        )
        section.aims.append(Aim(f"end to end, {name}", median(rates), at_least=1000, unit="/s"))
        section.aims.append(
            Aim(
                f"ACK p99 at {CONNECTIONS} connections while the worker runs, {name}",
                median(p99),
                below=15,
                unit=" ms",
            )
        )
    head = [
        "",
        "messages/s",
        "less wait's start",
        "ACKs/s",
        "p50 ms",
        "ACK p99 ms",
        "drain s",
        "instructions each",
        "fdatasync/s",
    ]
    counts = sorted({run.count for found in runs.values() for run in found})
    title = (
        f"End to end on SQLite, {CONNECTIONS} connections, bursts of {', '.join(map(str, counts))} new patients each: "
        "first send until `hcrm inbox wait` returns"
    )
    section.lines = [
        title,
        *table(head, rows),
    ]
    section.data = {"runs": {name: [asdict(run) for run in found] for name, found in runs.items()}}
    return section
