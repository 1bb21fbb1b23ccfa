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
class PatientsTouched(Fact):
    """What the archive knows of these patients may have changed: one fact for a batch of messages."""

    patient_ids: list[str]


@dataclass(frozen=True)
class ContactStopped(Fact):
    """Contact with the patient was ended, by their wish or ours."""

    patient_id: str


@dataclass(frozen=True)
class ContactRestored(Fact):
    """The end of contact was taken back. `noted_at`: since when it had been ended (ISO 8601)."""

    patient_id: str
    noted_at: str


@dataclass(frozen=True)
class PatientsMerged(Fact):
    """Two archives became one."""

    survivor_id: str
    merged_id: str


@dataclass(frozen=True)
class PatientsParted(Fact):
    """A merge was undone: two archives again."""

    survivor_id: str
    merged_id: str


@dataclass(frozen=True)
class PatientNullified(Fact):
    """The archive was deleted by its sender (A29): hidden, nothing is sent."""

    patient_id: str


@dataclass(frozen=True)
class PatientRestored(Fact):
    """A sender speaks again of a patient it had deleted. `noted_at`: since when they were hidden (ISO 8601)."""

    patient_id: str
    noted_at: str


@dataclass(frozen=True)
class PatientMarkedTest(Fact):
    """The archive is a test patient's (测试患者): in no list or figure, never sent to."""

    patient_id: str


@dataclass(frozen=True)
class PatientUnmarkedTest(Fact):
    """It is a patient's after all. `noted_at`: since when it was taken for a test patient's (ISO 8601)."""

    patient_id: str
    noted_at: str


@dataclass(frozen=True)
class VisitMoved(Fact):
    """A visit turned out to be another patient's."""

    encounter_id: str
    from_patient_id: str
    to_patient_id: str


@dataclass(frozen=True)
class CriticalResultReceived(Fact):
    """A result that somebody has to be told at once (危急值) came, or a known one became one."""

    report_id: str
    observation_id: str


@dataclass(frozen=True)
class CriticalResultWithdrawn(Fact):
    """That result is no longer critical: corrected, deleted, or its report is void."""

    report_id: str
    observation_id: str


@dataclass(frozen=True)
class CourseEndNoted(Fact):
    """We learned when the course of a drug ends, or that this or the order's state has changed."""

    medication_request_id: str


@dataclass(frozen=True)
class AppointmentBooked(Fact):
    """Another system made a booking."""

    appointment_id: str


@dataclass(frozen=True)
class AppointmentChanged(Fact):
    """A booking was moved or altered, or stands again."""

    appointment_id: str


@dataclass(frozen=True)
class AppointmentCancelled(Fact):
    """A booking was cancelled or deleted."""

    appointment_id: str


@dataclass(frozen=True)
class AppointmentMissed(Fact):
    """The patient did not come (爽约)."""

    appointment_id: str
