"""The message chain of a patient (消息链): message, record, event, rule, instruction and answers of each stay.

It answers "why was this patient instructed, and by which message?" on one page, the same steps as docs/walk.md.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from hcrm.archive.visit_models import VisitEvent
from hcrm.audit.queries import same_patient
from hcrm.centre.models import Classification, Instruction
from hcrm.centre.queries import list_classifications
from hcrm.core.work import Work
from hcrm.desk.record_tabs import FollowUp, group_by_visit, instructions_to_show, list_visits, with_answers
from hcrm.inbox.models import InboxApplication, InboxMessage
from hcrm.web.paging import Page

STAYS = 10
"""Stays of one page: each is a chain of a dozen lines."""
MESSAGES = 300
"""Messages looked at, the latest: a chronic patient may have thousands."""


@dataclass(frozen=True, slots=True)
class StayChain:
    """One stay from message to answer. `visit` is a row of `list_visits`."""

    visit: Any
    messages: Sequence[Any]  # seq, kind, source, state, reason, received_at
    events: Sequence[VisitEvent]
    classes: Sequence[Classification]
    followups: Sequence[FollowUp]


@dataclass(frozen=True, slots=True)
class MessageChain:
    """The stays of a page, and the messages that concern none of them."""

    page: Page[StayChain]
    other_messages: Sequence[Any]


def load_chain(work: Work, *, patient_id: str, key: str | None = None) -> MessageChain:
    """The chain of every stay of a page, one query a step. The view came through the patient's door."""
    visits = list_visits(work, patient_id=patient_id, key=key, size=STAYS)
    ids = [row.Encounter.id for row in visits.items]
    messages = _messages(work, patient_id)
    events = group_by_visit(
        work.scalars(
            sa.select(VisitEvent)
            .where(VisitEvent.encounter_id.in_(ids))
            .order_by(VisitEvent.happened_at, VisitEvent.seq)
        )
    )
    classes = list_classifications(work, encounter_ids=ids)
    followups = _followups(work, ids)
    chains = [
        StayChain(
            row,
            messages.get(row.Encounter.id, ()),
            events.get(row.Encounter.id, ()),
            classes.get(row.Encounter.id, ()),
            followups.get(row.Encounter.id, ()),
        )
        for row in visits.items
    ]
    others = messages.get(None, ()) if not visits.previous_key else ()
    return MessageChain(Page(chains, visits.next_key, visits.previous_key), others)


def _messages(work: Work, patient_id: str) -> Mapping[str | None, Sequence[Any]]:
    """The patient's messages by stay, in order of arrival; the inbox keeps the ids of before a merge."""
    rows = work.execute(
        sa.select(
            InboxApplication.seq, InboxApplication.kind, InboxApplication.source, InboxApplication.state,
            InboxApplication.flags, InboxApplication.became_encounter_id, InboxMessage.received_at,
        )
        .join(InboxMessage, InboxMessage.seq == InboxApplication.seq)
        .where(InboxApplication.became_patient_id.in_(same_patient(work, patient_id)))
        .order_by(InboxApplication.seq.desc())
        .limit(MESSAGES)
    ).all()  # fmt: skip
    found: dict[str | None, list[Any]] = defaultdict(list)
    for row in reversed(rows):
        found[row.became_encounter_id].append(row)
    return found


def _followups(work: Work, encounter_ids: Sequence[str]) -> Mapping[str, Sequence[FollowUp]]:
    rows = work.execute(
        instructions_to_show(work)
        .where(Instruction.encounter_id.in_(encounter_ids))
        .order_by(Instruction.due_on, Instruction.id)
    ).all()
    found: dict[str, list[FollowUp]] = defaultdict(list)
    for one in with_answers(work, rows):
        found[one.instruction.encounter_id].append(one)
    return found
