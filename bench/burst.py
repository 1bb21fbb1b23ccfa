"""Section `burst`: how far the worker lags behind after a burst that came as fast as it was accepted."""

from dataclasses import asdict

from bench import ours
from bench.messages import Feed
from bench.report import Aim, Section, figure
from bench.runs import Run, measure_run
from bench.setting import Setting

BURST = 30_000
AIM_SECONDS = 15
AROUND = 14  # seconds for starting, warming up, waiting, stopping


def measure_burst(setting: Setting, feed: Feed) -> Section:
    """One burst into an empty archive on SQLite; smaller where the time does not allow the whole."""
    with setting.room("burst") as folder, ours.empty_place(setting, folder) as place:
        run = measure_run(setting, place, feed, seconds=max(setting.seconds_left() - AROUND, 2), most=BURST)
    if run.complaint:
        setting.note(f"burst: {run.complaint}")
    if run.count < BURST:
        setting.note(
            f"burst: {run.count:,} messages sent instead of {BURST:,}, since no more are applied in the time left"
        )
    section = Section("burst")
    told = (
        f"A burst of {run.count:,} messages ({feed.name}) on SQLite, accepted in {run.sent.seconds:.1f} s "
        f"({figure(run.sent.per_second)}/s): {run.drain_seconds:.1f} s more until all were applied "
        f"({figure(run.per_second)}/s from the first send)"
    )
    section.lines = [told]
    section.aims = [
        Aim(3, f"lag after a burst of {BURST:,}", lag_of(run), below=AIM_SECONDS, unit=" s"),
    ]
    section.data = {"run": asdict(run)}
    return section


def lag_of(run: Run) -> float | None:
    """Seconds from the last ACK until all was applied; None where a smaller burst cannot decide about the whole."""
    if run.complaint or (run.count < BURST and run.drain_seconds < AIM_SECONDS):
        return None
    return run.drain_seconds
