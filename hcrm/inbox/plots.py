"""The plots of the overview as tables: what a script draws, a reader without it reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from hcrm.core.clock import local_time
from hcrm.inbox.traffic import TrafficStep
from hcrm.inbox.words import source_words


@dataclass(frozen=True, slots=True)
class Span:
    """How far back a plot goes, in which steps."""

    label: str
    hours: int
    step: timedelta
    unit: str  # of the rate
    per: timedelta


SPANS: Mapping[str, Span] = {
    "24h": Span("近 24 小时", 24, timedelta(minutes=15), "条/分钟", timedelta(minutes=1)),
    "7d": Span("近 7 天", 7 * 24, timedelta(hours=2), "条/小时", timedelta(hours=1)),
}


@dataclass(frozen=True, slots=True)
class PlotTable:
    """One plot: its title, unit, columns and rows of a time and numbers."""

    name: str
    title: str
    unit: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[float]]]


def plot_tables(sources: Sequence[str], steps: Sequence[TrafficStep], span: Span) -> Sequence[PlotTable]:
    """Rate by source, lag of the worker, parked."""
    times = [local_time(step.begins_at).strftime("%m-%d %H:%M") for step in steps]
    share = span.step / span.per
    rates = [[round(step.received.get(source, 0) / share, 2) for source in sources] for step in steps]
    names = [source_words(source) if source else "尚未取出" for source in sources]
    return (
        PlotTable("rate", "收到的消息", span.unit, names, list(zip(times, rates, strict=True))),
        PlotTable(
            "lag", "处理延迟（每段最长）", "秒", ["延迟"], _single(times, [s.lag_seconds for s in steps])
        ),
        PlotTable("parked", "搁置的消息", "条", ["搁置"], _single(times, [float(s.parked) for s in steps])),
    )


def _single(times: Sequence[str], values: Sequence[float]) -> Sequence[tuple[str, Sequence[float]]]:
    return [(time, [round(value, 1)]) for time, value in zip(times, values, strict=True)]
