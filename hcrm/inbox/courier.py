"""One destination's courier: claims a message, has it sent outside any transaction, notes the answer."""

import threading

import sqlalchemy as sa
import structlog

from hcrm.core.actor import system_actor
from hcrm.core.clock import Clock
from hcrm.core.db import Database, is_away
from hcrm.core.faults import fault
from hcrm.core.work import open_work
from hcrm.inbox.outbound import claim_message, has_due, record_result, release_destination
from hcrm.inbox.outbound_records import NotSent, Reply, Sender

IDLE_SECONDS = 1.0
_ACTOR = system_actor("sender")
log = structlog.get_logger(__name__)


class Courier:
    """Sends to one destination, one message at a time. Any number may run anywhere: the lease lets one of them send."""

    def __init__(
        self, database: Database, *, destination: str, sender: Sender, clock: Clock, holder: str
    ) -> None:
        self._database = database
        self._destination = destination
        self._sender = sender
        self._clock = clock
        self._holder = holder

    def run(self, stop: threading.Event) -> None:
        """Send as long as there is something, until told to stop."""
        try:
            while not stop.is_set():
                if not self._try_next():
                    stop.wait(IDLE_SECONDS)
        finally:
            self._sender.close()
            self._release()

    def send_next(self) -> bool:
        """One message; False where there was none for us."""
        with open_work(self._database, actor=_ACTOR, clock=self._clock, write=False) as work:
            if not has_due(work, destination=self._destination):
                return False
        with open_work(self._database, actor=_ACTOR, clock=self._clock) as work:
            claimed = claim_message(work, destination=self._destination, holder=self._holder)
        if claimed is None:
            return False
        result: Reply | NotSent
        try:
            result = self._sender.send(claimed.payload, claimed.control_id)
        except NotSent as problem:
            result = problem
            log.warning(
                "outbound.not_sent", destination=self._destination, seq=claimed.seq, reason=problem.reason
            )
        except Exception as error:  # noqa: BLE001  a fault of ours with this message must not end the sending of all others
            log.error(
                "outbound.failed", destination=self._destination, seq=claimed.seq, error=type(error).__name__
            )
            self._sender.close()
            result = NotSent("error")
        fault("before_outbound_record")
        with open_work(self._database, actor=_ACTOR, clock=self._clock) as work:
            is_ours = record_result(work, claimed=claimed, result=result)
        if not is_ours:
            self._sender.close()  # another sender has the destination: what still comes on this line is not for us
            log.warning("outbound.lease_lost", destination=self._destination, seq=claimed.seq)
        return True

    def _try_next(self) -> bool:
        try:
            return self.send_next()
        except sa.exc.DBAPIError as error:
            if not is_away(error):
                raise
            log.warning("outbound.database_away", error=type(error).__name__)
            return False

    def _release(self) -> None:
        try:
            with open_work(self._database, actor=_ACTOR, clock=self._clock) as work:
                release_destination(work, destination=self._destination, holder=self._holder)
        except sa.exc.DBAPIError as error:
            log.warning("outbound.database_away", error=type(error).__name__)
