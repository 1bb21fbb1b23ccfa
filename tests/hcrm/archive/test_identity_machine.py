"""Whatever is told, written, merged and undone in whatever order: nothing is lost and nobody has another's rows.

Three people and three twins are told the same. The three are merged, by hand and by messages, the twins never; once
every merge is undone the two must be alike but for what people wrote about a merged archive, which is where they said.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hcrm.archive.fields.models import PatientTag
from hcrm.archive.fields.tags import add_tag
from hcrm.archive.identity.models import IdentityPair
from hcrm.archive.identity.pairs import merge_pair, propose_pair
from hcrm.archive.identity.service import part_merged
from hcrm.archive.models import (
    Address,
    ContactPoint,
    Patient,
    PatientHistory,
    PatientIdentifier,
    PatientMerge,
)
from hcrm.archive.parting.since_merge import came_meanwhile
from hcrm.archive.queries import surviving_patient
from hcrm.archive.visit_models import Encounter
from hcrm.contact_log.models import Channel, ContactEntry, ContactResult
from hcrm.contact_log.service import record_contact
from hcrm.core.clock import local_time
from hcrm.core.errors import ConflictError
from hcrm.core.work import Work, open_work
from hcrm.inbox.models import InboxApplication
from hcrm.inbox.service import replay_messages
from tests.support.adt import ABSENT, adt
from tests.support.hospital import ACTOR, Hospital
from tests.support.truth_table import evening

__all__ = ["evening"]

PEOPLE = (1, 2, 3)
TWIN = 500
person = st.sampled_from(PEOPLE)
phone = st.sampled_from(["13800000001", "13800000002", ABSENT])
name = st.sampled_from(["张^三", "李^四"])
late = st.integers(0, 90)  # minutes a message is late


@dataclass
class Merged:
    """One merge as the test remembers it."""

    survivor: int
    gone: int
    key: str
    is_undone: bool = False


@dataclass
class Call:
    """A call: whose archive it was written for, and which merges stood there then."""

    owner: int
    meanwhile: set[str] = field(default_factory=set)


class Identity(RuleBasedStateMachine):
    """See the module."""

    hospital: Hospital
    bases: Iterator[int]

    def __init__(self) -> None:
        super().__init__()
        self.base = next(self.bases) * 1000
        self.merges: list[Merged] = []
        self.calls: dict[str, Call] = {}
        self.written: dict[str, int] = {}  # tags, by the person they were put on
        self.ids: dict[int, str] = {}
        self.number, self.visit = count(1), count()
        self.first_seq = self._last_seq() + 1
        self.hospital.clock.move(hours=3)  # no hour's limit of merges is near

    # ── what happens ────────────────────────────────────────────────────────

    @initialize()
    def everybody_comes(self) -> None:
        for one in PEOPLE:
            self._tell("A01", one, "张^三", f"1390000000{one}", 0)
        with self.hospital.look() as work:
            assert len({self.own(work, one) for one in PEOPLE}) == len(PEOPLE)

    @rule(event=st.sampled_from(["A01", "A08", "A31"]), one=person, name=name, phone=phone, late=late)
    def told(self, event: str, one: int, name: str, phone: str, late: int) -> None:
        self._tell(event, one, name, phone, late)

    @rule(one=person)
    def called(self, one: int) -> None:
        root = self.root(one)
        with self._work() as work:
            key = record_contact(
                work, patient_id=self.own(work, root), channel=Channel.PHONE, result=ContactResult.REACHED
            )
        meanwhile = {merge.key for merge in self.merges if not merge.is_undone and merge.survivor == root}
        self.calls[key] = Call(root, meanwhile)

    @rule(one=person)
    def tagged(self, one: int) -> None:
        tag = f"标签{next(self.number)}"
        root = self.root(one)
        with self._work() as work:
            add_tag(work, patient_id=self.own(work, root), tag=tag)
        self.written[tag] = root

    @rule(one=person, other=person)
    def merged_by_hand(self, one: int, other: int) -> None:
        survivor, gone = self.root(one), self.root(other)
        if survivor == gone:
            return
        with self._work() as work:
            ids = self.own(work, survivor), self.own(work, gone)
            pair = work.get(IdentityPair, propose_pair(work, patient_id=ids[0], other_id=ids[1]))
            key = merge_pair(work, pair_id=pair.id, version=pair.version, survivor_id=ids[0], reason="同一人")
        self.merges.append(Merged(survivor, gone, key))

    @rule(one=person, other=person, name=name)
    def merged_by_message(self, one: int, other: int, name: str) -> None:
        """Under the numbers of the two that stand: A40 speaks of the survivor too, and so is told of the twin."""
        survivor, gone = self.root(one), self.root(other)
        if survivor == gone:
            return
        at = self._moment(0)
        fields = {"name": name, "phone": ABSENT, "m": at}
        self._send(adt("A40", c=self._control(), p=self.base + survivor, mrg=self.base + gone, **fields))
        self._send(adt("A31", c=self._control(), p=self.base + TWIN + survivor, **fields))
        with self._work() as work:
            key = work.scalar(
                sa.select(PatientMerge.id).where(
                    PatientMerge.survivor_id == self.own(work, survivor),
                    PatientMerge.merged_id == self.own(work, gone),
                    PatientMerge.undone_at.is_(None),
                )
            )
        assert key
        self.merges.append(Merged(survivor, gone, key))

    @precondition(lambda self: self._standing())
    @rule(data=st.data())
    def undone(self, data: st.DataObject) -> None:
        merge = data.draw(st.sampled_from(self._standing()))
        self._undo(merge, data)

    # ── what always holds ───────────────────────────────────────────────────

    @invariant()
    def every_chain_ends_at_one_and_every_row_is_theirs(self) -> None:
        with self.hospital.look() as work:
            owners = {one: self.own(work, one) for one in PEOPLE}
            for one in PEOPLE:
                assert surviving_patient(work, owners[one]).id == owners[self.root(one)]
            twins = {self.own(work, one + TWIN) for one in PEOPLE}
            visits = work.all(Encounter, Encounter.visit_no.startswith(f"{self.base}-"))
            for visit in visits:
                if visit.patient_id in twins:
                    continue
                assert visit.patient_id == owners[self.root(int(visit.visit_no.split("-")[1]))]
            calls = work.all(ContactEntry, ContactEntry.id.in_(sorted(self.calls)))
            assert {row.id: row.patient_id for row in calls} == {
                key: owners[self.root(call.owner)] for key, call in self.calls.items()
            }
            tags = {
                row.tag: row.patient_id
                for row in work.all(PatientTag, PatientTag.patient_id.in_(owners.values()))
            }
            assert tags == {tag: owners[self.root(one)] for tag, one in self.written.items()}

    def teardown(self) -> None:
        """In the end nothing was ever merged; and to tell everything again changes nothing."""
        while standing := self._standing():
            self._undo(standing[0], None)
        self._look()
        seqs = [
            row.seq for row in self.hospital.all(InboxApplication, InboxApplication.seq >= self.first_seq)
        ]
        with self._work() as work:
            replay_messages(work, seqs=seqs)
        self.hospital.settle()
        self._look()

    def _look(self) -> None:
        self.every_chain_ends_at_one_and_every_row_is_theirs()
        with self.hospital.look() as work:
            for one in PEOPLE:
                assert self._portrait(work, one) == self._portrait(work, one + TWIN)

    # ── by what means ───────────────────────────────────────────────────────

    def root(self, one: int) -> int:
        """Whose archive holds that person's rows now."""
        into = {merge.gone: merge.survivor for merge in self.merges if not merge.is_undone}
        while one in into:
            one = into[one]
        return one

    def own(self, work: Work, one: int) -> str:
        """The archive that was made for that person."""
        if one not in self.ids:  # known before anything is merged
            number = str(self.base + one)
            found = work.scalar(
                sa.select(PatientIdentifier.patient_id).where(PatientIdentifier.value == number)
            )
            self.ids[one] = str(found)
        return self.ids[one]

    def _standing(self) -> list[Merged]:
        """Merges whose survivor stands: the others have to wait for theirs."""
        roots = {self.root(one) for one in PEOPLE}
        return [merge for merge in self.merges if not merge.is_undone and merge.survivor in roots]

    def _undo(self, merge: Merged, data: st.DataObject | None) -> None:
        blocked = [one for one in self.merges if not one.is_undone and one not in self._standing()]
        with self._work() as work:
            for one in blocked:
                with pytest.raises(ConflictError, match="又被合并"):
                    part_merged(work, merge_id=one.key, reason="不是同一人", chosen={})
            rows = came_meanwhile(work, work.get(PatientMerge, merge.key))
            shown = {row.id for row in rows if row.table == "contact_entry"}
            mine = {
                key
                for key, call in self.calls.items()
                if merge.key in call.meanwhile and call.owner == merge.survivor
            }
            assert mine == shown
            given = {key for key in sorted(mine) if data and data.draw(st.booleans())}
            part_merged(
                work, merge_id=merge.key, reason="不是同一人", chosen={"contact_entry": sorted(given)}
            )
        self.hospital.settle()
        merge.is_undone = True
        for key in given:
            self.calls[key].owner = merge.gone

    def _tell(self, event: str, one: int, name: str, phone: str, late: int) -> None:
        at, visit = self._moment(late), next(self.visit)
        for number in (one, one + TWIN):
            fields: dict[str, Any] = {"name": name, "phone": phone, "m": at}
            if event == "A01":
                fields["v"] = f"{self.base}-{number}-{visit}"
            elif event == "A08":
                fields["v"] = f"{self.base}-{number}-{one - 1}"  # of the first stay
            self._send(adt(event, c=self._control(), p=self.base + number, **fields))

    def _send(self, raw: bytes) -> None:
        self.hospital.receive(raw)

    def _control(self) -> int:
        return self.base * 1000 + next(self.number)

    def _moment(self, late: int) -> str:
        self.hospital.clock.move(minutes=5)
        at = local_time(self.hospital.clock.now()) - timedelta(minutes=late)
        return at.strftime("%Y%m%d%H%M%S%z")

    def _work(self) -> Any:
        self.hospital.clock.move(seconds=30)
        return open_work(self.hospital.database, actor=ACTOR, clock=self.hospital.clock)

    def _last_seq(self) -> int:
        with self.hospital.look() as work:
            return int(work.scalar(sa.select(sa.func.max(InboxApplication.seq))) or 0)

    def _portrait(self, work: Work, one: int) -> dict[str, Any]:
        """What an archive says, without keys and without what people wrote."""
        key = self.own(work, one)
        patient = work.get(Patient, key)
        live = {
            model.__tablename__: sorted(
                (row.rank, row.use, row.source, getattr(row, "value_index", ""))
                for row in work.all(model, model.patient_id == key, model.ended_at.is_(None))
            )
            for model in (ContactPoint, Address)
        }
        visits = work.all(Encounter, Encounter.patient_id == key)
        history = work.all(PatientHistory, PatientHistory.patient_id == key)
        numbers = work.all(PatientIdentifier, PatientIdentifier.patient_id == key)
        return live | {
            "base": (patient.name, patient.sex, patient.birth_date, patient.deceased, patient.is_vip),
            "merged": patient.merged_into_id,
            "told": {name: (told[0], told[1], told[3:]) for name, told in patient.provenance.items()},
            "visits": sorted((row.visit_no.split("-")[2], row.status.value) for row in visits),
            "history": sorted((row.field, row.value or "", row.as_of.isoformat()) for row in history),
            "numbers": [(int(row.value) % TWIN, row.retired_at, row.ended_at) for row in numbers],
        }


@pytest.fixture
def machine(database, evening) -> Iterator[type[Identity]]:
    with Hospital(database, evening) as hospital:
        yield type("Machine", (Identity,), {"hospital": hospital, "bases": count(1)})


def test_nothing_is_lost_and_undone_is_as_if_it_had_never_been(machine, request):
    is_embedded = "sqlite" in request.node.name
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=3 if is_embedded else 1, stateful_step_count=12, deadline=None,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate],
        ),
    )  # fmt: skip
