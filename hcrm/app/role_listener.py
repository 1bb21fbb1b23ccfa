"""The listener: HL7 v2 over MLLP into the inbox. Loads neither Flask nor the archive."""

import asyncio
import contextlib
import threading
from dataclasses import replace
from pathlib import Path
from queue import Full, Queue

import sqlalchemy as sa
import structlog

from adapters.his.mllp import MllpLimits, Tls, run_mllp
from adapters.his.tls import server_context
from hcrm.app.address import split_address
from hcrm.app.role import Role
from hcrm.audit.models import AuditOutcome
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.clock import Clock, SystemClock
from hcrm.core.db import Database
from hcrm.core.runtime import open_sources
from hcrm.core.settings import Mllp
from hcrm.core.work import open_work
from hcrm.inbox.intake import Committer
from hcrm.inbox.pressure import count_pending as count_pending  # asked for here by name

_ALERTS_WAITING = 100
log = structlog.get_logger(__name__)


def run(role: Role) -> None:
    """Receive until SIGTERM, then finish what is being committed."""
    host, port = split_address(role.address)
    mllp, clock = role.settings.mllp, SystemClock()
    allowed = MllpLimits(
        connections_per_address=mllp.connections_per_address, connections_total=mllp.connections_total,
        networks=mllp.networks,
    )  # fmt: skip
    committer = Committer(role.database, pending=lambda: count_pending(role.database))
    alerts = AuditAlerts(role.database, clock)
    asyncio.run(
        run_mllp(
            host, port, committer=committer, sources=open_sources(role.settings), clock=clock, allowed=allowed,
            tls=tls_of(mllp), on_alert=alerts,
        )
    )  # fmt: skip
    alerts.close()


def tls_of(mllp: Mllp) -> Tls | None:
    """TLS as the settings want it; None for plain MLLP."""
    if not mllp.tls_cert:
        return None
    authority = Path(mllp.tls_ca) if mllp.tls_ca else None
    context = server_context(Path(mllp.tls_cert), Path(mllp.tls_key), authority, mllp.client_certificates)
    return Tls(context, split_address(mllp.tls_listen) if mllp.tls_listen else None)


class AuditAlerts:
    """Writes who was turned away at the door to audit, in a thread of its own: the socket waits for no database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waiting: Queue[tuple[str, str] | None] = Queue(_ALERTS_WAITING)
        self._thread = threading.Thread(target=self._write, name="listener-audit", daemon=True)
        self._thread.start()

    def __call__(self, reason: str, address: str) -> None:
        """See `adapters.his.mllp.Alert`."""
        try:
            self._waiting.put_nowait((reason, address))
        except Full:
            log.error("mllp.alert_unwritten", reason=reason, peer=address, error="Full")

    def close(self) -> None:
        """Write what waits, for a moment at most."""
        with contextlib.suppress(Full):
            self._waiting.put(None, timeout=limits.LINGER_SECONDS)
        self._thread.join(limits.LINGER_SECONDS)

    def _write(self) -> None:
        while alert := self._waiting.get():
            reason, address = alert
            actor = replace(system_actor("listener"), address=address)
            try:
                with open_work(self._database, actor=actor, clock=self._clock) as work:
                    record_audit(
                        work, action="mllp.connect", subject_type="peer", outcome=AuditOutcome.DENIED,
                        detail={"reason": reason},
                    )  # fmt: skip
            except sa.exc.SQLAlchemyError as error:
                log.error("mllp.alert_unwritten", reason=reason, peer=address, error=type(error).__name__)
