"""What the door hands over for storing and what it gets back: plain values, no database, no HL7."""

from datetime import datetime
from typing import NamedTuple


class Incoming(NamedTuple):
    """A message to be stored before it is acknowledged. Its key is sender, facility, control id and sha256."""

    sender: str
    facility: str
    control_id: str
    sha256: bytes
    kind: str
    format: str
    raw: bytes
    ack: bytes  # the answer for the sender once it is stored; empty where none is due
    peer: str
    flags: tuple[str, ...]
    received_at: datetime


class Refused(NamedTuple):
    """Something that cannot be stored as a message: only why, how long, its hash and a head of at most 64 bytes."""

    reason: str
    size: int
    sha256: bytes
    head: bytes
    peer: str
    received_at: datetime
    ack: bytes = b""  # a negative answer where the header could be read
    is_fatal: bool = False  # nothing that follows on this connection can be trusted


class Stored(NamedTuple):
    """The outcome, in the order handed over. A duplicate names the row it repeats and carries that row's ACK."""

    seq: int
    ack: bytes
    is_duplicate: bool = False
