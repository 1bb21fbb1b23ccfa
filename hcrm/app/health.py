"""Whether the process lives, whether it is ready, and counts for the machine that watches us. No patient data."""

import shutil
from collections.abc import Iterator

import sqlalchemy as sa
from flask import Blueprint, Response, g, jsonify, request
from flask.typing import ResponseReturnValue
from prometheus_client import CollectorRegistry, Counter, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hcrm.accounts.models import AccountSession, LoginAttempt
from hcrm.accounts.security import find_machine
from hcrm.api.shell import ScopeMissingError, UnknownTokenError
from hcrm.archive.death_list.state import configured_ways, death_list_current
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.clock import local_date
from hcrm.core.db import Database, sqlite_path
from hcrm.core.events import Event
from hcrm.core.runtime import Runtime
from hcrm.core.work import open_work
from hcrm.inbox.models import InboxApplication
from hcrm.inbox.pressure import count_pending
from hcrm.inbox.queries import oldest_waiting
from hcrm.web.shell import current_shell, exempt

bp = Blueprint("health", __name__)

disable_created_metrics()  # a series more for each counter that nobody asks for
_REGISTRY = CollectorRegistry()
_REQUESTS = Counter(
    "hcrm_http_requests",
    "Answered requests by endpoint and status.",
    ["endpoint", "status"],
    registry=_REGISTRY,
)


@bp.get("/livez")
@exempt("says only that the process answers")
def livez() -> ResponseReturnValue:
    """The process answers."""
    return Response("ok\n", mimetype="text/plain")


@bp.get("/readyz")
@exempt("says only whether work can be done")
def readyz() -> ResponseReturnValue:
    """Database writable, disk not full, messages not piling up."""
    checks = check_readiness(current_shell().runtime)
    ready = all(checks.values())
    return jsonify(ready=ready, **checks), 200 if ready else 503


@bp.get("/metrics")
@exempt("asks for a token or loopback itself: a scraper on this machine needs none")
def metrics() -> ResponseReturnValue:
    """Counts as Prometheus reads them."""
    if not _is_from_this_machine():
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        g.actor = find_machine(token) if kind.lower() == "bearer" else None
        if g.actor is None:
            raise UnknownTokenError
        if not g.actor.may("metrics.read"):
            raise ScopeMissingError("metrics.read", "health.metrics")
    registry = CollectorRegistry()
    registry.register(_Gauges(current_shell().runtime))
    return Response(generate_latest(_REGISTRY) + generate_latest(registry), mimetype="text/plain")


def count_request(response: Response) -> Response:
    """Count an answer by its endpoint, never by its address, which may name a patient's key."""
    _REQUESTS.labels(request.endpoint or "none", str(response.status_code)).inc()
    return response


def _is_from_this_machine() -> bool:
    """Whether the caller sits here; behind a proxy on this machine everybody would seem to."""
    return request.remote_addr in ("127.0.0.1", "::1") and "X-Forwarded-For" not in request.headers


def check_readiness(runtime: Runtime) -> dict[str, bool]:
    """Each check by its name; the database comes first, without it the others are not asked.

    `room`: messages may go on arriving; without it the listener has stopped reading (A8).
    """
    try:
        writable = _is_writable(runtime.database)
        age = _lag_seconds(runtime) if writable else 0.0
        pending = count_pending(runtime.database) if writable else 0
    except sa.exc.SQLAlchemyError:
        writable, age, pending = False, 0.0, 0
    return {
        "database": writable,
        "disk": _free_bytes(runtime.database) >= limits.READY_FREE_BYTES,
        "lag": age <= limits.READY_LAG_SECONDS,
        "room": pending <= limits.PENDING_LIMIT,
    }


def _is_writable(database: Database) -> bool:
    """Take the write lock and try a write that touches no row, then give both back."""
    with database.writer.connect() as connection, connection.begin() as transaction:
        connection.execute(sa.delete(LoginAttempt).where(sa.false()))
        transaction.rollback()
    return True


def _free_bytes(database: Database) -> int:
    """Room beside an SQLite file; PostgreSQL watches its own disk."""
    if not database.is_sqlite:
        return limits.READY_FREE_BYTES
    return shutil.disk_usage(sqlite_path(database.url).parent).free


def _lag_seconds(runtime: Runtime) -> float:
    with open_work(runtime.database, actor=system_actor("health"), clock=runtime.clock, write=False) as work:
        since = oldest_waiting(work)
    return (runtime.clock.now() - since).total_seconds() if since else 0.0


class _Gauges(Collector):
    """What the database says at the moment of asking, the same in every process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def collect(self) -> Iterator[Metric]:
        """Counts and one age."""
        messages = GaugeMetricFamily("hcrm_inbox_messages", "Received messages by state.", labels=["state"])
        runtime = self._runtime
        with open_work(
            runtime.database, actor=system_actor("health"), clock=runtime.clock, write=False
        ) as work:
            states = sa.select(InboxApplication.state.label("state"), sa.func.count().label("n"))
            for row in work.execute(states.group_by(InboxApplication.state)):
                messages.add_metric([row.state.value], row.n)
            since = oldest_waiting(work)
            events = work.scalar(sa.select(sa.func.count()).select_from(Event).where(~Event.is_delivered))
            sessions = work.scalar(
                sa.select(sa.func.count())
                .select_from(AccountSession)
                .where(AccountSession.ended_at.is_(None))
            )
            is_current = death_list_current(work, local_date(runtime.clock.now()))
        yield messages
        age = (runtime.clock.now() - since).total_seconds() if since else 0.0
        yield GaugeMetricFamily(
            "hcrm_inbox_oldest_waiting_seconds", "Age of the oldest message not applied.", value=age
        )
        yield GaugeMetricFamily("hcrm_events_waiting", "Facts not delivered to every handler.", value=events)
        if configured_ways():
            yield GaugeMetricFamily(
                "hcrm_death_list_current", "1 where today's death list was applied.", value=is_current
            )
        yield GaugeMetricFamily(
            "hcrm_sessions", "Signed-in browsers of the last twelve hours.", value=sessions
        )
