"""Relatives and addresses people enter beside the lists of messages: added, put right, ended, taken back.

Nothing is overwritten: what is put right ends, and the new row names it. A message's list neither ends these rows nor
is hidden by them; an address entered here counts first where one region of a patient is wanted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from hcrm.archive.death import lock_patient
from hcrm.archive.events import PatientsTouched
from hcrm.archive.models import Address, Patient, RelatedPerson
from hcrm.archive.queries import patient_in_scope
from hcrm.archive.reach.numbers import readable_phone
from hcrm.archive.terms import BY_PEOPLE, Informant
from hcrm.archive.timeline import add_entry
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.errors import ConflictError, HcrmError, NotFoundError
from hcrm.core.work import Work

ADDRESS_USES = {"home": "住址", "registered": "户籍地址", "work": "单位地址"}
KINDS: dict[str, tuple[Any, str]] = {"related": (RelatedPerson, "联系人"), "address": (Address, "地址")}
"""Tables by the word of `reveal_value`, and what a row is called."""
_FIRST = 0
"""Before whatever a message ranks."""
_CHANGED = "这一条刚改过，请核对后再改"


def put_relative(
    work: Work, *, patient_id: str, name: str, informant: Informant, relation: str = "", phone: str = "",
    replaces_id: str | None = None,
) -> str:  # fmt: skip
    """Enter a relative or other contact, in the place of one entered before where `replaces_id` names it; its key."""
    patient = _locked(work, patient_id)
    if not name.strip():
        raise HcrmError("related.name", "请填写姓名", field="name")
    number = readable_phone(phone, field="phone") if phone.strip() else ""
    keys = work.keys
    return _put(
        work, patient, "related", informant, replaces_id, name=name.strip(), relation=relation.strip(),
        phone_sealed=keys.seal_text(number) if number else None,
        phone_index=keys.blind("phone", number) if number else None,
        phone_last4_index=keys.blind("phone4", number[-4:]) if number else None,
    )  # fmt: skip


def put_address(
    work: Work, *, patient_id: str, use: str, informant: Informant, text: str = "", region_code: str | None = None,
    replaces_id: str | None = None,
) -> str:  # fmt: skip
    """Enter an address, in the place of one entered before where `replaces_id` names it; its key."""
    patient = _locked(work, patient_id)
    if use not in ADDRESS_USES:
        raise HcrmError("address.use", "请从列出的选项中选择", field="use")
    if not text.strip():
        raise HcrmError("address.text", "请填写详细地址", field="text")
    return _put(
        work, patient, "address", informant, replaces_id, use=use, region_code=region_code or None,
        text_sealed=work.keys.seal_text(text.strip()),
    )  # fmt: skip


def end_entry(work: Work, *, patient_id: str, kind: str, key: str) -> None:
    """It was entered here and is not so; it stays in the history. What a message told only its sender ends."""
    patient = _locked(work, patient_id)
    row = own_entry(work, patient, kind, key)
    if row.ended_at is None:
        _end(work, row)
        _tell(work, patient, kind, "停用", key)


def undo_entry(work: Work, *, patient_id: str, kind: str, key: str) -> None:
    """Take the entering back, once: it ends, and what it replaced stands again."""
    patient = _locked(work, patient_id)
    row = own_entry(work, patient, kind, key)
    if row.ended_at is not None:
        raise ConflictError("entry.changed", _CHANGED)
    _end(work, row)
    before = _replaced(work, row)
    if before is not None:
        before.ended_at = before.ended_by_name = None
    work.session.flush()
    _tell(work, patient, kind, "撤销登记", key)


def undo_end(work: Work, *, patient_id: str, kind: str, key: str) -> None:
    """Take the ending back, once: it stands again, unless another stands in its place since."""
    patient = _locked(work, patient_id)
    row = own_entry(work, patient, kind, key)
    model = KINDS[kind][0]
    before = _replaced(work, row)
    is_replaced = sa.exists().where(model.replaces_id == row.id, model.ended_at.is_(None))
    if (
        row.ended_at is None
        or (before is not None and before.ended_at is None)
        or work.scalar(sa.select(is_replaced))
    ):
        raise ConflictError("entry.changed", _CHANGED)
    row.ended_at = row.ended_by_name = None
    work.session.flush()
    _tell(work, patient, kind, "撤销停用", key)


def own_entry(work: Work, patient: Patient, kind: str, key: str) -> Any:
    """That row of that patient, entered by people."""
    if kind not in KINDS:
        raise NotFoundError
    row: Any = work.session.get(KINDS[kind][0], key, populate_existing=True)
    if row is None or row.patient_id != patient.id or row.source != BY_PEOPLE or row.informant is None:
        raise NotFoundError
    return row


def _replaced(work: Work, row: Any) -> Any:
    """What the row stands in the place of; None where it is no longer this patient's."""
    before = work.session.get(type(row), row.replaces_id, populate_existing=True) if row.replaces_id else None
    return before if before is not None and before.patient_id == row.patient_id else None


def _put(
    work: Work, patient: Patient, kind: str, informant: Informant, replaces_id: str | None, **values: Any
) -> str:
    model, word = KINDS[kind]
    if replaces_id is not None:
        before = own_entry(work, patient, kind, replaces_id)
        if before.ended_at is not None:
            raise ConflictError("entry.changed", _CHANGED)
        _end(work, before)
    standing = _standing(work, patient, model)
    if len(standing) >= limits.ENTERED_PEOPLE:
        raise HcrmError("entry.many", f"人工登记的{word}最多 {limits.ENTERED_PEOPLE} 条，请先停用一条")
    if any(_says_the_same(work, row, values) for row in standing):
        raise ConflictError("entry.known", f"同样的{word}已经登记")
    key = work.new_id()
    work.add(
        model(
            id=key, patient_id=patient.id, rank=_FIRST, source=BY_PEOPLE, as_of=work.clock.now(), seq=0, ended_at=None,
            informant=informant, actor_name=work.actor.name, ended_by_name=None, replaces_id=replaces_id, **values,
        )
    )  # fmt: skip
    _tell(work, patient, kind, "更正" if replaces_id else "登记", key)
    return key


def _standing(work: Work, patient: Patient, model: Any) -> Sequence[Any]:
    return work.all(
        model, model.patient_id == patient.id, model.source == BY_PEOPLE, model.ended_at.is_(None)
    )


def _says_the_same(work: Work, row: Any, values: Mapping[str, Any]) -> bool:
    """Sealed values are compared opened: nothing is sealed alike twice."""
    opened = {
        name: work.keys.open_text(value)
        for name, value in values.items()
        if name.endswith("_sealed") and value
    }
    return all(
        (work.keys.open_text(getattr(row, name)) if getattr(row, name) else None) == opened.get(name)
        if name.endswith("_sealed")
        else getattr(row, name) == value
        for name, value in values.items()
    )


def _end(work: Work, row: Any) -> None:
    row.ended_at, row.ended_by_name = work.clock.now(), work.actor.name
    work.session.flush()


def _tell(work: Work, patient: Patient, kind: str, act: str, key: str) -> None:
    add_entry(
        work, patient_id=patient.id, happened_at=work.clock.now(), kind="reach", title=f"{act}{KINDS[kind][1]}",
        subject_type="related_person" if kind == "related" else "address", subject_id=key,
    )  # fmt: skip
    record_audit(
        work, action="reach.entry", patients=[patient.id],
        subject_type="related_person" if kind == "related" else "address", subject_id=key,
    )  # fmt: skip
    work.emit(PatientsTouched(patient_ids=[patient.id]))


def _locked(work: Work, patient_id: str) -> Patient:
    return lock_patient(work, patient_in_scope(work, patient_id, "reach.entry").id)
