"""The sender: what we tell other systems, one thread per destination.

A process of its own: a receiver that is slow or down then costs neither the worker's time nor its lock on the
database, its end is nobody else's, and in scale-out it runs on the machines that may reach those systems.
"""

import os
import socket
import threading
import time

import structlog

from hcrm.app import wiring
from hcrm.app.role import Role
from hcrm.core import limits
from hcrm.core.clock import SystemClock
from hcrm.core.destinations import Destination
from hcrm.core.runtime import open_destinations
from hcrm.inbox.courier import Courier
from hcrm.inbox.outbound_records import Sender

log = structlog.get_logger(__name__)


def run(role: Role) -> None:
    """Send until told to stop. A thread that ends by a fault ends them all, and the parent starts us anew."""
    senders = {each: wiring.SENDERS["mllp"](each) for each in open_destinations() if not each.paused}
    threads = [
        threading.Thread(target=_send, args=(role, destination, sender), name=destination.code)
        for destination, sender in senders.items()
    ]
    for thread in threads:
        thread.start()
    role.stop.wait()
    deadline = time.monotonic() + limits.STOP_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    for sender in senders.values():
        sender.abort()  # what still waits for its answer is sent again after the start, and known by its control id
    for thread in threads:
        thread.join()


def _send(role: Role, destination: Destination, sender: Sender) -> None:
    holder = f"{socket.gethostname()}:{os.getpid()}"
    courier = Courier(
        role.database, destination=destination.code, sender=sender, clock=SystemClock(), holder=holder
    )
    try:
        courier.run(role.stop)
    except BaseException as error:
        log.error("outbound.ended", destination=destination.code, error=type(error).__name__)
        role.stop.set()
        raise
