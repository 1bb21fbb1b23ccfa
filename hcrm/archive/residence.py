"""Where patients live, as far as their addresses tell."""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from hcrm.archive.models import Address
from hcrm.core.work import Work

_HOME_FIRST = {"home": 0, "registered": 1}


def region_codes(work: Work, patient_ids: Collection[str]) -> dict[str, str]:
    """Region code of each patient that has one: of the home address, else the registered one, else any."""
    rows: Sequence[Any] = work.execute(
        sa.select(Address.patient_id, Address.use, Address.rank, Address.region_code).where(
            Address.patient_id.in_(sorted(patient_ids)),
            Address.ended_at.is_(None),
            Address.region_code.is_not(None),
        )
    ).all()
    best = sorted(rows, key=lambda row: (_HOME_FIRST.get(row.use, 2), row.rank), reverse=True)
    return {row.patient_id: row.region_code for row in best if row.region_code}
