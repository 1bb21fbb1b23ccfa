"""How to reach a patient, beside every tab: numbers in the order one would dial them, addresses, relatives.

Nothing here asks who may see the patient: the view came through `archive.queries.get_patient`. Phones and addresses
leave masked; `reveal_value` gives one of them in full.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from hcrm.archive import queries as archive
from hcrm.archive.death import standing_reports
from hcrm.archive.models import Address, ContactPoint, Patient, RelatedPerson
from hcrm.archive.reach.barred_numbers import barred_among
from hcrm.archive.reach.contact_stop import live_stops
from hcrm.archive.reach.disclosure import DisclosureMark, disclosure_of
from hcrm.archive.reach.numbers import count_sharing, known_numbers, why_not_called
from hcrm.archive.reach.preference import Preference, preferences_of
from hcrm.archive.reach_models import ContactStop, DeathReport, KnownNumber, NumberState
from hcrm.core.errors import NotFoundError
from hcrm.core.text import mask_phone, national_phone, relation_word
from hcrm.core.work import Work
from hcrm.desk.masked import MaskedValue, Origin, live_rows, origin_of
from hcrm.directory.queries import region_names

_CONTACT_USES = {"mobile": "手机", "home": "家庭电话", "work": "单位电话"}
_ADDRESS_USES = {"home": "住址", "registered": "户籍地址", "work": "单位地址", "birth": "出生地"}


@dataclass(frozen=True, slots=True)
class Relative:
    """A relative or other contact."""

    id: str
    name: str
    relation: str
    phone: MaskedValue | None
    origin: Origin


@dataclass(frozen=True, slots=True)
class Reach:
    """What the panels 联系方式 and 联系人 show."""

    contacts: Sequence[MaskedValue]
    addresses: Sequence[MaskedValue]
    relatives: Sequence[Relative]
    disclosure: DisclosureMark
    preference: Preference
    stops: Sequence[ContactStop]
    deaths: Sequence[DeathReport]


def load_reach(work: Work, patient: Patient) -> Reach:
    """Every way to the patient: one query a table."""
    known = known_numbers(work, patient.id)
    return Reach(
        contacts=_contacts(work, patient.id, known),
        addresses=_addresses(work, patient.id),
        relatives=_relatives(work, patient.id, known),
        disclosure=disclosure_of(work, [patient.id])[patient.id],
        preference=preferences_of(work, [patient.id])[patient.id],
        stops=live_stops(work, patient.id),
        deaths=standing_reports(work, [patient.id]),
    )


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


def _contacts(work: Work, patient_id: str, known: Mapping[str, KnownNumber]) -> list[MaskedValue]:
    """Numbers in the order one would dial them: verified ones first, those nobody dials after them."""
    rows = live_rows(work, ContactPoint, patient_id, ContactPoint.is_verified.desc())
    ordered = sorted(rows, key=lambda row: (row.system == "email", not row.is_verified, row.rank))
    values = ((row, work.keys.open_text(row.value_sealed)) for row in ordered)
    shared = count_sharing(work, patient_id, [row.value_index for row in ordered]) if ordered else {}
    barred = barred_among(work, (row.value_index for row in ordered))
    found = [
        MaskedValue(
            "contact", row.id, "邮箱" if row.system == "email" else _CONTACT_USES.get(row.use, "电话"),
            _masked_contact(row.system, value), origin_of(row), row.is_verified,
            "" if row.system == "email"
            else why_not_called(value, known.get(row.value_index), is_barred=row.value_index in barred),
            known.get(row.value_index), shared.get(row.value_index, 0), row.value_index,
            is_barred=row.value_index in barred,
        )
        for row, value in values
    ]  # fmt: skip
    return sorted(found, key=_dial_order)


def _dial_order(value: MaskedValue) -> tuple[bool, bool, bool, int]:
    """What reaches nobody last; then by the order people gave."""
    is_doubted = value.state in (NumberState.INVALID.value, NumberState.WRONG.value)
    return (value.label == "邮箱", bool(value.not_dialled), is_doubted, value.rank or 100)


def _addresses(work: Work, patient_id: str) -> list[MaskedValue]:
    rows = live_rows(work, Address, patient_id, Address.rank)
    regions = region_names(work, {row.region_code for row in rows})
    return [
        MaskedValue(
            "address", row.id, _ADDRESS_USES.get(row.use, "地址"),
            f"{regions.get(row.region_code, '')}****", origin_of(row),
        )
        for row in rows
    ]  # fmt: skip


def _masked_contact(system: str, value: str) -> str:
    if system != "email":
        return mask_phone(value)
    name, _, host = value.partition("@")
    return f"{name[:1]}***@{host}"


def _relatives(work: Work, patient_id: str, known: Mapping[str, KnownNumber]) -> list[Relative]:
    rows = live_rows(work, RelatedPerson, patient_id, RelatedPerson.rank)
    barred = barred_among(work, (row.phone_index for row in rows)).keys()
    return [
        Relative(
            row.id, row.name, relation_word(row.relation), _related_phone(work, row, known, barred), origin_of(row)
        )
        for row in rows
    ]  # fmt: skip


def _related_phone(
    work: Work, row: RelatedPerson, known: Mapping[str, KnownNumber], barred: Collection[str]
) -> MaskedValue | None:
    if row.phone_sealed is None:
        return None
    value, said = work.keys.open_text(row.phone_sealed), known.get(row.phone_index or "")
    is_barred = row.phone_index in barred
    return MaskedValue(
        "related", row.id, f"{relation_word(row.relation)} {row.name}".strip() or "电话", mask_phone(value),
        origin_of(row), not_dialled=why_not_called(value, said, is_barred=is_barred), known=said,
        index=row.phone_index or "", is_barred=is_barred,
    )  # fmt: skip
