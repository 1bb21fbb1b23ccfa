"""What the station's pages show around an instruction. Callers came through the instruction's door."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from followup.alerts import count_open
from followup.models import Alert, Review
from hcrm.archive.links import mothers_of
from hcrm.archive.models import Allergy, ContactPoint, RelatedPerson
from hcrm.archive.reach.barred_numbers import barred_among
from hcrm.archive.reach.numbers import known_numbers, numbers_known_of, why_not_called
from hcrm.archive.reach_models import KnownNumber, NumberState
from hcrm.archive.visit_models import Diagnosis, Procedure
from hcrm.centre.models import Instruction
from hcrm.centre.queries import get_instruction
from hcrm.centre.scope import instruction_opens
from hcrm.core.actor import Actor
from hcrm.core.errors import NotFoundError
from hcrm.core.text import mask_phone, relation_word
from hcrm.core.work import Work
from hcrm.forms.models import Response, ResponseState

_USES = {"mobile": "手机", "home": "住宅", "work": "单位"}


@dataclass(frozen=True, slots=True)
class Phone:
    """A number to call, masked. `kind` says where it is revealed: contact or related."""

    id: str
    kind: str
    whose: str
    masked: str
    not_dialled: str  # why, of a number nobody calls from here
    doubt: str = ""  # what an earlier call found: 空号, 错号


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What a caller must know of the stay and the patient."""

    diagnoses: Sequence[Diagnosis]
    procedures: Sequence[Procedure]
    allergies: Sequence[Allergy]
    phones: Sequence[Phone]


def has_own_list(actor: Actor) -> bool:
    """Whether lists open on the actor's own rows: a physician's do, those of whoever hands out work do not."""
    return actor.practitioner_id is not None and not actor.may("instruction.reassign")


def count_waiting_alerts(work: Work) -> int:
    """The number beside the bell."""
    return count_open(work, mine=has_own_list(work.actor))


def load_facts(work: Work, instruction: Instruction) -> CallFacts:
    """Diagnoses and operations of the stay, allergies, numbers to call."""
    stay, patient = instruction.encounter_id, instruction.patient_id
    return CallFacts(
        diagnoses=work.scalars(
            sa.select(Diagnosis)
            .where(Diagnosis.encounter_id == stay, Diagnosis.ended_at.is_(None))
            .order_by(Diagnosis.is_main.desc(), Diagnosis.rank)
        ),
        procedures=work.scalars(
            sa.select(Procedure)
            .where(Procedure.encounter_id == stay, Procedure.ended_at.is_(None))
            .order_by(Procedure.rank)
        ),
        allergies=work.scalars(
            sa.select(Allergy)
            .where(Allergy.patient_id == patient, Allergy.ended_at.is_(None))
            .order_by(Allergy.rank)
        ),
        phones=list_phones(work, patient_id=patient),
    )


def list_phones(work: Work, *, patient_id: str) -> list[Phone]:
    """The patient's own numbers, the verified first, then those of relatives; of a newborn the mother's first (B45).

    What nobody dials comes last.
    """
    mothers = mothers_of(work, patient_id)
    said = known_numbers(work, patient_id)
    rows = work.scalars(_numbers([patient_id, *mothers]))
    numbers = sorted(rows, key=lambda row: row.patient_id == patient_id)
    related = work.scalars(
        sa.select(RelatedPerson)
        .where(
            RelatedPerson.patient_id == patient_id,
            RelatedPerson.phone_sealed.is_not(None),
            RelatedPerson.ended_at.is_(None),
        )
        .order_by(RelatedPerson.rank, RelatedPerson.id)
    )
    barred = barred_among(
        work, [*(one.value_index for one in numbers), *(one.phone_index for one in related)]
    )

    def own(one: ContactPoint) -> Phone:
        mother = f"母亲 {mothers[one.patient_id]}" if one.patient_id in mothers else ""
        return _contact(work, one, said.get(one.value_index), barred, mother)

    def relative(one: RelatedPerson) -> Phone:
        known = said.get(one.phone_index or "")
        shown = _masked(work, one.phone_sealed, known, is_barred=one.phone_index in barred)
        whose = f"{relation_word(one.relation) or '联系人'} {one.name}"
        return Phone(one.id, "related", whose, *shown, _doubt(known))

    found = [*map(own, numbers), *map(relative, related)]
    return sorted(found, key=lambda phone: (bool(phone.not_dialled), bool(phone.doubt)))


def first_phones(work: Work, patient_ids: Sequence[str]) -> dict[str, Phone]:
    """Of each patient the first own number that is dialled; where none is, the first with the reason."""
    first: dict[str, Phone] = {}
    said = numbers_known_of(work, patient_ids)
    rows = work.scalars(_numbers(patient_ids))
    barred = barred_among(work, (one.value_index for one in rows))
    for one in rows:
        before = first.get(one.patient_id)
        if before is not None and not before.not_dialled:
            continue
        known = said.get((one.patient_id, one.value_index))
        phone = _contact(work, one, known, barred)
        if before is None or not phone.not_dialled:
            first[one.patient_id] = phone
    return first


def _numbers(patient_ids: Sequence[str]) -> sa.Select[ContactPoint]:
    """Numbers of these patients as they stand, the best of each first."""
    return (
        sa.select(ContactPoint)
        .where(
            ContactPoint.patient_id.in_(patient_ids),
            ContactPoint.system == "phone",
            ContactPoint.ended_at.is_(None),
        )
        .order_by(ContactPoint.is_verified.desc(), ContactPoint.rank, ContactPoint.id)
    )


def _contact(
    work: Work, one: ContactPoint, known: KnownNumber | None, barred: Collection[str], whose: str = ""
) -> Phone:
    owner = f"{known.relation} {known.owner_name}".strip() if known else ""
    whose = whose or owner or _USES.get(one.use, "电话")
    shown = _masked(work, one.value_sealed, known, is_barred=one.value_index in barred)
    return Phone(one.id, "contact", whose, *shown, _doubt(known))


def _doubt(known: KnownNumber | None) -> str:
    """What a caller must know before dialling: it was found empty or wrong before."""
    doubted = (NumberState.INVALID, NumberState.WRONG)
    return known.state.label if known is not None and known.state in doubted else ""


def find_last_response(work: Work, instruction: Instruction) -> Response | None:
    """What the patient answered to the same form before, for another instruction the actor may see."""
    found: Response | None = work.scalar(
        sa.select(Response)
        .join(
            Instruction,
            sa.and_(Response.subject_type == "instruction", Response.subject_id == Instruction.id),
        )
        .where(
            Response.patient_id == instruction.patient_id,
            Response.form_code == instruction.form_code,
            Response.state == ResponseState.SUBMITTED,
            Response.subject_id != instruction.id,
            instruction_opens(work.actor),
        )
        .order_by(Response.submitted_at.desc(), Response.id.desc())
        .limit(1)
    )
    return found


def get_alert(work: Work, *, alert_id: str) -> tuple[Alert, sa.Row[Any]]:
    """The alert and its instruction's row (`centre.queries.get_instruction`), which scopes and notes the read."""
    alert = work.get(Alert, alert_id)
    return alert, get_instruction(work, instruction_id=alert.instruction_id, action="alert.read")


def get_review(work: Work, *, review_id: str) -> tuple[Review, sa.Row[Any]]:
    """The review and its instruction's row (`centre.queries.get_instruction`), which scopes and notes the read."""
    review = work.get(Review, review_id)
    return review, get_instruction(work, instruction_id=review.instruction_id, action="review.read")


def get_response(work: Work, *, instruction_id: str, response_id: str | None) -> Response | None:
    """The answers a review or an alert is about."""
    if response_id is None:
        return None
    response = work.get(Response, response_id)
    if response.subject_id != instruction_id:
        raise NotFoundError
    return response


def _masked(
    work: Work, sealed: bytes | None, known: KnownNumber | None, *, is_barred: bool
) -> tuple[str, str]:
    """The number masked, and why it is not dialled."""
    number = work.keys.open_text(sealed) if sealed else ""
    return (mask_phone(number), why_not_called(number, known, is_barred=is_barred)) if number else ("", "")
