"""Ways on which we fetch or send, and what is wrong with them: views and folders, files put aside, destinations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from hcrm.core import limits
from hcrm.core.channels import ReadOnlyView, RowField
from hcrm.core.sources import Source, Sources
from hcrm.core.work import Work
from hcrm.inbox.configured import configured_destinations, configured_sources
from hcrm.inbox.cursor_models import SourceCursor
from hcrm.inbox.models import RefusedMessage
from hcrm.inbox.monitor_models import Incident, IncidentKind
from hcrm.inbox.outbound_models import UNSENT, OutboundDestination, OutboundMessage

FILE = "file"
"""Reason of a file that lies in `_error`."""
_NOT_RUN = "not_run"
_UNSENT: Any = sa.bindparam(
    None, list(UNSENT), expanding=True, literal_execute=True, type_=OutboundMessage.state.type, unique=True
)
"""Written into the statement: a bound value would keep SQLite from its partial index."""

Key = tuple[IncidentKind, str, str]
"""Kind, source or destination, and subject."""
Troubles = dict[Key, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ChannelLine:
    """A folder or view, and how it stands."""

    source: str
    channel: str  # view, folder
    last_run_at: datetime | None
    last_ok_at: datetime | None
    error: str  # code of what is wrong now; empty: nothing
    rows_last: int
    rows_total: int
    put_aside: int  # files in _error
    next_at: datetime | None  # when it is read again; None: it is not


@dataclass(frozen=True, slots=True)
class Place:
    """Where rows or messages of a source are fetched, as its file says."""

    source: str
    channel: str  # view, folder, census
    place: str  # path, or address and name of a view; never a password
    columns: Mapping[RowField, str]  # field to column; empty: messages
    every: float | None  # seconds between two turns
    times: tuple[time, time] | None  # of a census: first look, and when its list is overdue


def list_places(sources: Sources) -> list[Place]:
    """Every folder, view and list of the day."""
    return [place for source in sources.by_code.values() for place in _places(source)]


def _places(source: Source) -> Iterator[Place]:
    if source.folder is not None:
        columns: Mapping[RowField, str] = source.list_file.columns if source.list_file else {}
        path = str(source.folder.path / source.folder.pattern)
        yield Place(source.code, "folder", path, columns, source.folder.every_seconds, None)
    if source.view is not None:
        view = source.view
        yield Place(source.code, "view", _address(view), view.columns, view.every_seconds, None)
    if source.census is not None:
        census = source.census
        path = census.file.path if census.file else _address(census.view) if census.view else ""
        yield Place(source.code, "census", path, census.columns, None, (census.at, census.due))


def _address(view: ReadOnlyView) -> str:
    """Address and name; a password cannot stand there, and what else the driver is told is not shown."""
    return f"{urlsplit(view.url)._replace(query='', fragment='').geturl()} {view.name}"


def list_channels(work: Work, sources: Sources) -> list[ChannelLine]:
    """Every folder and view that is configured or was read; one no file names any more is not said to fail."""
    now = work.clock.now()
    rows = {
        (row.source, row.channel): row
        for row in work.scalars(sa.select(SourceCursor).order_by(SourceCursor.source, SourceCursor.channel))
    }
    wanted = _intervals(sources)
    return [
        ChannelLine(
            row.source, row.channel, row.last_run_at, row.last_ok_at, _error(row, wanted.get(key), now),
            row.rows_last, row.rows_total, (row.put_aside or 0) if key in wanted else 0,
            row.last_run_at + timedelta(seconds=wanted[key]) if row.last_run_at and key in wanted else None,
        )
        for key, row in rows.items()
    ]  # fmt: skip


def channel_troubles(work: Work, standing: Mapping[Key, Incident]) -> Troubles:
    """Views and folders that could not be read for a while, and folders with files nobody has looked after."""
    now = work.clock.now()
    found: Troubles = {}
    for line in list_channels(work, configured_sources()):
        key = (IncidentKind.UNREADABLE, line.source, line.channel)
        if line.error and (key in standing or _is_lasting(line, now)):
            ok = line.last_ok_at and line.last_ok_at.isoformat()
            found[key] = {"error": line.error, "last_ok_at": ok}
        if line.put_aside:
            key = (IncidentKind.FILES, line.source, "")
            number = _unseen_files(work, line.source)
            if number and not (key in standing and standing[key].acknowledged_at):
                found[key] = {"files": number}
    return found


def destination_troubles(work: Work, standing: Mapping[Key, Incident]) -> Troubles:
    """Destinations that do not take what we have for them; not those a person or their file has paused."""
    late = work.clock.now() - timedelta(seconds=limits.OUTBOUND_LATE_SECONDS)
    waiting = {
        row.destination: row
        for row in work.execute(
            sa.select(
                OutboundMessage.destination,
                sa.func.count().label("number"),
                sa.func.min(OutboundMessage.queued_at).label("since"),
            )
            .where(OutboundMessage.state.in_(_UNSENT))
            .group_by(OutboundMessage.destination)
        )
    }
    files = configured_destinations().by_code
    found: Troubles = {}
    for own in work.scalars(sa.select(OutboundDestination).order_by(OutboundDestination.code)):
        if own.is_paused or (own.code in files and files[own.code].paused):
            continue
        key, row = (IncidentKind.UNSENT, own.code, ""), waiting.get(own.code)
        is_down = own.failures >= (1 if key in standing else limits.OUTBOUND_MUTE_ATTEMPTS)
        if row is not None and (is_down or row.since <= late):
            error = own.error if own.failures else None if own.code in files else "unconfigured"
            found[key] = {"unsent": row.number, "since": row.since.isoformat(), "error": error}
    return found


def _intervals(sources: Sources) -> dict[tuple[str, str], float]:
    """How often each configured folder and view is read."""
    found: dict[tuple[str, str], float] = {}
    for source in sources.by_code.values():
        found |= {(source.code, name): every for name, every in _of(source)}
    return found


def _of(source: Source) -> Sequence[tuple[str, float]]:
    view = [("view", source.view.every_seconds)] if source.view else []
    return [*view, *([("folder", source.folder.every_seconds)] if source.folder else [])]


def _error(row: SourceCursor, every: float | None, now: datetime) -> str:
    """What is wrong with it now: the last turn failed, or none was taken for long though it should have been."""
    if every is None:
        return ""
    if row.last_error:
        return row.last_error
    quiet = max(limits.CHANNEL_FAILING_SECONDS, 3 * every)
    return _NOT_RUN if row.last_run_at and now - row.last_run_at > timedelta(seconds=quiet) else ""


def _is_lasting(line: ChannelLine, now: datetime) -> bool:
    """Whether it was never read, or not for so long that a single failed turn does not explain it."""
    failing = timedelta(seconds=limits.CHANNEL_FAILING_SECONDS)
    return line.last_ok_at is None or now - line.last_ok_at >= failing


def _unseen_files(work: Work, source: str) -> int:
    """Files put aside since somebody last acknowledged such files of the source."""
    seen = work.scalar(
        sa.select(sa.func.max(Incident.acknowledged_at)).where(
            Incident.kind == IncidentKind.FILES, Incident.source == source
        )
    )
    statement = (
        sa.select(sa.func.count())
        .select_from(RefusedMessage)
        .where(RefusedMessage.reason == FILE, RefusedMessage.source == source)
    )
    return int(work.scalar(statement.where(RefusedMessage.received_at > seen) if seen else statement))
