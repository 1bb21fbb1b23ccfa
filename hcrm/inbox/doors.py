"""What reads messages that come in bodies and files: handed in by `app.wiring`, since only adapters know HL7."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from hcrm.core.sources import Caller, Source, Sources
from hcrm.inbox.records import Incoming, Refused


class Receive(Protocol):
    """From bytes to what is stored (`adapters.his.reception.receive`)."""

    def __call__(
        self, raw: bytes, *, sources: Sources, peer: str, at: datetime, caller: Caller | None = None
    ) -> Sequence[Incoming | Refused]:
        """Each message of the body with its answer."""
        ...


class Envelope(Protocol):
    """What `read_envelope` found: HL7 or a row."""

    @property
    def message(self) -> bytes:
        """HL7, empty where it is a row."""
        ...

    @property
    def codec(self) -> str:
        """Its charset."""
        ...

    @property
    def row(self) -> tuple[tuple[str, str], ...]:
        """Path and text."""
        ...

    @property
    def content_type(self) -> str:
        """Of the answer."""
        ...


class Soap(Protocol):
    """`adapters.his.soap`."""

    def read_envelope(
        self, body: bytes, charset: str, *, sources: Sources, source: Source | None
    ) -> Envelope:
        """The message of an envelope."""
        ...

    def write_answer(self, envelope: Any, text: str, element: str) -> bytes:
        """The answer's envelope."""
        ...

    def write_fault(self, version: str, text: str, *, by_sender: bool) -> tuple[bytes, int, str]:
        """A Fault with status and content type."""
        ...


@dataclass(frozen=True)
class Doors:
    """What reads, handed in by `app.wiring`."""

    receive: Receive
    soap: Soap
