"""Frames as the reception gets them, and the word it answers."""

from datetime import UTC, datetime

from adapters.his.reception import receive
from hcrm.core.sources import Source, Sources
from hcrm.inbox.records import Incoming, Refused

AT = datetime(2026, 11, 22, 2, tzinfo=UTC)
SOURCES = Sources([Source(code="default", title="x")])


def message(kind: str = "ADT^A01", control_id: str = "7", processing_id: str = "P", version: str = "2.5.1",
            acks: str = "|", more: str = "", body: str = "PID|1||100") -> bytes:  # fmt: skip
    return (
        f"MSH|^~\\&|HIS|H1|HCRM|H2|20261122||{kind}|{control_id}|{processing_id}|{version}|||{acks}{more}\r{body}\r"
    ).encode()


def take(raw: bytes, *sources: Source, known_senders_only: bool = False) -> Incoming | Refused:
    known = Sources([*SOURCES.by_code.values(), *sources], known_senders_only=known_senders_only)
    (item,) = receive(raw, sources=known, peer="10.0.0.9", at=AT)
    return item


def verdict(item: Incoming | Refused) -> str:
    return item.ack.split(b"\rMSA|")[1][:2].decode() if item.ack else ""
