"""What tests of the listener share."""

from collections.abc import Callable, Iterator

import pytest

from adapters.his.connection import MllpLimits
from hcrm.core.sources import Source
from tests.support.listener import Listen, RunningListener, default_sources
from tests.support.own_postgresql import OwnPostgresql, own_server


@pytest.fixture
def listen(database, clock) -> Iterator[Listen]:
    """Start a listener; keywords are limits."""
    running: list[RunningListener] = []

    def start(
        *sources: Source, pending: Callable[[], int] | None = None, **allowed: float
    ) -> RunningListener:
        listener = RunningListener(
            database,
            default_sources(*sources),
            clock,
            MllpLimits(**allowed),
            pending,  # type: ignore[arg-type]
        )
        running.append(listener.__enter__())
        return listener

    yield start
    for listener in running:
        listener.stop()


@pytest.fixture
def own_postgresql() -> Iterator[OwnPostgresql]:
    """A server of this test's own."""
    with own_server() as server:
        yield server
