"""Facts of the archive."""

from dataclasses import dataclass

from hcrm.core.events import Fact


@dataclass(frozen=True)
class EncounterDischarged(Fact):
    """A visit ended (出院); `trigger_id` is the visit event that closed it."""

    encounter_id: str
    trigger_id: str


@dataclass(frozen=True)
class DischargeCancelled(Fact):
    """The discharge of that event no longer stands: cancelled, or the visit itself was."""

    encounter_id: str
    trigger_id: str


@dataclass(frozen=True)
class EncounterRevised(Fact):
    """What a finished stay is classified by has changed: diagnoses, procedures, department, way of leaving."""

    encounter_id: str
    trigger_id: str


@dataclass(frozen=True)
class PatientDied(Fact):
    """We learned that the patient has died."""

    patient_id: str


@dataclass(frozen=True)
class DeathRevoked(Fact):
    """The patient lives after all: people took back what they had noted, or decided what was disputed.

    `noted_at`: since when the patient was thought dead (ISO 8601).
    """

    patient_id: str
    noted_at: str


@dataclass(frozen=True)
class PatientsMerged(Fact):
    """Two archives became one."""

    survivor_id: str
    merged_id: str
