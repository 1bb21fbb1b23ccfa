"""What a patient's archive said before: values that were replaced or ended, and those that came too late to stand.

The view came through `archive.queries.get_patient`. Phones and addresses leave masked.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.fields.models import PatientFieldValue, PatientTag
from hcrm.archive.fields.service import published_fields
from hcrm.archive.models import Address, Allergy, ContactPoint, Patient, PatientHistory, RelatedPerson
from hcrm.core.text import mask_phone, relation_word
from hcrm.core.work import Work
from hcrm.desk.masked import FIELD_LABELS, field_words, origin_of
from hcrm.directory.queries import region_names

HISTORY_ROWS = 100
"""Of each kind, the newest."""
LATE = "收到时已有更新的内容，没有采用"
_LISTS: tuple[tuple[Any, str, str], ...] = (
    (ContactPoint, "contacts", "联系方式"), (Address, "addresses", "地址"), (RelatedPerson, "related", "联系人"),
    (Allergy, "allergies", "过敏"),
)  # fmt: skip
"""Table, its clock in the patient's provenance, its word."""


@dataclass(frozen=True, slots=True)
class FormerValue:
    """Something that does not stand any more, or never stood."""

    label: str
    value: str
    source: str
    as_of: datetime
    seq: int  # of the message; 0: people entered it
    ended_at: datetime
    why: str  # who ended it, or why it was not taken over


def list_history(work: Work, patient: Patient) -> list[FormerValue]:
    """All that is kept of former values, the latest change first."""
    found = [*_own(work, patient), *_listed(work, patient), *_entered(work, patient)]
    return sorted(found, key=lambda one: one.ended_at, reverse=True)


def _own(work: Work, patient: Patient) -> Iterator[FormerValue]:
    rows = _newest(work, PatientHistory, patient, PatientHistory.replaced_at)
    clocks: dict[str, list[tuple[datetime, int]]] = {}
    for row in rows:
        clocks.setdefault(row.field, []).append((row.as_of, row.seq))
    for name, told in patient.provenance.items():
        clocks.setdefault(name, []).append((datetime.fromisoformat(told[0]), told[2]))
    for row in rows:
        label = FIELD_LABELS.get(row.field, row.field)
        why = LATE if _is_late(row, clocks[row.field]) else "已被代替"
        yield FormerValue(
            label, field_words(row.field, row.value), row.source, row.as_of, row.seq, row.replaced_at, why
        )


def _listed(work: Work, patient: Patient) -> Iterator[FormerValue]:
    words = _list_words(work)
    for model, name, label in _LISTS:
        stamp = patient.provenance.get(name)
        clocks = [(datetime.fromisoformat(stamp[0]), stamp[2])] if stamp else []
        for row in _newest(work, model, patient, model.ended_at, model.ended_at.is_not(None)):
            by = getattr(row, "ended_by_name", None)
            why = LATE if row.seq and _is_late(row, clocks) else f"{by} 结束" if by else "已被代替"
            yield FormerValue(
                label, words[model](row), origin_of(row).words, row.as_of, row.seq, row.ended_at, why
            )


def _entered(work: Work, patient: Patient) -> Iterator[FormerValue]:
    fields = published_fields(work).by_code
    ended = PatientFieldValue.ended_at.is_not(None)
    for row in _newest(work, PatientFieldValue, patient, PatientFieldValue.ended_at, ended):
        field = fields.get(row.field_code)
        source = row.informant.label if row.informant else row.source
        yield FormerValue(
            field.title if field else row.field_code, field.words(row.value) if field else row.value,
            f"{source}，{row.actor_name}", row.as_of, 0, row.ended_at, f"{row.ended_by_name} 修改",
        )  # fmt: skip
    for tag in _newest(work, PatientTag, patient, PatientTag.ended_at, PatientTag.ended_at.is_not(None)):
        yield FormerValue(
            "标签", tag.tag, tag.actor_name, tag.created_at, 0, tag.ended_at, f"{tag.ended_by_name} 去掉"
        )


def _newest(work: Work, model: Any, patient: Patient, at: Any, *where: Any) -> Sequence[Any]:
    rows = sa.select(model).where(model.patient_id == patient.id, *where)
    return work.scalars(rows.order_by(at.desc(), model.id.desc()).limit(HISTORY_ROWS))


def _is_late(row: Any, clocks: Sequence[tuple[datetime, int]]) -> bool:
    """Whether something newer had been received before this came: then it was never taken over."""
    return any((as_of, seq) > (row.as_of, row.seq) and seq < row.seq for as_of, seq in clocks)


def _list_words(work: Work) -> dict[Any, Callable[[Any], str]]:
    def phone(sealed: bytes | None) -> str:
        return mask_phone(work.keys.open_text(sealed)) if sealed else ""

    def contact(row: ContactPoint) -> str:
        return phone(row.value_sealed) if row.system == "phone" else "邮箱 ***"

    def address(row: Address) -> str:
        names = region_names(work, {row.region_code}) if row.region_code else {}
        return f"{names.get(row.region_code or '', '')}****"

    def related(row: RelatedPerson) -> str:
        return " ".join(filter(None, (row.name, relation_word(row.relation), phone(row.phone_sealed))))

    def allergy(row: Allergy) -> str:
        return row.text or row.code

    return {ContactPoint: contact, Address: address, RelatedPerson: related, Allergy: allergy}
