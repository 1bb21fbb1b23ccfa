"""Reading the archive for people: one door to a patient, one search. Both keep to the row scope and note the read."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from hcrm.archive.links import mothers_of
from hcrm.archive.models import Address, ContactPoint, Patient, PatientIdentifier, RelatedPerson
from hcrm.archive.scope import patient_condition
from hcrm.audit.service import record_audit
from hcrm.core.errors import DeniedError, NotFoundError
from hcrm.core.text import mask_id_number, mask_phone
from hcrm.core.work import Work

OWN_AUTHORITY = "HCRM"
"""Who gave the record numbers that are given here."""
_MERGES = 32  # a chain this long would be a loop


def get_patient(work: Work, patient_id: str, *, action: str = "patient.read") -> Patient:
    """The patient of that id for this actor; a merged id leads to the survivor, on whom the right is decided (C50).

    Notes the read. Outside the scope it is as if there were no such patient, and the attempt is noted (C49).
    """
    patient = patient_in_scope(work, patient_id, action)
    record_audit(work, action=action, patients=[patient.id], subject_type="patient", subject_id=patient.id)
    return patient


def patient_in_scope(work: Work, patient_id: str, action: str) -> Patient:
    """As `get_patient`, for acts that note themselves."""
    patient = surviving_patient(work, patient_id)
    condition = patient_condition(work.actor, patient.id)
    if condition is not None and not work.scalar(sa.select(condition)):
        raise DeniedError(action, subject_type="patient", subject_id=patient.id, patients=(patient.id,))
    return patient


def surviving_patient(work: Work, patient_id: str) -> Patient:
    """The patient of that id, or who it was merged into; without scope and audit, hence not for people."""
    patient = work.get(Patient, patient_id)
    for _ in range(_MERGES):
        if patient.merged_into_id is None:
            return patient
        patient = work.get(Patient, patient.merged_into_id)
    raise NotFoundError


def survivors_of(work: Work, patient_ids: Collection[str]) -> dict[str, str]:
    """Who each of these is today: the archive they were merged into, or their own."""
    rows = work.execute(
        sa.select(Patient.id, Patient.merged_into_id).where(Patient.id.in_(sorted(set(patient_ids))))
    )
    return {row.id: row.merged_into_id or row.id for row in rows}


def record_list_read(
    work: Work, action: str, patient_ids: Iterable[str], *, detail: dict[str, Any] | None = None
) -> None:
    """Note that a list showed these patients: one event, a subject row for each (W4)."""
    ids = list(dict.fromkeys(patient_ids))
    record_audit(work, action=action, patients=ids, detail={"count": len(ids), **(detail or {})})


# ── values that reach or identify a person ──────────────────────────────────


def masked_phones(work: Work, patient_ids: Sequence[str]) -> dict[str, str]:
    """The first number of each patient, masked: 138****8000."""
    rows = work.execute(
        sa.select(ContactPoint.patient_id, ContactPoint.value_sealed)
        .where(
            ContactPoint.patient_id.in_(patient_ids),
            ContactPoint.system == "phone",
            ContactPoint.ended_at.is_(None),
        )
        .order_by(
            ContactPoint.patient_id, ContactPoint.is_verified.desc(), ContactPoint.rank, ContactPoint.id
        )
    )
    first: dict[str, bytes] = {}
    for row in rows:
        first.setdefault(row.patient_id, row.value_sealed)
    return {patient_id: mask_phone(work.keys.open_text(sealed)) for patient_id, sealed in first.items()}


def reveal_contact(work: Work, *, patient_id: str, contact_id: str) -> str:
    """One phone number in full; the act is noted with the field (W6). The route asks for `patient.reveal`."""
    patient = patient_in_scope(work, patient_id, "patient.reveal")
    contact = work.get(ContactPoint, contact_id)
    if contact.patient_id != patient.id and contact.patient_id not in mothers_of(work, patient.id):
        raise NotFoundError  # a newborn's contact is the mother
    _note_reveal(work, patient, "contact_point", contact_id)
    return work.keys.open_text(contact.value_sealed)


def reveal_identifier(work: Work, *, patient_id: str, identifier_id: str) -> str:
    """One ID number in full; the act is noted with the field (W6). The route asks for `patient.reveal`."""
    patient = patient_in_scope(work, patient_id, "patient.reveal")
    identifier = work.get(PatientIdentifier, identifier_id)
    if identifier.patient_id != patient.id or identifier.value_sealed is None:
        raise NotFoundError
    _note_reveal(work, patient, "patient_identifier", identifier_id)
    return work.keys.open_text(identifier.value_sealed)


def reveal_address(work: Work, *, patient_id: str, address_id: str) -> str:
    """One address in full; the act is noted with the field (W6). The route asks for `patient.reveal`."""
    patient = patient_in_scope(work, patient_id, "patient.reveal")
    address = work.get(Address, address_id)
    if address.patient_id != patient.id:
        raise NotFoundError
    _note_reveal(work, patient, "address", address_id)
    return work.keys.open_text(address.text_sealed)


def reveal_related(work: Work, *, patient_id: str, related_id: str) -> str:
    """A relative's number in full; the act is noted with the field (W6). The route asks for `patient.reveal`."""
    patient = patient_in_scope(work, patient_id, "patient.reveal")
    related = work.get(RelatedPerson, related_id)
    if related.patient_id != patient.id or related.phone_sealed is None:
        raise NotFoundError
    _note_reveal(work, patient, "related_person", related_id)
    return work.keys.open_text(related.phone_sealed)


def masked_identifier(work: Work, identifier: PatientIdentifier) -> str:
    """A record number as it is, an ID number masked."""
    if identifier.value is not None:
        return identifier.value
    return mask_id_number(work.keys.open_text(identifier.value_sealed)) if identifier.value_sealed else ""


def _note_reveal(work: Work, patient: Patient, subject_type: str, subject_id: str) -> None:
    record_audit(
        work, action="patient.reveal", patients=[patient.id], subject_type=subject_type, subject_id=subject_id
    )
