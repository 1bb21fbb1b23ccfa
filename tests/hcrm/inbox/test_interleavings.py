"""Fifty patients in any interleaving, their workers killed in between: what stands is what one after the other leaves.

Each patient's messages keep their order, between patients there is none (A5). Kill points are drawn: within a batch
that is applied, before its commit, and within a delivery of what it emitted.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from adapters.his.reception import receive
from hcrm.app.wiring import handlers, intake
from hcrm.archive.visit_models import VisitEvent
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.delivery import deliver_events
from hcrm.core.paths import config_path
from hcrm.core.settings import load_settings
from hcrm.core.sources import load_sources
from hcrm.core.work import open_work
from hcrm.inbox.intake import store_now
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage
from hcrm.inbox.service import process_messages
from tests.support.adt import NULL, adt
from tests.support.changes import EVENING
from tests.support.forked import Forked
from tests.support.hospital import ACTOR
from tests.support.killed import PATIENCE, is_alive, is_at_rest, publish, wait_until_idle, write_keys
from tests.support.listener import make_keys
from tests.support.portrait import portrait_of

PATIENTS = 50
EXAMPLES = {"small": 2, "large": 15}
START = datetime(2026, 11, 22, 1, tzinfo=UTC)
SOURCES = load_sources(config_path("sources"))
EVENTS = (
    "A01", "A02", "A03", "A03", "A04", "A05", "A06", "A07", "A08", "A08", "A11", "A12", "A13", "A21", "A22", "A28",
    "A31", "A38",
)  # fmt: skip
WARDS = ["W1^1^1", "W2^2^2", ""]
PHONES = ["", NULL, "13800000001", "13800000002~13900000001"]

Feed = Sequence[bytes]


# ── what is sent ────────────────────────────────────────────────────────────


def feed_of(patient: int, chance: random.Random) -> Feed:
    """Two stays told in any order of their clocks, every message with a moment of its own; some patients are merged.

    Few are deleted or merged: more than an hour may have are a flood, and which of them waits is a matter of order.
    """
    numbers = [patient, patient + 5_000] if patient % 5 == 0 else [patient]
    events = chance.choices(EVENTS, k=chance.randint(2, 8))
    moments = chance.sample(range(60), k=len(events) + 2)
    feed = [
        told(event, chance.choice(numbers), at, chance) | {"c": f"{patient}-{n}"}
        for n, (event, at) in enumerate(zip(events, moments, strict=False))
    ]
    acts: list[dict[str, Any]] = []
    if len(numbers) > 1:
        acts.append({"event": "A40", "p": numbers[0], "mrg": numbers[1]})
    if patient % 10 == 1:
        acts.append({"event": "A23", "p": patient, "v": f"V{patient}a"})
    for act, at in zip(acts, moments[len(events) :], strict=False):
        feed.insert(chance.randint(0, len(feed)), act | {"m": stamp(at), "c": f"{patient}-{act['event']}"})
    return [adt(**fields) for fields in feed]


def told(event: str, number: int, at: int, chance: random.Random) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "event": event, "p": number, "v": f"V{number}{chance.choice('ab')}", "m": stamp(at),
        "name": chance.choice(["张^三", "张^叁"]), "phone": chance.choice(PHONES), "loc": chance.choice(WARDS),
    }  # fmt: skip
    if event in ("A01", "A03", "A08"):
        fields |= {
            "PV1_44": chance.choice(["", "20261122083000"]),
            "PV1_45": chance.choice(["", "20261122093000"]),
        }
    if event == "A03":
        fields["PV1_36"] = chance.choice(["", "1", "2"])
    if event not in ("A28", "A31") and chance.random() < 0.3:
        fields["segments"] = chance.choice([["DG1|1||I10^高血压"], ["NK1|1|王芳|2"], [f"NK1|1|{NULL}"]])
    return fields


def stamp(minutes: int) -> str:
    return f"{START + timedelta(minutes=minutes):%Y%m%d%H%M%S}+0000"


def interleaved(feeds: Sequence[Feed], chance: random.Random) -> list[bytes]:
    """All of them at random, each feed in its own order."""
    turns = [number for number, feed in enumerate(feeds) for _ in feed]
    chance.shuffle(turns)
    waiting = [iter(feed) for feed in feeds]
    return [next(waiting[number]) for number in turns]


kills = st.one_of(
    st.builds("before_apply_commit:{}".format, st.integers(1, 3)),
    st.builds("before_delivery_commit:{}".format, st.integers(1, 12)),
)


@st.composite
def plans(draw: st.DrawFn, workers: int, pieces: int) -> list[list[str]]:
    """For each piece of the feed, where the workers are killed that take it up."""
    return draw(st.lists(st.lists(kills, min_size=workers, max_size=workers), min_size=2, max_size=pieces))


# ── who works ───────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def workers() -> Iterator[list[Forked]]:
    with Forked("tests.support.worker") as one, Forked("tests.support.worker") as other:
        yield [one, other]


def store(database: Database, messages: Sequence[bytes]) -> None:
    at = FixedClock(EVENING).now()
    store_now(database, [item for raw in messages for item in receive(raw, sources=SOURCES, peer="", at=at)])


def work_and_be_killed(
    database: Database, key_file: Path, workers: Sequence[Forked], mixed: list[bytes], plan: list[list[str]]
) -> int:
    """Piece after piece; whoever takes it up is killed where the plan says. The last are left alone."""
    deaths = 0
    size = -(-len(mixed) // len(plan))
    for number, faults in enumerate(plan):
        store(database, mixed[number * size : (number + 1) * size])
        for worker, fault in zip(workers, faults, strict=True):
            worker.start(str(database.url.render_as_string(hide_password=False)), key_file, fault)
        deadline = time.monotonic() + PATIENCE
        while any(map(is_alive, workers)) and not is_at_rest(database):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        deaths += sum(not end(worker) for worker in workers)
    for worker in workers:
        worker.start(str(database.url.render_as_string(hide_password=False)), key_file)
    wait_until_idle(database)
    for worker in workers:
        worker.kill()
    return deaths


def end(worker: Forked) -> bool:
    """Whether it was still there."""
    if is_alive(worker):
        worker.kill()
        return True
    worker.ended()
    return False


def work_alone(database: Database, messages: Sequence[bytes]) -> None:
    clock = FixedClock(EVENING)
    reading, hearing = intake(SOURCES, clock), handlers(load_settings(), SOURCES)
    store(database, messages)
    while process_messages(database, reading):
        pass
    while deliver_events(database, hearing, clock, ACTOR):
        pass


# ── what stands ─────────────────────────────────────────────────────────────


def outcome(database: Database) -> dict[str, Any]:
    with open_work(database, actor=ACTOR, write=False) as work:
        names = {row.seq: row.control_id for row in work.all(InboxMessage)}
        states = {names[row.seq]: (row.state, row.reason) for row in work.all(InboxApplication)}
        log = Counter(names[row.seq] for row in work.all(VisitEvent))
        return {"states": states, "log": log, **portrait_of(work)}


def prove(
    databases: Any, folder: Path, workers: Sequence[Forked], plan: list[list[str]], seed: int
) -> tuple[int, int]:
    chance = random.Random(seed)
    feeds = [feed_of(patient, chance) for patient in range(100, 100 + PATIENTS)]
    key_file = write_keys(folder)
    keys = make_keys(key_file)
    found = []
    deaths = 0
    for name in ("killed", "alone"):
        (folder / name).mkdir(exist_ok=True)
        with databases.fresh(folder / name) as url:
            publish(url, keys)
            database = Database(url, keys)
            try:
                if name == "killed":
                    deaths = work_and_be_killed(database, key_file, workers, interleaved(feeds, chance), plan)
                else:
                    work_alone(database, [raw for feed in feeds for raw in feed])
                found.append(outcome(database))
            finally:
                database.dispose()
    killed, alone = found
    assert set(killed["states"].values()) <= {
        (ApplicationState.APPLIED, None), (ApplicationState.IGNORED, None),
    } | set(alone["states"].values())  # fmt: skip
    for part, wanted in alone.items():
        assert killed[part] == wanted, part
    return deaths, len(killed["states"])


def examples(number: int) -> Any:
    return settings(
        max_examples=number, deadline=None, phases=[Phase.explicit, Phase.generate],  # an example takes seconds
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )  # fmt: skip


def test_any_interleaving_of_fifty_patients_leaves_what_one_after_the_other_leaves(
    databases, tmp_path, workers
):
    some_interleavings(databases, tmp_path, workers, EXAMPLES["small"], pieces=3)


@pytest.mark.proof("kill")
@pytest.mark.parametrize("number", [1, 2], ids=["one-worker", "two-workers"])
def test_many_interleavings_of_fifty_patients_leave_what_one_after_the_other_leaves(
    databases, tmp_path, workers, number, capsys
):
    said = some_interleavings(databases, tmp_path, workers[:number], EXAMPLES["large"], pieces=7)
    with capsys.disabled():
        print(f"\n{said}")  # noqa: T201  what the run is asked for


def some_interleavings(
    databases: Any, folder: Path, workers: Sequence[Forked], number: int, pieces: int
) -> str:
    deaths, messages = [], []

    @examples(number)
    @given(plan=plans(len(workers), pieces), seed=st.integers(0, 2**32))
    def one(plan: list[list[str]], seed: int) -> None:
        died, told = prove(databases, folder, workers, plan, seed)
        deaths.append(died)
        messages.append(told)

    one()
    assert sum(deaths) >= len(deaths), "somebody died"
    return f"{len(deaths)} interleavings, {sum(messages)} messages, {sum(deaths)} kills"
