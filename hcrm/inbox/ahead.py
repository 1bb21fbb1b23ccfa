"""Reading messages ahead: a second process maps the next batch while this one writes the one before.

Mapping is a quarter of what a message costs and needs no database, so on a second core it is free. The helper is
started by a burst and ended by a quiet time; whatever goes wrong with it, the messages are read here as ever.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from datetime import datetime
from multiprocessing import get_context
from typing import NamedTuple

import structlog

from hcrm.archive.records import Mapped
from hcrm.core import limits

log = structlog.get_logger(__name__)


class SealedMessage(NamedTuple):
    """What reading a stored message takes."""

    seq: int
    format: str
    raw: bytes  # sealed
    received_at: datetime


ReadMany = Callable[[Sequence[SealedMessage]], list[Mapped]]


class ReadAhead:
    """The second process. `read` and `start` are top-level functions: they are found by name over there."""

    def __init__(self, read: ReadMany, start: Callable[[], None]) -> None:
        self._read = read
        self._start = start
        self._pool: ProcessPoolExecutor | None = None
        self._asked: list[int] = []
        self._answer: Future[list[Mapped]] | None = None
        self._used_at = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether an answer is still to be collected."""
        return self._answer is not None

    def ask(self, messages: Sequence[SealedMessage]) -> None:
        """Let these be read; few are not worth the way, and end a helper nobody has needed for long."""
        if len(messages) < limits.READ_AHEAD_LEAST:
            if self._pool and time.monotonic() - self._used_at > limits.READ_AHEAD_IDLE_SECONDS:
                self.close()
            return
        self._used_at = time.monotonic()
        try:
            if self._pool is None:
                context = get_context("spawn")  # a fork would take our database connections along
                self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=self._start)
            self._answer = self._pool.submit(self._read, list(messages))
            self._asked = [message.seq for message in messages]
        except (BrokenProcessPool, OSError) as error:
            self._give_up(error)

    def collect(self) -> dict[int, Mapped]:
        """What was read since `ask`, by number; nothing where the helper died or hangs."""
        if self._answer is None:
            return {}
        answer, self._answer = self._answer, None
        try:
            return dict(zip(self._asked, answer.result(limits.READ_AHEAD_SECONDS), strict=True))
        except Exception as error:  # noqa: BLE001  they are read here then, and what is wrong with one shows there
            self._give_up(error)
            return {}

    def close(self) -> None:
        """End the helper."""
        pool, self._pool, self._answer = self._pool, None, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _give_up(self, error: Exception) -> None:
        log.warning("inbox.read_ahead_failed", error=type(error).__name__)
        pool = self._pool
        self.close()
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.kill()  # one that hangs would never look whether it is wanted
