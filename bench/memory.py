"""Section `memory`: what listener and worker hold as messages go on coming; a million with `--only memory --size 1m`.

Resident memory counts pages of the database that SQLite maps, which the system takes back when it needs them; the
aim is set to what no file backs. It is judged over the second half, when caches of a fixed size are full, if the
run was long enough.
"""

import time
from dataclasses import dataclass
from itertools import islice

from bench import ours
from bench.client import write_frames
from bench.messages import make_messages
from bench.processes import Memory, Server, memory_of
from bench.report import Aim, Section, figure, table
from bench.runs import CONNECTIONS, PATIENCE, wait_until_done
from bench.setting import Setting

FEED = "adt"
CHUNK = 1_000
MOST_SECONDS = 90  # at 100k
MILLION = 1_000_000
ROLES = ("listener", "worker")
LEAST_SAMPLES = 6


@dataclass(frozen=True)
class Sample:
    """What the processes held after so many messages."""

    messages: int
    memory: dict[str, Memory]  # by role, with what the role started


def slope(points: list[tuple[float, float]]) -> float:
    """The straight line through some points that is nearest to them (least squares): its rise per step to the right."""
    count = len(points)
    middle_x = sum(x for x, _ in points) / count
    middle_y = sum(y for _, y in points) / count
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else 0.0


def slope_per_thousand(samples: list[Sample], role: str, kind: str) -> float:
    """KB more for each thousand messages."""
    return slope([(sample.messages / 1000, getattr(sample.memory[role], kind)) for sample in samples])


def measure_memory(setting: Setting) -> Section:
    """Chunk after chunk of one endless feed, a sample behind each."""
    left = setting.seconds_left() - 10
    until = time.monotonic() + (left if setting.size >= MILLION else min(left, MOST_SECONDS))
    samples: list[Sample] = []
    feed = make_messages(FEED, MILLION + CHUNK)
    with (
        setting.room("memory") as folder,
        ours.empty_place(setting, folder) as place,
        ours.serve(place, "listener,worker") as server,
    ):
        sent = 0
        while time.monotonic() < until and sent < MILLION:
            frames = folder / "chunk"
            number = write_frames(frames, islice(feed, CHUNK))
            done = setting.client.send(
                port=server.port, frames=frames, connections=CONNECTIONS, count=number, seconds=PATIENCE
            )
            sent += done.acked
            wait_until_done(place, sent)
            if done.acked != number:
                setting.note(f"memory: {done.acked} of {number} messages acknowledged")
                break
            samples.append(_sample(server, sent))
            if len(samples) % 40 == 0:
                setting.say(f"memory: {sent:,} messages")
        end = ours.wait_for_inbox(place, PATIENCE)
    if end.applied != sent or end.events_waiting:
        setting.note(f"memory: of {sent} messages {end.applied} applied, {end.parked} parked")
    return _section(setting, samples)


def _sample(server: Server, messages: int) -> Sample:
    return Sample(messages, {role: memory_of(server.family_of("hcrm.app.role", role)) for role in ROLES})


def _section(setting: Setting, samples: list[Sample]) -> Section:
    section = Section("memory")
    if len(samples) < LEAST_SAMPLES:
        setting.note(f"memory: only {len(samples)} samples, too few for a slope")
        return section
    half = samples[len(samples) // 2 :]
    rows = []
    for role in ROLES:
        first, last = samples[0].memory[role], samples[-1].memory[role]
        rows.append(
            [
                role,
                f"{first.resident / 1000:.0f} -> {last.resident / 1000:.0f}",
                f"{first.anonymous / 1000:.0f} -> {last.anonymous / 1000:.0f}",
                figure(slope_per_thousand(half, role, "resident")),
                figure(slope_per_thousand(samples, role, "anonymous")),
                figure(slope_per_thousand(half, role, "anonymous")),
            ]
        )
        section.aims.append(
            Aim(
                3,
                f"memory of the {role}, second half of {samples[-1].messages:,} messages",
                slope_per_thousand(half, role, "anonymous"),
                below=1,
                unit=" KB/1,000",
            )
        )
    head = [
        "",
        "resident MB",
        "of no file MB",
        "KB/1,000 resident, 2nd half",
        "of no file, whole",
        "of no file, 2nd half",
    ]
    title = f"Memory over {samples[-1].messages:,} messages ({FEED}) on SQLite, {len(samples)} samples"
    section.lines = [title, *table(head, rows)]
    section.data = {
        "samples": [
            {"messages": sample.messages, **{role: sample.memory[role]._asdict() for role in ROLES}}
            for sample in samples
        ]
    }
    return section
