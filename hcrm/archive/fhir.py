"""Patients as FHIR R4B: how they are found, and what a machine client gets of them.

Machine clients see phone numbers, ID numbers and addresses in full; the scope `fhir.read` says so, and audit notes
every patient shown.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

import sqlalchemy as sa

from hcrm.api.elements import ABSENT_UNKNOWN, Json, coding, compact, concept, moment, reference, stamp
from hcrm.api.search import (
    Condition,
    Found,
    ResourceType,
    SearchParameter,
    compare,
    read_dates,
    read_id,
    read_number,
    read_reference,
    read_token,
    refused,
    unescape,
    updated_parameter,
)
from hcrm.archive.models import (
    Address,
    ContactPoint,
    DeceasedState,
    IdentifierKind,
    Patient,
    PatientIdentifier,
    RelatedPerson,
)
from hcrm.archive.queries import surviving_patient
from hcrm.archive.scope import scope_patients
from hcrm.core.crypto import KeyRing
from hcrm.core.sources import Sources, identifier_system
from hcrm.core.text import clean_id_number, clean_phone, is_han, national_phone
from hcrm.core.work import Work

CITIZEN_SYSTEM = "urn:oid:2.16.156.10011.1.3"
"""Citizen ID numbers (居民身份证号)."""
REGION = "urn:hcrm:region"
"""Extension of an address: the six-digit code of GB/T 2260."""
ADDRESS_KIND = "urn:hcrm:address-kind"
"""Extension of an address whose use FHIR has no word for: registered (户籍), birth."""
_OUR_IDS = identifier_system("")
_IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
_STANDARD_TYPES = frozenset(
    {"MR", "PI", "PT", "PN", "NI", "PPN", "DL", "SS", "HC", "MC", "JHN", "AN", "VN", "XX"}
)
_ADDRESS_USE = frozenset({"home", "work"})
_COLUMNS = [column for column in Patient.__table__.columns if column.name != "provenance"]  # never shown
_TELECOM_USE = frozenset({"home", "work", "mobile"})


class Systems:
    """FHIR systems of assigning authorities: what the sources' files name, else `urn:hcrm:id:{authority}`."""

    def __init__(self, sources: Sources) -> None:
        self._by_code = {**sources.by_code, sources.default.code: sources.default}

    def of(self, source: str, authority: str) -> str:
        """The system of a record number by where it came from."""
        return identifier_system(authority, self._by_code.get(source))

    def condition(self, system: str) -> Condition:
        """Record numbers of that system."""
        reasons: list[Condition] = []
        for source in self._by_code.values():
            named = [authority for authority, uri in source.authority_uris.items() if uri == system]
            reasons += [
                sa.and_(PatientIdentifier.source == source.code, PatientIdentifier.authority == authority)
                for authority in named
            ]
        if system.startswith(_OUR_IDS):
            authority = unquote(system.removeprefix(_OUR_IDS))
            renamed = [source.code for source in self._by_code.values() if authority in source.authority_uris]
            reasons.append(
                sa.and_(PatientIdentifier.authority == authority, PatientIdentifier.source.not_in(renamed))
            )
        return sa.or_(sa.false(), *reasons)


# ── the type ────────────────────────────────────────────────────────────────


class PatientType(ResourceType):
    """Patients: living archives only, a merged one is found in its survivor."""

    name = "Patient"
    subject_type = "patient"

    def __init__(self, systems: Systems) -> None:
        self._systems = systems
        parameters = (
            SearchParameter("_id", "token", "资源编号；已合并的编号找到保留档案", _by_id, narrows=True),
            updated_parameter(Patient.id, Patient.updated_at),
            SearchParameter(
                "identifier", "token", "病历号或身份证号：system|value 或 value，含合并后停用的号",
                self._by_identifier, narrows=True,
            ),
            SearchParameter("name", "string", "姓名或全拼的开头", _by_name),
            SearchParameter("birthdate", "date", "出生日期", _by_birth_date),
            SearchParameter("phone", "token", "完整的电话号码", _by_phone, narrows=True),
        )  # fmt: skip
        super().__init__(Patient.id, parameters)

    def rows(self, work: Work) -> sa.Select[Any]:
        """Patients in scope that are neither merged nor nullified."""
        statement = sa.select(*_COLUMNS)
        statement = statement.where(Patient.merged_into_id.is_(None), ~Patient.is_nullified)
        return scope_patients(statement, work.actor)

    def load(self, work: Work, rows: Sequence[sa.RowMapping]) -> list[Found]:
        """The patients with their numbers, contacts, addresses, relatives and what was merged into them."""
        ids = [row["id"] for row in rows]
        identifiers = _live(work, PatientIdentifier, ids, PatientIdentifier.id)
        contacts = _live(work, ContactPoint, ids, ContactPoint.rank, ContactPoint.id)
        addresses = _live(work, Address, ids, Address.rank, Address.id)
        related = _live(work, RelatedPerson, ids, RelatedPerson.rank, RelatedPerson.id)
        merged = _merged_into(work, ids)
        return [
            Found(
                patient_resource(
                    row, identifiers=identifiers[row["id"]], contacts=contacts[row["id"]],
                    addresses=addresses[row["id"]], related=related[row["id"]], merged=merged[row["id"]],
                    systems=self._systems, keys=work.keys,
                ),
                row["id"],
                row["updated_at"],
            )
            for row in rows
        ]  # fmt: skip

    def read(self, work: Work, key: str) -> Found:
        """The patient of that id; a merged id answers the survivor's data."""
        merged = work.execute(
            sa.select(Patient.__table__).where(Patient.id == key, Patient.merged_into_id.is_not(None))
        ).mappings().one_or_none()  # fmt: skip
        if merged is None:
            return super().read(work, key)
        return replaced_patient(super().read(work, surviving_patient(work, key).id), merged)

    def was_deleted(self, work: Work, key: str) -> bool:
        """Nullified archives."""
        return work.scalar(sa.select(Patient.id).where(Patient.id == key, Patient.is_nullified)) is not None

    def _by_identifier(self, work: Work, text: str) -> Condition:
        token = read_number(text)
        reasons: list[Condition] = []
        if token.fits(CITIZEN_SYSTEM):
            index = work.keys.blind("id", clean_id_number(token.code))
            reasons.append(PatientIdentifier.value_index == index)
        if token.system != CITIZEN_SYSTEM:
            system = [] if token.system is None else [self._systems.condition(token.system)]
            reasons.append(sa.and_(PatientIdentifier.value == token.code, *system))
        return Patient.id.in_(
            sa.select(PatientIdentifier.patient_id).where(
                PatientIdentifier.ended_at.is_(None), sa.or_(*reasons)
            )
        )


def of_patient(column: Any) -> Callable[[Work, str], Condition]:
    """Reads a reference to a patient into a condition on another table's column; a merged id means its survivor."""

    def read(_work: Work, text: str) -> Condition:
        key = read_reference(text, "Patient")
        return sa.false() if key is None else column.in_(_with_survivor(key))

    return read


def _with_survivor(key: str) -> sa.Select[Any]:
    return sa.select(sa.func.coalesce(Patient.merged_into_id, Patient.id)).where(Patient.id == key)


def _by_id(_work: Work, text: str) -> Condition:
    return Patient.id.in_(_with_survivor(read_id(text)))


def _by_name(_work: Work, text: str) -> Condition:
    words = "".join(unescape(text).split())
    if not words:
        raise refused("姓名不能为空白")
    if is_han(words):
        return Patient.name.startswith(words, autoescape=True)
    return Patient.name_pinyin.startswith(words.lower(), autoescape=True)


def _by_birth_date(_work: Work, text: str) -> Condition:
    dates = read_dates(text)
    return compare(Patient.birth_date, dates.prefix, *dates.days)


def _by_phone(work: Work, text: str) -> Condition:
    token = read_token(text)
    number = clean_phone(token.code)
    if not number:
        raise refused("phone 应为完整的电话号码")
    where = [ContactPoint.value_index == work.keys.blind("phone", number), ContactPoint.ended_at.is_(None)]
    if token.system:
        where.append(ContactPoint.use == token.system)
    return Patient.id.in_(sa.select(ContactPoint.patient_id).where(*where))


def _live(work: Work, model: Any, ids: Sequence[str], *order: Any) -> dict[str, list[sa.RowMapping]]:
    """Rows that stand today, by patient."""
    table = model.__table__
    found: dict[str, list[sa.RowMapping]] = defaultdict(list)
    statement = sa.select(table).where(table.c.patient_id.in_(ids), table.c.ended_at.is_(None))
    for row in work.execute(statement.order_by(*order)).mappings():
        found[row["patient_id"]].append(row)
    return found


def _merged_into(work: Work, ids: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    statement = sa.select(Patient.merged_into_id, Patient.id).where(Patient.merged_into_id.in_(ids))
    for row in work.execute(statement.order_by(Patient.id)):
        found[row.merged_into_id or ""].append(row.id)
    return found


# ── the resource ────────────────────────────────────────────────────────────


def patient_resource(
    row: sa.RowMapping,
    *,
    identifiers: Sequence[sa.RowMapping],
    contacts: Sequence[sa.RowMapping],
    addresses: Sequence[sa.RowMapping],
    related: Sequence[sa.RowMapping],
    merged: Sequence[str],
    systems: Systems,
    keys: KeyRing,
) -> Json:
    """FHIR Patient."""
    resource = compact(
        {
            "resourceType": "Patient",
            "id": row["id"],
            "identifier": [_identifier(item, systems, keys) for item in identifiers],
            "active": not row["is_nullified"],
            "name": [{"use": "official", "text": row["name"]}] if row["name"] else None,
            "telecom": [_telecom(item, rank, keys) for rank, item in enumerate(contacts, start=1)],
            "gender": row["sex"].value,
            "birthDate": row["birth_date"].isoformat() if row["birth_date"] else None,
            **_deceased(row),
            "address": [_address(item, keys) for item in addresses],
            "maritalStatus": concept(text=row["marital_status"]),
            "contact": [_contact(item, keys) for item in related],
            "link": [{"other": reference("Patient", key), "type": "replaces"} for key in merged],
        }
    )
    return stamp(resource, row["updated_at"])


def replaced_patient(survivor: Found, merged: sa.RowMapping) -> Found:
    """What reading a merged id answers: the survivor's data under that id, with the link to the survivor.

    The id is the one asked for (R4B, RESTful API, read); the archive under it is no longer in use.
    """
    data = {name: value for name, value in survivor.resource.items() if name not in ("id", "meta", "link")}
    link = {"other": reference("Patient", survivor.patient_id), "type": "replaced-by"}
    resource = {**data, "id": merged["id"], "active": False, "link": [link]}
    updated_at = max(survivor.updated_at, merged["updated_at"])
    return Found(stamp(resource, updated_at), survivor.patient_id, updated_at)


def _identifier(row: sa.RowMapping, systems: Systems, keys: KeyRing) -> Json:
    kind = row["type"]
    types = [coding(_IDENTIFIER_TYPE, kind)] if kind in _STANDARD_TYPES else []
    is_citizen = row["kind"] is IdentifierKind.CITIZEN
    use = "old" if row["retired_at"] else "official" if is_citizen else "usual"
    value = row["value"] if row["value_sealed"] is None else keys.open_text(row["value_sealed"])
    system = CITIZEN_SYSTEM if is_citizen else systems.of(row["source"], row["authority"])
    return compact({"use": use, "type": concept(*types, text=kind), "system": system, "value": value})


def _telecom(row: sa.RowMapping, rank: int, keys: KeyRing) -> Json:
    value = keys.open_text(row["value_sealed"])
    return compact(
        {
            "system": row["system"],
            "value": national_phone(value) if row["system"] == "phone" else value,
            "use": row["use"] if row["use"] in _TELECOM_USE else None,
            "rank": rank,
        }
    )


def _address(row: sa.RowMapping, keys: KeyRing) -> Json:
    use, region = row["use"], row["region_code"]
    extensions = [
        {"url": REGION, "valueCode": region} if region else None,
        {"url": ADDRESS_KIND, "valueCode": use} if use not in _ADDRESS_USE else None,
    ]
    return compact(
        {
            "extension": [each for each in extensions if each],
            "use": use if use in _ADDRESS_USE else None,
            "text": keys.open_text(row["text_sealed"]),
        }
    )


def _contact(row: sa.RowMapping, keys: KeyRing) -> Json:
    phone = national_phone(keys.open_text(row["phone_sealed"])) if row["phone_sealed"] else None
    return compact(
        {
            "relationship": [concept(text=row["relation"])] if row["relation"] else None,
            "name": {"text": row["name"]} if row["name"] else None,
            "telecom": [{"system": "phone", "value": phone}] if phone else None,
        }
    )


def _deceased(row: sa.RowMapping) -> Json:
    """Said only where it was told; nobody was told that a patient is alive."""
    if row["deceased"] is DeceasedState.DISPUTED:
        return {"_deceasedBoolean": ABSENT_UNKNOWN}  # two archives or two messages disagree (B26, B37)
    if row["deceased"] is DeceasedState.DECEASED:
        at = moment(row["deceased_at"])
        return {"deceasedDateTime": at} if at else {"deceasedBoolean": True}
    return {}
