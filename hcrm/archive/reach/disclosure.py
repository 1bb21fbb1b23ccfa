"""Whether a patient knows their illness, and whom to speak with where the family asks for silence (知情标记)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from hcrm.archive.death import lock_patient
from hcrm.archive.models import RelatedPerson
from hcrm.archive.queries import patient_in_scope
from hcrm.archive.reach_models import Disclosure, DisclosureState
from hcrm.archive.timeline import add_entry
from hcrm.audit.service import record_audit
from hcrm.core.errors import HcrmError, NotFoundError
from hcrm.core.text import relation_word
from hcrm.core.work import Work


@dataclass(frozen=True, slots=True)
class DisclosureMark:
    """What whoever speaks with the patient must know first."""

    state: DisclosureState = DisclosureState.UNKNOWN
    contact: str = ""  # 女儿 李红
    note: str = ""

    @property
    def is_confidential(self) -> bool:
        """Whether nothing the patient hears or reads may name the illness."""
        return self.state is DisclosureState.CONFIDENTIAL


UNKNOWN = DisclosureMark()


def disclosure_of(work: Work, patient_ids: Collection[str]) -> dict[str, DisclosureMark]:
    """The mark of each patient, of those without one 未知; one query. Several that stand (a merge): silence wins."""
    rows = work.scalars(
        sa.select(Disclosure)
        .where(work.among(Disclosure.patient_id, patient_ids), Disclosure.ended_at.is_(None))
        .order_by(Disclosure.created_at, Disclosure.id)
    )
    found = dict.fromkeys(patient_ids, UNKNOWN)
    for row in rows:
        if not found[row.patient_id].is_confidential or row.state is DisclosureState.CONFIDENTIAL:
            words = f"{relation_word(row.contact_relation)} {row.contact_name}".strip()
            found[row.patient_id] = DisclosureMark(row.state, words, row.note)
    return found


def set_disclosure(
    work: Work,
    *,
    patient_id: str,
    state: DisclosureState,
    related_id: str | None = None,
    contact_name: str = "",
    contact_relation: str = "",
    note: str = "",
) -> str:
    """Say what the patient knows, and whom to speak with; the patient's id.

    The contact is a relative of the list (`related_id`) or named here. Silence without one is refused: somebody
    must be there to be spoken with.
    """
    patient = lock_patient(work, patient_in_scope(work, patient_id, "disclosure.set").id)
    name, relation = contact_name.strip(), contact_relation.strip()
    if related_id:
        person = work.session.get(RelatedPerson, related_id)
        if person is None or person.patient_id != patient.id:
            raise NotFoundError
        name, relation = person.name, person.relation
    if state is DisclosureState.CONFIDENTIAL and not name:
        raise HcrmError("disclosure.contact", "请选择或填写可以沟通病情的家属", field="contact_name")
    now = work.clock.now()
    standing = list_disclosures(work, patient.id, only_live=True)
    values = (state, name, relation, note.strip())
    if len(standing) == 1 and values == _said(standing[0]):
        return str(patient.id)
    for row in standing:
        row.ended_at = now
    key = work.new_id()
    work.add(
        Disclosure(
            id=key, patient_id=patient.id, state=state, contact_name=name, contact_relation=relation,
            related_id=related_id or None, note=note.strip(), created_at=now, actor_id=work.actor.id,
            actor_name=work.actor.name, ended_at=None,
        )
    )  # fmt: skip
    add_entry(
        work, patient_id=patient.id, happened_at=now, kind="reach", title=f"知情标记：{state.label}",
        subject_type="disclosure", subject_id=key,
    )  # fmt: skip
    record_audit(
        work, action="disclosure.set", patients=[patient.id], subject_type="disclosure", subject_id=key
    )
    return str(patient.id)


def list_disclosures(work: Work, patient_id: str, *, only_live: bool = False) -> Sequence[Disclosure]:
    """Every mark there was; the latest first."""
    statement = sa.select(Disclosure).where(Disclosure.patient_id == patient_id)
    if only_live:
        statement = statement.where(Disclosure.ended_at.is_(None))
    return work.scalars(statement.order_by(Disclosure.created_at.desc(), Disclosure.id.desc()))


def _said(row: Disclosure) -> tuple[object, ...]:
    return row.state, row.contact_name, row.contact_relation, row.note
