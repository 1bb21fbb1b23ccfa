"""What passes between those who know a subject, those who write HL7 and those who send it: plain values, no HL7."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any, NamedTuple, Protocol

from hcrm.archive.terms import EncounterClass, Sex
from hcrm.core.destinations import Destination, Subject


@dataclass(frozen=True, slots=True)
class NumberOut:
    """A record number with who gave it out and its type as received."""

    authority: str
    type: str
    value: str


@dataclass(frozen=True, slots=True)
class PatientOut:
    """The patient as a receiver needs to know them: no phone, no address, no citizen ID."""

    numbers: tuple[NumberOut, ...]
    name: str
    sex: Sex
    birth_date: date | None


@dataclass(frozen=True, slots=True)
class EncounterOut:
    """The stay that was followed up."""

    authority: str
    visit_no: str | None
    encounter_class: EncounterClass
    department_code: str
    department_name: str
    admitted_at: datetime | None
    discharged_at: datetime | None


class AnswerKind(Enum):
    """How a value is written: HL7 NM, CE (one or several), DT, TX."""

    NUMBER = "number"
    CODED = "coded"
    DATE = "date"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class FlagOut:
    """A red flag an answer raised; `is_urgent` is the most urgent level."""

    code: str
    level: str
    text: str
    is_urgent: bool


@dataclass(frozen=True, slots=True)
class AnswerOut:
    """One answer: the item, and its values as (code or text, label)."""

    code: str
    label: str
    kind: AnswerKind
    values: tuple[tuple[str, str], ...]
    unit: str = ""
    flags: tuple[FlagOut, ...] = ()


@dataclass(frozen=True, slots=True)
class FollowUpOut:
    """A finished follow-up: what was asked, how it ended, what was answered."""

    instruction_id: str
    patient: PatientOut
    encounter: EncounterOut
    form_code: str
    form_title: str
    step_title: str
    outcome_code: str
    outcome_label: str
    answers: tuple[AnswerOut, ...]
    done_at: datetime
    author_name: str
    is_correction: bool = False  # this destination was told of it before


class Built(NamedTuple):
    """A message ready to be queued: its kind (MSH-9.1^9.2) and its bytes."""

    kind: str
    payload: bytes


class NotBuilt(Exception):
    """The record cannot be said in a valid message: a reason word and the place, never a value."""

    def __init__(self, reason: str, place: str = "") -> None:
        super().__init__(reason, place)
        self.reason = reason
        self.place = place


Builder = Callable[[Any, Destination, str, datetime], Built]
"""Writes a record for a destination under a control id, as of now; NotBuilt where it cannot."""
Builders = Mapping[Subject, Builder]


class Verdict(Enum):
    """What the receiver said of a message: AA or CA, AE or CE, AR or CR."""

    ACCEPTED = "A"
    ERROR = "E"
    REJECTED = "R"


class Reply(NamedTuple):
    """The receiver's answer to this very message; `detail` is a code and a place, never a value."""

    verdict: Verdict
    code: str
    detail: str
    raw: bytes


class NotSent(Exception):
    """No answer to this very message. `is_unreachable`: nothing of it left, the connection could not be made."""

    def __init__(self, reason: str, *, is_unreachable: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_unreachable = is_unreachable


class Sender(Protocol):
    """A client of one destination; used by one thread."""

    def send(self, payload: bytes, control_id: str) -> Reply:
        """Send and wait for the answer to this control id; NotSent where none came."""

    def close(self) -> None:
        """Hang up."""

    def abort(self) -> None:
        """From another thread: end a wait for an answer."""


SenderMaker = Callable[[Destination], Sender]
