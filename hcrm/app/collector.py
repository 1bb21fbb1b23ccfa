"""What is not sent to us is fetched: drop folders and views, each in a thread of its own beside the scheduler.

Not in the worker, whom another system's slow database must not keep from applying messages; not as jobs, which hold a
transaction of the archive. Any number of processes may run it: a lease says whose turn it is (`hcrm.inbox.turns`).
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa
import structlog

from adapters.his.drop_folder import DropFolder, Taken
from hcrm.core.clock import Clock
from hcrm.core.db import Database
from hcrm.core.errors import HcrmError
from hcrm.core.ids import new_id
from hcrm.core.sources import Source, Sources
from hcrm.inbox.intake import Arriving, store_now
from hcrm.inbox.polling import poll_view
from hcrm.inbox.pressure import is_full
from hcrm.inbox.records import Stored
from hcrm.inbox.turns import Turn, TurnLost, take_turn
from hcrm.inbox.view_faults import view_fault

_SIGN_OF_LIFE = 60.0  # an idle folder is noted as looked at once a minute, not every few seconds
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Channel:
    """One way on which we fetch, how often, and what to do in a turn."""

    source: Source
    name: str
    every_seconds: float
    fetch: Callable[[Turn], object]
    is_idle: Callable[[], bool]
    put_aside: Callable[[], int | None] = lambda: None  # how many files lie in _error


class Collector:
    """Fetches until told to stop."""

    def __init__(self, database: Database, sources: Sources, clock: Clock) -> None:
        self._database = database
        self._sources = sources
        self._clock = clock
        self._owner = new_id()
        self._threads: list[threading.Thread] = []
        self.channels = [channel for source in sources.by_code.values() for channel in self._channels(source)]

    def run(self, stop: threading.Event) -> None:
        """Start a thread for each channel."""
        self._threads = [
            threading.Thread(target=self._run_channel, args=(channel, stop), name=f"collect-{channel.name}")
            for channel in self.channels
        ]
        for thread in self._threads:
            thread.daemon = True  # who hangs in a foreign database must not keep the process
            thread.start()

    def join(self, seconds: float) -> None:
        """Let turns that are under way come to their end, for so long at most."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def turn(self, channel: Channel) -> bool:
        """One turn, if it is ours to take; whether it was. What goes wrong is written on the cursor and in the log."""
        turn = take_turn(
            self._database, self._clock, source=channel.source.code, channel=channel.name, owner=self._owner
        )
        if turn is None:
            return False
        error: str | None = None
        try:
            channel.fetch(turn)
        except TurnLost:
            log.warning("collect.turn_lost", source=channel.source.code, channel=channel.name)
            return True
        except HcrmError as refusal:
            error = refusal.code
        except sa.exc.SQLAlchemyError as fault:
            error = view_fault(fault)
        except (OSError, ValueError, KeyError) as fault:
            error = type(fault).__name__
        if error is not None:
            log.warning("collect.failed", source=channel.source.code, channel=channel.name, error=error)
        turn.end(error, put_aside=channel.put_aside())
        return True

    def _run_channel(self, channel: Channel, stop: threading.Event) -> None:
        idle = _SIGN_OF_LIFE
        while not stop.is_set():
            try:
                if idle >= _SIGN_OF_LIFE or not channel.is_idle():
                    self.turn(channel)
                    idle = 0.0
            except Exception as error:  # noqa: BLE001  a channel that is never tried again would be a silent loss
                kind = type(error).__name__
                log.error("collect.broken", source=channel.source.code, channel=channel.name, error=kind)
            stop.wait(channel.every_seconds)
            idle += channel.every_seconds

    def _channels(self, source: Source) -> list[Channel]:
        found = []
        if source.view is not None:
            fetch = partial(poll_view, self._database, source)
            found.append(Channel(source, "view", source.view.every_seconds, fetch, lambda: False))
        if source.folder is not None:
            folder = DropFolder(source, self._sources)
            found.append(
                Channel(
                    source, "folder", source.folder.every_seconds, partial(self._empty, folder),
                    partial(self._has_nothing, folder), folder.put_aside,
                )
            )  # fmt: skip
        return found

    def _has_nothing(self, folder: DropFolder) -> bool:
        try:
            return not folder.has_left_over() and not folder.waiting(self._clock.now())
        except OSError:  # the folder is away: the turn says so
            return False

    def _empty(self, folder: DropFolder, turn: Turn) -> int:
        def store(arriving: Sequence[Arriving]) -> list[Stored]:
            if is_full(self._database):
                raise HcrmError("inbox.full", "等待处理的消息过多或磁盘将满", status=503)
            return store_now(self._database, arriving)

        def note(taken: Taken) -> None:
            turn.advance(rows=taken.messages, new=taken.new)

        return folder.take_all(store, self._clock.now, note)
