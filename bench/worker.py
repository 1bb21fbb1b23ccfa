"""Section `worker`: whether it pays that a second process reads the messages ahead."""

from collections import defaultdict
from dataclasses import asdict

from bench import ours
from bench.end_to_end import AROUND, HEAD, row_of
from bench.messages import Feed
from bench.report import Section, figure, ratio, table
from bench.runs import Run, measure_run
from bench.setting import Setting

RUN_SECONDS = 8
MOST = 20_000
SWITCH = "HCRM_WORKER__READ_AHEAD"
NAMES = {"true": "reading ahead", "false": "reading itself"}


def measure_worker(setting: Setting, feed: Feed) -> Section:
    """The same messages with and without, by turns, on SQLite into an empty archive."""
    runs: dict[str, list[Run]] = defaultdict(list)
    for number in range(setting.rounds):
        order = list(NAMES)[:: -1 if number % 2 else 1]
        for place, value in enumerate(order):
            seconds = min(RUN_SECONDS, setting.seconds_left() / (len(order) - place) - AROUND)
            if seconds < 2 and number:
                continue
            with setting.room("worker") as folder, ours.empty_place(setting, folder) as where:
                run = measure_run(
                    setting, where, feed, seconds=max(seconds, 2), most=MOST, env={SWITCH: value}
                )
            if run.is_read_ahead is not (value == "true"):
                setting.note(f"worker, {NAMES[value]}: it did not, so the figures compare nothing")
            if run.complaint:
                setting.note(f"worker, {NAMES[value]}: {run.complaint}")
            setting.say(f"worker, {NAMES[value]}: {run.per_second:,.0f} messages/s of {run.count:,}")
            runs[value].append(run)
    gain = ratio([run.per_second for run in runs["true"]], [run.per_second for run in runs["false"]])
    section = Section("worker")
    section.lines = [
        f"The worker on SQLite ({feed.name}), with a second process that reads ahead ({SWITCH}) and without",
        *table(HEAD, [[NAMES[value], *row_of(found)] for value, found in runs.items()]),
        f"reading ahead / reading itself: {figure(gain or 0)}x",
    ]
    section.data = {"runs": {value: [asdict(run) for run in found] for value, found in runs.items()}}
    return section
