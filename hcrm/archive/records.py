"""What adapters hand over: one message's meaning in plain records, without HL7 or FHIR in them. Pure.

Three-valued fields: `None` = the sender said nothing (keep what stands), `NULL` = the sender said it is empty
(HL7 `""`), anything else = the value. Lists: `None` = nothing said, an empty tuple = there are none now.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from typing import Final

from hcrm.archive.clinical.records import ClinicalRecord, StaffRecord
from hcrm.archive.terms import (
    ActKind,
    DeceasedState,
    DischargeWay,
    EncounterClass,
    IdentifierKind,
    Sex,
    VisitEventKind,
)


class Null(Enum):
    """The sender says: this is empty."""

    NULL = "null"


NULL: Final = Null.NULL


@dataclass(frozen=True, slots=True)
class IdentifierRecord:
    """An identifier as sent; the first record number ranks highest and names the patient."""

    kind: IdentifierKind
    authority: str
    type: str
    value: str


@dataclass(frozen=True, slots=True)
class ContactRecord:
    """A phone number or e-mail address."""

    system: str  # phone, email
    use: str  # mobile, home, work
    value: str


@dataclass(frozen=True, slots=True)
class AddressRecord:
    """An address."""

    use: str  # home, registered, work, birth
    text: str
    region_code: str | None = None


@dataclass(frozen=True, slots=True)
class RelatedPersonRecord:
    """A relative or other contact."""

    name: str
    relation: str
    phone: str = ""


@dataclass(frozen=True, slots=True)
class AllergyRecord:
    """An allergy."""

    kind: str
    code: str
    text: str
    severity: str = ""
    reaction: str = ""


@dataclass(frozen=True, slots=True)
class PatientRecord:
    """A patient as one message knows them."""

    identifiers: tuple[IdentifierRecord, ...]
    name: str | None = None
    sex: Sex | None = None
    birth_date: date | Null | None = None
    marital_status: str | Null | None = None
    deceased: DeceasedState | None = None
    deceased_at: datetime | None = None
    contacts: tuple[ContactRecord, ...] | None = None
    business_contacts: tuple[ContactRecord, ...] | None = None  # where the sender lists them apart
    addresses: tuple[AddressRecord, ...] | None = None
    related: tuple[RelatedPersonRecord, ...] | None = None
    allergies: tuple[AllergyRecord, ...] | None = None
    mother: tuple[IdentifierRecord, ...] = ()  # of a newborn
    is_vip: bool | None = None


@dataclass(frozen=True, slots=True)
class DiagnosisRecord:
    """A diagnosis."""

    code: str
    text: str
    system: str = ""
    kind: str = ""
    is_main: bool = False


@dataclass(frozen=True, slots=True)
class ProcedureRecord:
    """An operation or procedure."""

    code: str
    text: str
    system: str = ""
    performed_at: datetime | None = None
    performed_on: date | None = None


@dataclass(frozen=True, slots=True)
class DepartmentRecord:
    """A department as sent; an unknown code becomes an unverified entry of the directory.

    `campus` is a code of the directory's; it fills in what the directory does not say of the department.
    """

    code: str
    name: str = ""
    campus: str = ""


@dataclass(frozen=True, slots=True)
class PractitionerRecord:
    """A practitioner as sent (XCN); an unknown code becomes an unverified entry of the directory."""

    code: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class EncounterRecord:
    """A visit as one message knows it; `visit_no` None where the sender has none."""

    authority: str
    visit_no: str | None
    account_no: str | None = None
    encounter_class: EncounterClass | None = None
    class_text: str | None = None
    department: DepartmentRecord | None = None
    attending: PractitionerRecord | None = None
    location: str | None = None
    admitted_at: datetime | None = None
    discharged_at: datetime | None = None
    discharge_way: DischargeWay | None = None
    discharge_way_text: str | None = None
    payment_type: str | None = None
    diagnoses: tuple[DiagnosisRecord, ...] | None = None
    procedures: tuple[ProcedureRecord, ...] | None = None


@dataclass(frozen=True, slots=True)
class VisitEventRecord:
    """What happened to the visit, on the visit's clock."""

    kind: VisitEventKind
    happened_at: datetime
    precision: str = "second"


@dataclass(frozen=True, slots=True)
class VisitNumber:
    """Number of a visit or account with the authority that gave it."""

    authority: str
    number: str


@dataclass(frozen=True, slots=True)
class ActRecord:
    """What a message does to archives, numbers or visits as a whole.

    `subject` stays, comes first or becomes the owner; `other` is merged, linked, replaced or was the owner. Likewise
    `number` and `other_number` of visits and accounts.
    """

    kind: ActKind
    subject: tuple[IdentifierRecord, ...]
    other: tuple[IdentifierRecord, ...] = ()
    number: VisitNumber | None = None
    other_number: VisitNumber | None = None


@dataclass(frozen=True, slots=True)
class RowRecord:
    """Of a change that a row of a view or list told: how the row names places, and what its number leaves open."""

    places: Mapping[str, str]  # of the standard, as field and column
    guesses_type: bool = False  # nobody wrote which type the number is
    guesses_authority: bool = False  # nor who gave it


@dataclass(frozen=True, slots=True)
class Change:
    """One message's meaning, and on which clocks.

    `as_of` is the demographics clock (EVN-2, else MSH-7), `told_at` the message's own (MSH-7), both already
    clamped to the receipt where a sender's clock runs ahead. `flags` are warnings a person may want to see.
    """

    source: str
    as_of: datetime
    told_at: datetime
    patient: PatientRecord | None = None
    encounter: EncounterRecord | None = None
    event: VisitEventRecord | None = None
    acts: tuple[ActRecord, ...] = ()
    also: "Change | None" = None  # of another patient: both are absorbed, or neither
    clinical: ClinicalRecord | None = None
    staff: tuple[StaffRecord, ...] = ()
    flags: tuple[str, ...] = field(default=())
    unmapped: tuple[tuple[str, str], ...] = ()  # local codes that wait to be mapped: kind and code as sent
    row: RowRecord | None = None

    @property
    def parts(self) -> "tuple[Change, ...]":
        """The change itself and the one that goes with it."""
        return (self, self.also) if self.also else (self,)

    def named(self) -> list[tuple[IdentifierRecord, ...]]:
        """The identifiers of everybody it names, whoever's archive it changes first."""
        patients = [part.patient for part in self.parts if part.patient]
        found = [record.identifiers for record in patients]
        found += [party for act in self.acts for party in (act.subject, act.other)]
        found += [record.mother for record in patients]
        return [one for one in found if one]

    def senseless_merge(self) -> str:
        """Why no archive could do these merges, as far as the message alone shows it; else empty.

        Each group merges a number with itself, or the groups together go in a circle.
        """
        merges = [
            (_first(act.subject), _first(act.other))
            for act in self.acts
            if act.kind is ActKind.MERGE_PATIENTS
        ]
        into: dict[tuple[str, str], tuple[str, str]] = {}
        for survivor, retired in merges:
            if survivor == retired:
                continue
            if survivor in into and _end(survivor, into) == _end(retired, into):
                return "merge_cycle"
            into[_end(retired, into)] = _end(survivor, into)
        return "merge_self" if merges and not into else ""


def _first(numbers: tuple[IdentifierRecord, ...]) -> tuple[str, str]:
    found = next((one for one in numbers if one.kind is IdentifierKind.RECORD), None)
    return (found.authority, found.value) if found else ("", "")


def _end(key: tuple[str, str], into: dict[tuple[str, str], tuple[str, str]]) -> tuple[str, str]:
    while key in into:
        key = into[key]
    return key


@dataclass(frozen=True, slots=True)
class Unmapped:
    """A message that cannot become a change: parked with this reason, or ignored where `ignored` says so."""

    reason: str
    detail: str = ""
    ignored: bool = False


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a message became, and the code of the source it was read as."""

    source: str
    result: Change | Unmapped


class OutcomeState(Enum):
    """What became of a change."""

    APPLIED = "applied"
    IGNORED = "ignored"
    HELD = "held"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class AbsorbOutcome:
    """What absorbing one change came to: the state, why, and what it touched."""

    state: OutcomeState
    reason: str | None = None
    detail: str | None = None
    flags: tuple[str, ...] = ()
    visit_key: str | None = None  # of a visit nobody knows yet: what is said of it waits
    patient_id: str | None = None
    encounter_id: str | None = None
