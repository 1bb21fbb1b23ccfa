"""The patient page's frame: the card on top and the column at the side. What the tabs show is in `record_tabs.py`.

Nothing here asks who may see the patient: the view came through `archive.queries.get_patient`, which applies the row
scope and notes the read. Phones, ID numbers and addresses leave masked; `reveal_value` gives one of them in full.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from followup.alerts import IS_UNHANDLED
from followup.models import Alert
from hcrm.archive import queries as archive
from hcrm.archive.models import (
    Address,
    Allergy,
    ContactPoint,
    DeceasedState,
    IdentifierKind,
    Patient,
    PatientIdentifier,
    PatientMerge,
    RelatedPerson,
    Sex,
)
from hcrm.centre.models import IS_OPEN, Instruction
from hcrm.centre.scope import instructions_in_scope
from hcrm.core.dialling import why_not_dialled
from hcrm.core.errors import NotFoundError
from hcrm.core.text import mask_phone, national_phone, relation_word
from hcrm.core.work import Work
from hcrm.desk.record_tabs import instructions_to_show
from hcrm.directory.queries import region_names

NEXT_STEPS = 3
_CONTACT_USES = {"mobile": "手机", "home": "家庭电话", "work": "单位电话"}
_ADDRESS_USES = {"home": "住址", "registered": "户籍地址", "work": "单位地址", "birth": "出生地"}
FIELDS = {
    "name": "姓名",
    "sex": "性别",
    "birth_date": "出生日期",
    "marital_status": "婚姻",
    "deceased": "在世情况",
}
"""The patient's own columns that know where they come from, as people call them."""
_MARITAL = {
    "S": "未婚",
    "M": "已婚",
    "W": "丧偶",
    "D": "离婚",
    "10": "未婚",
    "20": "已婚",
    "30": "丧偶",
    "40": "离婚",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from: as-of, source, inbox sequence."""

    as_of: datetime
    source: str
    seq: int


@dataclass(frozen=True, slots=True)
class MaskedValue:
    """A value that reaches or identifies a person. `kind` and `id` are what `reveal_value` is asked with."""

    kind: str  # contact, identifier, address, related
    id: str
    label: str
    text: str  # masked
    origin: Origin
    is_verified: bool = False
    not_dialled: str = ""  # why, of a number nobody calls from here


@dataclass(frozen=True, slots=True)
class Relative:
    """A relative or other contact."""

    name: str
    relation: str
    phone: MaskedValue | None
    origin: Origin


@dataclass(frozen=True, slots=True)
class KnownField:
    """One of the patient's own values with where it comes from."""

    label: str
    value: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class PatientCard:
    """What stands on top of and beside every tab of a patient."""

    patient: Patient
    record_numbers: Sequence[str]
    id_numbers: Sequence[MaskedValue]
    contacts: Sequence[MaskedValue]
    addresses: Sequence[MaskedValue]
    relatives: Sequence[Relative]
    allergies: Sequence[Allergy]
    next_steps: Sequence[sa.Row[Any]]
    alerts: int  # red flags nobody has dealt with
    merges: int
    fields: Sequence[KnownField] = field(default=())


def load_card(work: Work, patient: Patient) -> PatientCard:
    """The patient at a glance: one query a table."""
    identifiers = _live(work, PatientIdentifier, patient.id, PatientIdentifier.id)
    addresses = _live(work, Address, patient.id, Address.rank)
    regions = region_names(work, {row.region_code for row in addresses})
    numbers = [row for row in identifiers if row.kind is IdentifierKind.RECORD and row.value]
    return PatientCard(
        patient=patient,
        record_numbers=[row.value for row in numbers if row.retired_at is None and row.replaced_at is None],
        id_numbers=[
            MaskedValue("identifier", row.id, "身份证号", archive.masked_identifier(work, row), _origin(row))
            for row in identifiers
            if row.kind is IdentifierKind.CITIZEN and row.value_sealed
        ],
        contacts=_contacts(work, patient.id),
        addresses=[
            MaskedValue(
                "address", row.id, _ADDRESS_USES.get(row.use, "地址"),
                f"{regions.get(row.region_code, '')}****", _origin(row),
            )
            for row in addresses
        ],
        relatives=_relatives(work, patient.id),
        allergies=_live(work, Allergy, patient.id, Allergy.rank),
        next_steps=_next_steps(work, patient.id) if work.actor.may("instruction.read") else (),
        alerts=_count_alerts(work, patient.id) if work.actor.may("instruction.read") else 0,
        merges=work.scalar(
            sa.select(sa.func.count())
            .select_from(PatientMerge)
            .where(PatientMerge.survivor_id == patient.id, PatientMerge.undone_at.is_(None))
        ),
        fields=_known_fields(patient),
    )  # fmt: skip


def reveal_value(work: Work, *, patient_id: str, kind: str, key: str) -> str:
    """One masked value in full, noted in audit with its field."""
    if kind not in _REVEALED:
        raise NotFoundError
    return _REVEALED[kind](work, patient_id, key)


_REVEALED: dict[str, Callable[[Work, str, str], str]] = {
    "contact": lambda work, patient, key: national_phone(
        archive.reveal_contact(work, patient_id=patient, contact_id=key)
    ),
    "identifier": lambda work, patient, key: archive.reveal_identifier(
        work, patient_id=patient, identifier_id=key
    ),
    "address": lambda work, patient, key: archive.reveal_address(work, patient_id=patient, address_id=key),
    "related": lambda work, patient, key: national_phone(
        archive.reveal_related(work, patient_id=patient, related_id=key)
    ),
}


def _live(work: Work, model: Any, patient_id: str, order: Any) -> Sequence[Any]:
    """The patient's rows of a table that were not replaced."""
    return work.scalars(
        sa.select(model)
        .where(model.patient_id == patient_id, model.ended_at.is_(None))
        .order_by(order, model.id)
    )


def _origin(row: Any) -> Origin:
    return Origin(row.as_of, row.source, row.seq)


def _contacts(work: Work, patient_id: str) -> list[MaskedValue]:
    """Numbers in the order one would dial them: verified ones first, those nobody dials after them."""
    rows = _live(work, ContactPoint, patient_id, ContactPoint.is_verified.desc())
    ordered = sorted(rows, key=lambda row: (row.system == "email", not row.is_verified, row.rank))
    values = ((row, work.keys.open_text(row.value_sealed)) for row in ordered)
    found = [
        MaskedValue(
            "contact", row.id, "邮箱" if row.system == "email" else _CONTACT_USES.get(row.use, "电话"),
            _masked_contact(row.system, value), _origin(row), row.is_verified,
            "" if row.system == "email" else why_not_dialled(value),
        )
        for row, value in values
    ]  # fmt: skip
    return sorted(found, key=lambda value: (value.label == "邮箱", bool(value.not_dialled)))


def _masked_contact(system: str, value: str) -> str:
    if system != "email":
        return mask_phone(value)
    name, _, host = value.partition("@")
    return f"{name[:1]}***@{host}"


def _relatives(work: Work, patient_id: str) -> list[Relative]:
    return [
        Relative(row.name, relation_word(row.relation), _related_phone(work, row), _origin(row))
        for row in _live(work, RelatedPerson, patient_id, RelatedPerson.rank)
    ]


def _related_phone(work: Work, row: RelatedPerson) -> MaskedValue | None:
    if row.phone_sealed is None:
        return None
    value = work.keys.open_text(row.phone_sealed)
    return MaskedValue(
        "related", row.id, "电话", mask_phone(value), _origin(row), not_dialled=why_not_dialled(value)
    )


def _next_steps(work: Work, patient_id: str) -> Sequence[sa.Row[Any]]:
    """The open instructions that are due first: `Instruction`, `assignee_name`."""
    return work.execute(
        instructions_to_show(work)
        .where(Instruction.patient_id == patient_id, IS_OPEN)
        .order_by(Instruction.due_on, Instruction.id)
        .limit(NEXT_STEPS)
    ).all()


def _count_alerts(work: Work, patient_id: str) -> int:
    return int(
        work.scalar(
            sa.select(sa.func.count())
            .select_from(Alert)
            .join(Instruction, Instruction.id == Alert.instruction_id)
            .where(Alert.patient_id == patient_id, IS_UNHANDLED, instructions_in_scope(work.actor))
        )
    )


def _known_fields(patient: Patient) -> list[KnownField]:
    """The patient's own values in the order of the list above, as far as a message told them."""
    return [
        KnownField(
            label, _field_words(getattr(patient, name)), Origin(datetime.fromisoformat(as_of), source, seq)
        )
        for name, label in FIELDS.items()
        if name in patient.provenance
        for as_of, source, seq in [patient.provenance[name]]
    ]


def _field_words(value: Any) -> str:
    if value is None:
        return "未填"
    if isinstance(value, Sex | DeceasedState):
        return value.label
    return _MARITAL.get(str(value), str(value))
