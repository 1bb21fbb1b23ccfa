"""A year in the demonstration hospital: its messages through the real intake, its physicians at work.

The days go by on a clock of their own. What arrives is stored, acknowledged, applied and delivered as ever; what
physicians record goes through the same services as in the console. Nothing is written past them.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

import sqlalchemy as sa

from adapters.his.reception import receive
from adapters.his.simulator import SimulatedMessage, Simulator
from followup.alerts import handle_alert
from followup.models import Alert, AlertState, Review, ReviewState
from followup.review import approve_followup
from followup.station import UNREACHED, record_attempt, record_followup
from hcrm.accounts.models import Account
from hcrm.accounts.queries import actor_for
from hcrm.app import wiring
from hcrm.centre.jobs import expire_instructions
from hcrm.centre.models import OPEN_STATES, Instruction, Outcome
from hcrm.cli.demo_answers import AnswerSets
from hcrm.contact_log.models import Channel, ContactResult
from hcrm.core.actor import Actor, system_actor
from hcrm.core.clock import FixedClock, local_date
from hcrm.core.db import Database
from hcrm.core.delivery import deliver_events
from hcrm.core.runtime import open_sources
from hcrm.core.settings import Settings
from hcrm.core.work import Work, open_work
from hcrm.forms.answers import Raw
from hcrm.forms.queries import load_form
from hcrm.inbox.intake import store_now
from hcrm.inbox.models import InboxApplication, InboxMessage
from hcrm.inbox.service import process_messages

Progress = Callable[[int, int], None]
_CALLED = 0.93  # of the calls that fall due, how many are made at all
_HANDLED = 0.7  # of the open red flags are dealt with on a day
_HANDLINGS = ("已电话指导，嘱观察", "已通知来院复诊", "已转急诊就诊", "已调整用药并约定复诊")
_ALARMING = 0.06  # of the answers raise a red flag


@dataclass(frozen=True, slots=True)
class Due:
    """A call somebody makes today."""

    instruction_id: str
    form: tuple[str, int]
    closes_on: date


class Year:
    """The seeded days of one database."""

    def __init__(self, settings: Settings, database: Database, simulator: Simulator) -> None:
        self._database = database
        self._simulator = simulator
        self._clock = FixedClock(datetime(2000, 1, 1, tzinfo=UTC))
        self._sources = open_sources(settings)
        self._intake = wiring.intake(self._sources, self._clock)
        self._handlers = wiring.handlers(settings, self._sources)
        self._dice = random.Random(simulator.seed)  # noqa: S311  who is reached, not a secret
        self._answer_sets: dict[tuple[str, int], AnswerSets] = {}
        self._people = self._load_people()

    def play(self, progress: Progress) -> int:
        """Every day in order; how many messages came."""
        count = 0
        for number, (day, messages) in enumerate(_by_day(self._simulator.messages()), start=1):
            batch = list(messages)
            self._clock.moment = max(message.at for message in batch).astimezone(UTC)
            self._receive(batch)
            self._work_through(day)
            count += len(batch)
            progress(number, self._simulator.days)
        self._forget_waiting()
        return count

    def _forget_waiting(self) -> None:
        """Each day came at once when it was over: what waited for that would show as the worker's delay."""
        arrived = (
            sa.select(InboxMessage.received_at)
            .where(InboxMessage.seq == InboxApplication.seq)
            .scalar_subquery()
        )
        with open_work(self._database, actor=system_actor("demo"), clock=self._clock) as work:
            work.execute(
                sa.update(InboxApplication)
                .values(taken_up_at=arrived, applied_at=arrived)
                .execution_options(synchronize_session=False)
            )

    def _receive(self, batch: Sequence[SimulatedMessage]) -> None:
        arriving = [
            item
            for message in batch
            for item in receive(
                message.raw, sources=self._sources, peer="demo", at=message.at.astimezone(UTC)
            )
        ]
        store_now(self._database, arriving)
        actor = system_actor("worker")
        while process_messages(self._database, self._intake):
            pass
        while deliver_events(self._database, self._handlers, self._clock, actor):
            pass

    def _work_through(self, day: date) -> None:
        """The day's calls, by those who are to make them; heads look at what was put before them."""
        for actor, calls in self._due(day):
            with open_work(self._database, actor=actor, clock=self._clock) as work:
                for call in calls:
                    self._call(work, call)
        waiting = self._departments_waiting()
        for actor in self._heads:
            if not waiting.isdisjoint(actor.department_ids or ()):
                self._review(actor)
                self._handle_alerts(actor)
        with open_work(self._database, actor=system_actor("scheduler"), clock=self._clock) as work:
            expire_instructions(work)

    def _due(self, day: date) -> Iterator[tuple[Actor, list[Due]]]:
        """Calls spread over each window: most on the due day, some earlier, some late or never."""
        with open_work(self._database, actor=system_actor("demo"), clock=self._clock, write=False) as work:
            rows = work.execute(
                sa.select(
                    Instruction.id, Instruction.assignee_id, Instruction.form_code, Instruction.form_version,
                    Instruction.opens_on, Instruction.due_on, Instruction.closes_on,
                )
                .where(
                    Instruction.state.in_(OPEN_STATES), Instruction.opens_on <= day, Instruction.closes_on >= day,
                    Instruction.assignee_id.in_(self._people),
                )
                .order_by(Instruction.assignee_id, Instruction.id)
            ).all()  # fmt: skip
        for assignee, group in groupby(rows, key=lambda row: row.assignee_id):
            calls = [
                Due(row.id, (row.form_code, row.form_version), row.closes_on)
                for row in group
                if self._day_of(row) == day
            ]
            if calls:
                yield self._people[assignee], calls

    @staticmethod
    def _day_of(row: sa.Row[tuple[object, ...]]) -> date | None:
        """When the call is made, drawn from the instruction's own key: asked on several days, the same answer."""
        draw = random.Random(row.id)  # noqa: S311
        if draw.random() > _CALLED:
            return None
        spread = (row.closes_on - row.opens_on).days
        offset = min(spread, max(0, round(draw.gauss((row.due_on - row.opens_on).days, spread / 5))))
        return row.opens_on + timedelta(days=offset)

    def _call(self, work: Work, call: Due) -> None:
        luck = self._dice.random()
        key = work.new_id()
        if luck < 0.06 and local_date(self._clock.now()) < call.closes_on:
            record_attempt(
                work, instruction_id=call.instruction_id, record_id=key, result=self._dice.choice(UNREACHED[:2]),
                channel=Channel.PHONE,
            )  # fmt: skip
            return
        outcome, result = Outcome.REACHED, ContactResult.REACHED
        if luck > 0.985:
            outcome, result = Outcome.REFUSED, ContactResult.REFUSED
        elif luck > 0.955:
            outcome, result = Outcome.LOST, ContactResult.NO_ANSWER
        elif luck > 0.75:
            result = ContactResult.RELATIVE
        answers = self._answers(work, call.form) if outcome is Outcome.REACHED else {}
        record_followup(
            work, instruction_id=call.instruction_id, record_id=key, outcome=outcome, result=result,
            channel=Channel.PHONE, answers=answers,
        )  # fmt: skip

    def _answers(self, work: Work, form: tuple[str, int]) -> Mapping[str, Raw]:
        if form not in self._answer_sets:
            definition = load_form(work, code=form[0], version=form[1])
            self._answer_sets[form] = AnswerSets(definition, self._dice)
        return self._answer_sets[form].draw(alarming=self._dice.random() < _ALARMING)

    def _departments_waiting(self) -> set[str]:
        """Where a head has something to look at."""
        with open_work(self._database, actor=system_actor("demo"), clock=self._clock, write=False) as work:
            reviews = work.scalars(sa.select(Review.department_id).where(Review.state == ReviewState.WAITING))
            alerts = work.scalars(sa.select(Alert.department_id).where(Alert.state == AlertState.OPEN))
        return {*reviews, *alerts}

    def _review(self, actor: Actor) -> None:
        with open_work(self._database, actor=actor, clock=self._clock) as work:
            waiting = work.scalars(
                sa.select(Review.id)
                .where(
                    Review.state == ReviewState.WAITING,
                    Review.department_id.in_(sorted(actor.department_ids or ())),
                )
                .limit(20)
            )
            for review_id in waiting:
                if self._dice.random() < 0.8:
                    approve_followup(work, review_id=review_id)

    def _handle_alerts(self, actor: Actor) -> None:
        theirs = Alert.department_id.in_(sorted(actor.department_ids or ()))
        with open_work(self._database, actor=actor, clock=self._clock) as work:
            waiting = work.scalars(
                sa.select(Alert.id).where(Alert.state == AlertState.OPEN, theirs).limit(20)
            )
            for alert_id in waiting:
                if self._dice.random() < _HANDLED:
                    handle_alert(work, alert_id=alert_id, handling=self._dice.choice(_HANDLINGS))

    def _load_people(self) -> dict[str, Actor]:
        with open_work(self._database, actor=system_actor("demo"), write=False) as work:
            accounts = work.all(Account, Account.practitioner_id.is_not(None))
            actors = {str(each.practitioner_id): actor_for(work, each) for each in accounts}
        self._heads = [actor for actor in actors.values() if actor.may("review.write")]
        return {key: replace(actor, address=None) for key, actor in actors.items()}


def _by_day(messages: Iterator[SimulatedMessage]) -> Iterator[tuple[date, Iterator[SimulatedMessage]]]:
    return groupby(messages, key=lambda message: message.at.date())
