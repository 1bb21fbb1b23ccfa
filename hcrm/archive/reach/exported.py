"""Whether somebody on a list that leaves the house may be called, and by which number."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from hcrm.archive.models import ContactPoint
from hcrm.archive.reach.barred_numbers import barred_among
from hcrm.archive.reach.consent import may_contact
from hcrm.archive.reach.disclosure import DisclosureMark, disclosure_of
from hcrm.archive.reach.numbers import numbers_known_of, why_not_called
from hcrm.archive.reach_models import ContactStop
from hcrm.archive.terms import ContactMeans, ContactPurpose
from hcrm.core.work import Work


@dataclass(frozen=True, slots=True)
class ListedReach:
    """One patient of a list: the number to call or why there is none, what ended contact, who knows what."""

    phone: str  # as it is kept; empty where nobody may call, or there is none
    barrier: str  # why nobody may call, in words; empty where they may, or no number is known
    ended: str  # 已终止联系、请勿联系
    disclosure: str


def reach_of(work: Work, ids: Sequence[str]) -> dict[str, ListedReach]:
    """Of each of these patients; one query a table.

    The gate is asked as for a follow-up call, and every number as the patient's page does: the first that may be
    called is given.
    """
    gate = may_contact(work, patient_ids=ids, purpose=ContactPurpose.CARE, channel=ContactMeans.CALL)
    numbers = _numbers(work, ids)
    stops: dict[str, set[str]] = defaultdict(set)
    for row in work.scalars(
        sa.select(ContactStop).where(work.among(ContactStop.patient_id, ids), ContactStop.ended_at.is_(None))
    ):
        stops[row.patient_id].add(row.kind.label)
    marks = disclosure_of(work, ids)
    found = {}
    for key in ids:
        refusal = gate[key]
        phone, why = _first_callable(numbers[key])
        found[key] = ListedReach(
            phone="" if refusal else phone, barrier=refusal.label if refusal else why,
            ended="、".join(sorted(stops[key])), disclosure=_mark(marks[key]),
        )  # fmt: skip
    return found


def _numbers(work: Work, ids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """The numbers of each patient in the order one would dial them, each with why nobody calls it."""
    rows = work.scalars(
        sa.select(ContactPoint)
        .where(
            work.among(ContactPoint.patient_id, ids),
            ContactPoint.system == "phone",
            ContactPoint.ended_at.is_(None),
        )
        .order_by(ContactPoint.is_verified.desc(), ContactPoint.rank, ContactPoint.id)
    )
    known, barred = numbers_known_of(work, ids), barred_among(work, (row.value_index for row in rows))
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in rows:
        number = work.keys.open_text(row.value_sealed)
        said = known.get((row.patient_id, row.value_index))
        why = why_not_called(number, said, is_barred=row.value_index in barred)
        found[row.patient_id].append((number, why))
    return found


def _first_callable(numbers: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """A number and no reason, or no number and the first one's reason."""
    fit = next(((number, "") for number, why in numbers if not why), None)
    return fit or ("", numbers[0][1] if numbers else "")


def _mark(mark: DisclosureMark) -> str:
    return f"{mark.state.label}，联系 {mark.contact}" if mark.contact else mark.state.label
