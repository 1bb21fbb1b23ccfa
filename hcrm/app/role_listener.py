"""The listener: HL7 v2 over MLLP into the inbox. Loads neither Flask nor the archive."""

import asyncio
import threading
from collections.abc import Callable
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
    asyncio.run(
        run_mllp(
            host, port, committer=committer, sources=open_sources(role.settings), clock=clock, allowed=allowed,
            tls=tls_of(mllp), on_alert=alerts_to_audit(role.database, clock),
        )
    )  # fmt: skip


def tls_of(mllp: Mllp) -> Tls | None:
    """TLS as the settings want it; None for plain MLLP."""
    if not mllp.tls_cert:
        return None
    authority = Path(mllp.tls_ca) if mllp.tls_ca else None
    context = server_context(Path(mllp.tls_cert), Path(mllp.tls_key), authority, mllp.client_certificates)
    return Tls(context, split_address(mllp.tls_listen) if mllp.tls_listen else None)


def alerts_to_audit(database: Database, clock: Clock) -> Callable[[str, str], object]:
    """Write who was turned away at the door to audit, from a thread of its own: the socket waits for no database."""
    waiting: Queue[tuple[str, str]] = Queue(_ALERTS_WAITING)

    def write() -> None:
        while True:
            reason, address = waiting.get()
            actor = replace(system_actor("listener"), address=address)
            try:
                with open_work(database, actor=actor, clock=clock) as work:
                    record_audit(
                        work, action="mllp.connect", subject_type="peer", outcome=AuditOutcome.DENIED,
                        detail={"reason": reason},
                    )  # fmt: skip
            except sa.exc.SQLAlchemyError as error:
                log.error("mllp.alert_unwritten", reason=reason, peer=address, error=type(error).__name__)

    def alert(reason: str, address: str) -> None:
        try:
            waiting.put_nowait((reason, address))
        except Full:
            log.error("mllp.alert_unwritten", reason=reason, peer=address, error="Full")

    threading.Thread(target=write, name="listener-audit", daemon=True).start()
    return alert
