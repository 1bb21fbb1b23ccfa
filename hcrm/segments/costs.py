"""What stays have cost, in 分: all of it, drugs, treatment."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import sqlalchemy as sa

from hcrm.archive.clinical.models import ChargeItem
from hcrm.archive.clinical.terms import ChargeKind
from hcrm.core.work import Work
from hcrm.segments.grading_rules import grading_rules


@dataclass(slots=True)
class Costs:
    """Sums of one stay."""

    total: int = 0
    drug: int = 0
    treatment: int = 0


def costs_of_stays(work: Work, encounter_ids: Sequence[str]) -> Mapping[str, Costs]:
    """By stay; one whose sender tells totals by class is not summed with its lines, and payments are no cost."""
    rows = work.execute(
        sa.select(
            ChargeItem.encounter_id, ChargeItem.cost_class, ChargeItem.is_total,
            sa.func.sum(ChargeItem.amount_fen).label("fen"),
        )
        .where(
            work.among(ChargeItem.encounter_id, encounter_ids), ChargeItem.ended_at.is_(None),
            ChargeItem.kind != ChargeKind.PAYMENT,
        )
        .group_by(ChargeItem.encounter_id, ChargeItem.cost_class, ChargeItem.is_total)
    ).all()  # fmt: skip
    totalled = {row.encounter_id for row in rows if row.is_total}
    found: dict[str, Costs] = defaultdict(Costs)
    for row in rows:
        if row.is_total or row.encounter_id not in totalled:
            costs, fen, kind = found[row.encounter_id], int(row.fen or 0), _kind_of(row.cost_class)
            costs.total += fen
            if kind == "drug":
                costs.drug += fen
            elif kind == "treatment":
                costs.treatment += fen
    return found


@lru_cache(maxsize=1024)
def _kind_of(cost_class: str) -> str:
    """drug, treatment or neither, by the words of `config/grading.yaml`."""
    classes = grading_rules().cost_classes
    if any(word in cost_class for word in classes.drug):
        return "drug"
    return "treatment" if any(word in cost_class for word in classes.treatment) else ""
