"""What the door hands over for storing and what it gets back: plain values, no database, no HL7."""

from datetime import datetime
from typing import NamedTuple

CORRECTED_COPY = "corrected_copy"
"""Flag of a message that a person stored instead of another one."""


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
    series: str = ""  # of a row: which rows it is numbered among when it is stored
    taking: str = ""  # of a row: the file it stands in, each time that is put in, and the part of it


class Refused(NamedTuple):
    """Something that cannot be stored as a message: why, how long, its hash, a head of at most 64 bytes, who it was.

    Who: what MSH-3, MSH-4 and MSH-10 claim, the certificate shown, the peer's port and the door it knocked at.
    """

    reason: str
    size: int
    sha256: bytes
    head: bytes
    peer: str
    received_at: datetime
    ack: bytes = b""  # a negative answer where the header could be read
    is_fatal: bool = False  # nothing that follows on this connection can be trusted
    detail: str = ""  # what exactly, as a code
    source: str = ""  # code of the source it was taken for
    sender: str = ""
    facility: str = ""
    control_id: str = ""
    subject: str = ""  # of the certificate shown
    peer_port: int | None = None
    door: str = ""  # mllp 2575, mllps 2576, http, folder
    name: str = ""  # of a file; kept sealed, since it may name a patient


class Stored(NamedTuple):
    """The outcome, in the order handed over. A duplicate names the row it repeats and carries that row's ACK."""

    seq: int
    ack: bytes
    is_duplicate: bool = False
    control_id: str = ""  # of a row that was numbered
