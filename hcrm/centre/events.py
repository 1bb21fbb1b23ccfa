"""Facts of the service centre."""

from dataclasses import dataclass

from hcrm.core.events import Fact


@dataclass(frozen=True)
class EncounterClassified(Fact):
    """A finished stay was classified; its instructions may be issued."""

    encounter_id: str
    trigger_id: str


@dataclass(frozen=True)
class EncounterReclassified(Fact):
    """A finished stay was classified anew because its record changed; what was issued may have to follow."""

    encounter_id: str
    trigger_id: str


@dataclass(frozen=True)
class InstructionIssued(Fact):
    """An instruction was issued to a station, or to the exception queue."""

    instruction_id: str


@dataclass(frozen=True)
class InstructionCompleted(Fact):
    """An instruction was carried out and, where asked, reviewed."""

    instruction_id: str


@dataclass(frozen=True)
class ReportPostponed(Fact):
    """Telling other systems of a finished follow-up was put off to the next round: this one had no room for it."""

    instruction_id: str
