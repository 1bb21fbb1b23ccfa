"""A few messages of the demonstration hospital that need somebody: its interface console has something to show."""

from datetime import UTC, datetime, timedelta

from adapters.his.reception import receive
from hcrm.app import wiring
from hcrm.core.clock import FixedClock, local_time
from hcrm.core.db import Database
from hcrm.core.runtime import open_sources
from hcrm.core.settings import Settings
from hcrm.inbox.intake import store_now
from hcrm.inbox.service import process_messages

_TROUBLES = (
    ("ADT^A03", "PV1|1|I|K01||||||||||||||||DEMO-V1||||||||||||||||||||||||||20260230120000"),  # no such day
    ("ADT^Z99", "PV1|1|I|K01||||||||||||||||DEMO-V2"),  # an event of its own
    ("ADT^A13", "PV1|1|I|K01||||||||||||||||DEMO-V3"),  # takes back a discharge that never came
)


def receive_troubles(settings: Settings, database: Database) -> int:
    """Messages as a HIS might send them in error, received just before now; how many."""
    sources, at = open_sources(settings), datetime.now(UTC) - timedelta(minutes=10)
    stamp = local_time(at).strftime("%Y%m%d%H%M%S")
    for number, (kind, visit) in enumerate(_TROUBLES, start=1):
        msh = f"MSH|^~\\&|HIS|H1|HCRM|H1|{stamp}||{kind}|DEMO-{number}|P|2.4|||||CHN|UNICODE UTF-8"
        pid = f"PID|1||0099999{number}^^^H1^MR||演示^患者{'甲乙丙'[number - 1]}||19600101|F"
        raw = f"{msh}\r{pid}\r{visit}\r".encode()
        store_now(database, receive(raw, sources=sources, peer="demo", at=at))
    intake = wiring.intake(sources, FixedClock(at))
    while process_messages(database, intake):
        pass
    return len(_TROUBLES)
