"""Who carries out an instruction (assurance section 0, owner of an instruction)."""

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from hcrm.accounts.models import Account
from hcrm.centre.protocols import Assignment
from hcrm.centre.stays import Stay
from hcrm.core.clock import local_date
from hcrm.core.work import Work
from hcrm.directory.models import Practitioner
from hcrm.directory.queries import at_work


@dataclass(frozen=True, slots=True)
class Owners:
    """The practitioners of a batch who are here and have an active account: only they will see an instruction."""

    with_account: frozenset[str]

    def of(self, stay: Stay, assignment: Assignment) -> str | None:
        """The practitioner asked; None puts the instruction into the exception queue, never to somebody at random."""
        candidates: tuple[str | None, ...] = ()
        if assignment is Assignment.ATTENDING:
            candidates = (stay.attending_id, stay.head_id)
        elif assignment is Assignment.DEPARTMENT_HEAD:
            candidates = (stay.head_id,)
        return next((one for one in candidates if one in self.with_account), None)


def find_owners(work: Work, stays: Iterable[Stay]) -> Owners:
    """Who of the physicians and heads of these stays can be asked."""
    asked = {one for stay in stays for one in (stay.attending_id, stay.head_id) if one}
    return Owners(
        frozenset(
            work.scalars(
                sa.select(Account.practitioner_id)
                .join(Practitioner, Practitioner.id == Account.practitioner_id)
                .where(
                    Account.practitioner_id.in_(sorted(asked)),
                    Account.active.is_(True),
                    at_work(local_date(work.clock.now())),
                )
            )
        )
    )
