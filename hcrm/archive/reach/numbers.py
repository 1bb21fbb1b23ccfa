"""The numbers of a patient as people know them: whose each is, whether it reaches them, what was added by hand.

A message's list never erases what people added or said of a number, and what they say never hides a message's.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from hcrm.archive.death import lock_patient
from hcrm.archive.links import mothers_of
from hcrm.archive.models import ContactPoint, Patient, RelatedPerson
from hcrm.archive.queries import patient_in_scope, record_list_read
from hcrm.archive.reach.barred_numbers import ON_LIST, barred_among, stop_barred, take_off_list
from hcrm.archive.reach_models import KnownNumber, NumberState
from hcrm.archive.scope import scope_patients
from hcrm.archive.terms import BY_PEOPLE
from hcrm.archive.timeline import add_entry
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.dialling import why_not_dialled
from hcrm.core.errors import HcrmError, NotFoundError
from hcrm.core.text import clean_phone, mask_phone, relation_word
from hcrm.core.work import Work

USES = {"mobile": "手机", "home": "家庭电话", "work": "单位电话"}
OWN = "本人"
FORMER_SHOWN = 100
"""Of a patient's numbers, what was said before: the latest."""
SHARING_SHOWN = 20
"""Patients of the same number that a page names; the count says how many there are."""


def known_numbers(work: Work, patient_id: str) -> dict[str, KnownNumber]:
    """What people know of the patient's numbers, by the number's index; the latest word where a merge left two."""
    return {index: row for (_, index), row in numbers_known_of(work, [patient_id]).items()}


def numbers_known_of(work: Work, patient_ids: Sequence[str]) -> dict[tuple[str, str], KnownNumber]:
    """The same for several patients, by patient and index; one query."""
    rows = work.scalars(
        sa.select(KnownNumber)
        .where(work.among(KnownNumber.patient_id, patient_ids), KnownNumber.ended_at.is_(None))
        .order_by(KnownNumber.created_at, KnownNumber.id)
    )
    return {(row.patient_id, row.value_index): row for row in rows}


def former_numbers(work: Work, patient_id: str) -> dict[str, list[KnownNumber]]:
    """What people said of each number before, by the number's index, the latest first."""
    found: dict[str, list[KnownNumber]] = defaultdict(list)
    for row in work.scalars(
        sa.select(KnownNumber)
        .where(KnownNumber.patient_id == patient_id, KnownNumber.ended_at.is_not(None))
        .order_by(KnownNumber.created_at.desc(), KnownNumber.id.desc())
        .limit(FORMER_SHOWN)
    ):
        found[row.value_index].append(row)
    return found


def number_index(work: Work, *, patient_id: str, kind: str, key: str) -> str:
    """The index of one number of the patient: `contact` a number of their own list, `related` a relative's."""
    row: Any = work.session.get(ContactPoint if kind == "contact" else RelatedPerson, key)
    if row is None or row.patient_id != patient_id:
        raise NotFoundError
    index = row.value_index if kind == "contact" else row.phone_index
    if not index:
        raise NotFoundError
    return str(index)


def why_not_called(number: str, said: KnownNumber | None, *, is_barred: bool) -> str:
    """Why nobody calls a number, in words for the page: people ended it, a list forbids it, or it cannot be dialled."""
    if said is not None and said.state is NumberState.ENDED:
        return "已停用"
    return ON_LIST if is_barred else why_not_dialled(number)


def list_callable(work: Work, patient_id: str) -> list[tuple[str, str, str]]:
    """Numbers one may have called: `contact:KEY` or `related:KEY`, whose it is, the number masked."""
    known = known_numbers(work, patient_id)
    contacts = work.scalars(
        sa.select(ContactPoint)
        .where(
            ContactPoint.patient_id == patient_id,
            ContactPoint.system == "phone",
            ContactPoint.ended_at.is_(None),
        )
        .order_by(ContactPoint.is_verified.desc(), ContactPoint.rank, ContactPoint.id)
    )
    people = work.scalars(
        sa.select(RelatedPerson)
        .where(
            RelatedPerson.patient_id == patient_id,
            RelatedPerson.phone_sealed.is_not(None),
            RelatedPerson.ended_at.is_(None),
        )
        .order_by(RelatedPerson.rank, RelatedPerson.id)
    )
    ended = {index for index, said in known.items() if said.state is NumberState.ENDED}
    indexes = [*(row.value_index for row in contacts), *(person.phone_index for person in people)]
    refused = ended | barred_among(work, indexes).keys()
    found = [
        (
            f"contact:{row.id}",
            owner_words(known.get(row.value_index)) or OWN,
            mask_phone(work.keys.open_text(row.value_sealed)),
        )
        for row in contacts
        if row.value_index not in refused
    ]
    found += [
        (
            f"related:{person.id}",
            f"{relation_word(person.relation)} {person.name}".strip() or "联系人",
            mask_phone(work.keys.open_text(person.phone_sealed)),
        )
        for person in people
        if person.phone_index not in refused and person.phone_sealed is not None
    ]
    return found


@dataclass(frozen=True, slots=True)
class CalledNumber:
    """A number that was called for a patient."""

    patient_id: str  # whose list it stands on: the patient's, or their mother's (B45)
    kind: str  # contact, related
    key: str
    whose: str  # 女儿 李红; empty: the patient's own


def called_number(work: Work, *, patient_id: str, number: str) -> CalledNumber:
    """The number of `list_callable`, or of the patient's mother, that somebody says they called."""
    kind, _, key = number.partition(":")
    row: Any = work.session.get(ContactPoint if kind == "contact" else RelatedPerson, key)
    mothers = mothers_of(work, patient_id) if row is not None and row.patient_id != patient_id else {}
    if row is None or row.patient_id not in (patient_id, *mothers):
        raise NotFoundError
    if row.patient_id in mothers:
        return CalledNumber(row.patient_id, kind, key, f"母亲 {mothers[row.patient_id]}".strip())
    if kind == "related":
        return CalledNumber(
            patient_id, kind, key, f"{relation_word(row.relation)} {row.name}".strip() or "联系人"
        )
    said = known_numbers(work, patient_id).get(row.value_index)
    return CalledNumber(patient_id, kind, key, owner_words(said))


def owner_words(said: KnownNumber | None) -> str:
    """Whose a number is, as far as people said and it is not the patient's own."""
    words = f"{relation_word(said.relation)} {said.owner_name}".strip() if said else ""
    return "" if words == OWN else words


def describe_number(
    work: Work,
    *,
    patient_id: str,
    kind: str,
    key: str,
    state: NumberState,
    relation: str = "",
    owner_name: str = "",
    note: str = "",
    rank: int = 0,
) -> None:
    """Say whose a number is and whether it reaches them; what was said before is kept as history."""
    patient = lock_patient(work, patient_in_scope(work, patient_id, "number.describe").id)
    index = number_index(work, patient_id=patient.id, kind=kind, key=key)
    words = {
        "relation": relation.strip(),
        "owner_name": owner_name.strip(),
        "note": note.strip(),
        "rank": rank,
    }
    _put(work, patient, index, state, words)
    _tell(work, patient, f"号码{state.label}", key)


def doubt_number(work: Work, *, patient_id: str, kind: str, key: str, state: NumberState) -> None:
    """A call found the number empty or wrong: it is unverified from now on, whoever had verified it (C33)."""
    patient = lock_patient(work, patient_id)
    index = number_index(work, patient_id=patient.id, kind=kind, key=key)
    before = known_numbers(work, patient.id).get(index)
    words = (
        {name: getattr(before, name) for name in ("relation", "owner_name", "note", "rank")}
        if before
        else {"relation": "", "owner_name": "", "note": "", "rank": 0}
    )
    _put(work, patient, index, state, words)
    _tell(work, patient, f"号码记为{state.label}", key)


def add_number(
    work: Work, *, patient_id: str, number: str, use: str = "mobile", relation: str = "", owner_name: str = "",
    note: str = "",
) -> str:  # fmt: skip
    """Add a number by hand; its id. One that stands already is refused."""
    patient = lock_patient(work, patient_in_scope(work, patient_id, "number.describe").id)
    value = readable_phone(number, field="number")
    if use not in USES:
        raise HcrmError("number.use", "请从列出的选项中选择", field="use")
    index = work.keys.blind("phone", value)
    standing = work.scalars(
        sa.select(ContactPoint).where(ContactPoint.patient_id == patient.id, ContactPoint.ended_at.is_(None))
    )
    if any(row.value_index == index for row in standing):
        raise HcrmError("number.known", "这个号码已经登记", field="number")
    own = [row for row in standing if row.source == BY_PEOPLE]
    if len(own) >= limits.MAX_CONTACT_POINTS:
        raise HcrmError(
            "number.many", f"人工登记的号码最多 {limits.MAX_CONTACT_POINTS} 个，请先停用一个", field="number"
        )
    now, key = work.clock.now(), work.new_id()
    work.add(
        ContactPoint(
            id=key, patient_id=patient.id, system="phone", use=use, rank=len(own) + 1,
            value_sealed=work.keys.seal_text(value), value_index=index,
            last4_index=work.keys.blind("phone4", value[-4:]), is_verified=False,
            source=BY_PEOPLE, as_of=now, seq=0, ended_at=None,
        )
    )  # fmt: skip
    words = {"relation": relation.strip(), "owner_name": owner_name.strip(), "note": note.strip(), "rank": 0}
    _put(work, patient, index, NumberState.UNVERIFIED, words)
    _tell(work, patient, "人工登记了一个号码", key)
    stop_barred(work, [patient.id])
    return key


def readable_phone(text: str, *, field: str) -> str:
    """A number somebody typed, as it is kept; refused at its field where it is none."""
    value = clean_phone(text)
    if not 5 <= len(value) <= 20:
        raise HcrmError("number.unreadable", "请填写电话号码，例如 13800138000、0571-87654321", field=field)
    return value


def end_number(work: Work, *, patient_id: str, kind: str, key: str, reason: str) -> None:
    """Say that a number is no longer used. One that messages tell stays to be seen, and is not dialled."""
    if not reason.strip():
        raise HcrmError("number.reason", "请填写原因", field="note")
    patient = lock_patient(work, patient_in_scope(work, patient_id, "number.describe").id)
    index = number_index(work, patient_id=patient.id, kind=kind, key=key)
    before = known_numbers(work, patient.id).get(index)
    words = {
        "relation": before.relation if before else "", "owner_name": before.owner_name if before else "",
        "note": reason.strip(), "rank": 0,
    }  # fmt: skip
    _put(work, patient, index, NumberState.ENDED, words)
    row = work.session.get(ContactPoint, key) if kind == "contact" else None
    if row is not None and row.source == BY_PEOPLE:
        row.ended_at = work.clock.now()
        work.session.flush()
    _tell(work, patient, f"停用了一个号码：{reason.strip()}", key)


def free_number(work: Work, *, patient_id: str, kind: str, key: str, reason: str) -> None:
    """Take a number off the list of those nobody may call, for everybody who has it; contact stays as it is."""
    patient = patient_in_scope(work, patient_id, "number.free")
    index = number_index(work, patient_id=patient.id, kind=kind, key=key)
    take_off_list(work, patient_id=patient.id, index=index, reason=reason)


def count_sharing(work: Work, patient_id: str, indexes: Sequence[str]) -> dict[str, int]:
    """How many other patients in the actor's scope have the same number; those nobody shares are absent."""
    statement: Any = (
        sa.select(
            ContactPoint.value_index, sa.func.count(sa.distinct(ContactPoint.patient_id)).label("number")
        )
        .join(Patient, Patient.id == ContactPoint.patient_id)
        .where(_others(patient_id, indexes))
        .group_by(ContactPoint.value_index)
    )
    return {row.value_index: row.number for row in work.execute(scope_patients(statement, work.actor))}


def list_sharing(work: Work, patient_id: str, index: str) -> Sequence[sa.Row[Any]]:
    """Other patients in scope with that number: `id`, `name`, `sex`, `birth_date`. It merges nobody."""
    statement: Any = (
        sa.select(Patient.id, Patient.name, Patient.sex, Patient.birth_date)
        .join(ContactPoint, ContactPoint.patient_id == Patient.id)
        .where(_others(patient_id, [index]))
        .distinct()
        .order_by(Patient.id)
        .limit(SHARING_SHOWN)
    )
    rows = work.execute(scope_patients(statement, work.actor)).all()
    record_list_read(work, "number.sharing", [row.id for row in rows])
    return rows


def _others(patient_id: str, indexes: Sequence[str]) -> sa.ColumnElement[bool]:
    return sa.and_(
        ContactPoint.value_index.in_(sorted(set(indexes))),
        ContactPoint.patient_id != patient_id,
        ContactPoint.ended_at.is_(None),
        Patient.merged_into_id.is_(None),
    )


def _put(work: Work, patient: Patient, index: str, state: NumberState, words: dict[str, Any]) -> None:
    """What stands from now on; a verified number no message erases, any other one may."""
    now = work.clock.now()
    for row in work.scalars(
        sa.select(KnownNumber).where(
            KnownNumber.patient_id == patient.id,
            KnownNumber.value_index == index,
            KnownNumber.ended_at.is_(None),
        )
    ):
        row.ended_at = now
    work.add(
        KnownNumber(
            id=work.new_id(), patient_id=patient.id, value_index=index, state=state, state_at=now,
            state_by=work.actor.name, created_at=now, actor_id=work.actor.id, actor_name=work.actor.name,
            ended_at=None, **words,
        )
    )  # fmt: skip
    for contact in work.scalars(
        sa.select(ContactPoint).where(
            ContactPoint.patient_id == patient.id,
            ContactPoint.value_index == index,
            ContactPoint.ended_at.is_(None),
        )
    ):
        contact.is_verified = state is NumberState.VERIFIED
    work.session.flush()


def _tell(work: Work, patient: Patient, title: str, key: str) -> None:
    add_entry(
        work, patient_id=patient.id, happened_at=work.clock.now(), kind="reach", title=title,
        subject_type="contact_point", subject_id=key,
    )  # fmt: skip
    record_audit(
        work, action="number.describe", patients=[patient.id], subject_type="contact_point", subject_id=key
    )
