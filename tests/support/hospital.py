"""A hospital on a socket: a real listener, the worker's round on the test's clock, and the archive to look into."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self, TypeVar

import sqlalchemy as sa

from hcrm.app.install import publish_shipped
from hcrm.app.wiring import handlers, intake
from hcrm.archive.absorb.visit import as_logged
from hcrm.archive.events import PatientsTouched
from hcrm.archive.models import (
    Address,
    Allergy,
    ContactPoint,
    IdentifierKind,
    Patient,
    PatientHistory,
    PatientIdentifier,
    RelatedPerson,
)
from hcrm.archive.visit import Placement, placements
from hcrm.archive.visit_models import Diagnosis, Encounter, Procedure, VisitEvent
from hcrm.centre.models import Instruction, InstructionState
from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock
from hcrm.core.crypto import KeyRing
from hcrm.core.db import Base, Database, table_of
from hcrm.core.definitions import Definition
from hcrm.core.delivery import deliver_events
from hcrm.core.events import Event
from hcrm.core.migrate import migrate
from hcrm.core.paths import config_path
from hcrm.core.settings import load_settings
from hcrm.core.sources import Sources, load_sources
from hcrm.core.work import Work, open_work
from hcrm.directory.models import Department
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage
from hcrm.inbox.queries import is_idle
from hcrm.inbox.service import process_messages, replay_messages
from tests.support.adt import renumbered
from tests.support.listener import Peer, RunningListener

ACTOR = system_actor("test")
_BOOKKEEPING = {"updated_at", "version", "provenance"}
_NOT_ARCHIVE = (
    "inbox_", "audit_", "event_delivery", "alembic_", "code_sighting", "code_met", "definition", "refused_", "message_",
    "replay_", "prune_",
)  # fmt: skip
Table = TypeVar("Table", bound=Base)


class Hospital:
    """Send messages, let the worker settle, look what stands."""

    def __init__(self, database: Database, clock: FixedClock, *, sources: Sources | None = None) -> None:
        self.database = database
        self.clock = clock
        self.sources = sources or load_sources(config_path("sources"))
        self.intake = intake(self.sources, clock)
        self._handlers = handlers(load_settings(), self.sources)
        self._listener = RunningListener(database, self.sources, clock)
        self._peer: Peer | None = None
        self.sent: list[tuple[bytes, bytes]] = []  # message and ACK

    def __enter__(self) -> Self:
        with open_work(self.database, actor=ACTOR, clock=self.clock) as work:
            work.insert(Definition, shipped_definitions())
        self._listener.__enter__()
        return self

    def restart_worker(self, sources: Sources) -> None:
        """The worker goes on with other source files; the listener as it was."""
        self.sources = sources
        self.intake = intake(sources, self.clock)
        self._handlers = handlers(load_settings(), sources)

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        patience = time.monotonic() + 5
        while self._listener.server.connections and time.monotonic() < patience:
            time.sleep(0.002)  # else stopping waits for the connection's last answers
        self._listener.stop()

    # ── sending ─────────────────────────────────────────────────────────────

    def connect(self) -> Peer:
        """The sender's connection, opened when first needed."""
        if self._peer is None:
            self._peer = self._listener.connect()
        return self._peer

    def hang_up(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    def send(self, raw: bytes) -> bytes:
        """One message, its ACK; nothing is applied yet."""
        ack = self.connect().ask(raw)
        self.sent.append((raw, ack))
        return ack

    def receive(self, *messages: bytes) -> bytes:
        """Send messages one by one, each applied before the next arrives; the last ACK."""
        ack = b""
        for raw in messages:
            ack = self.send(raw)
            self.settle()
        return ack

    def settle(self) -> None:
        """Let the worker go on until no message waits and every event is delivered."""
        for _ in range(200):
            done = process_messages(self.database, self.intake)
            done += deliver_events(self.database, self._handlers, self.clock, ACTOR)
            if not done:
                with self.look() as work:
                    if is_idle(work):
                        return
        raise AssertionError("the worker does not come to rest")

    # ── looking ─────────────────────────────────────────────────────────────

    def look(self) -> Any:
        """A reading work."""
        return open_work(self.database, actor=ACTOR, clock=self.clock, write=False)

    def all(self, model: type[Table], *where: Any) -> Sequence[Table]:
        with self.look() as work:
            rows: Sequence[Table] = work.all(model, *where)
            return rows

    def count(self, model: type[Base], *where: Any) -> int:
        with self.look() as work:
            return int(work.scalar(sa.select(sa.func.count()).select_from(model).where(*where)))

    def patient(self, number: int | str, authority: str = "H1") -> Patient:
        """Whom a record number finds."""
        with self.look() as work:
            found: Patient = work.one(
                Patient,
                Patient.id.in_(
                    sa.select(PatientIdentifier.patient_id).where(
                        PatientIdentifier.kind == IdentifierKind.RECORD,
                        PatientIdentifier.value == str(number),
                        PatientIdentifier.authority == authority,
                    )
                ),
            )
            return found

    def standing(self, model: Any, number: int | str) -> list[Any]:
        """The patient's live rows of a list, in their order."""
        patient_id = self.patient(number).id
        rows = self.all(model, model.patient_id == patient_id, model.ended_at.is_(None))
        return sorted(rows, key=lambda row: row.rank)

    def phones(self, number: int | str) -> list[str]:
        return [self.database.keys.open_text(row.value_sealed) for row in self.standing(ContactPoint, number)]

    def addresses(self, number: int | str) -> list[str]:
        return [self.database.keys.open_text(row.text_sealed) for row in self.standing(Address, number)]

    def relatives(self, number: int | str) -> list[str]:
        return [row.name for row in self.standing(RelatedPerson, number)]

    def allergies(self, number: int | str) -> list[str]:
        return [row.text for row in self.standing(Allergy, number)]

    def history(self, number: int | str, field: str) -> list[str | None]:
        patient_id = self.patient(number).id
        rows = self.all(
            PatientHistory, PatientHistory.patient_id == patient_id, PatientHistory.field == field
        )
        return [row.value for row in sorted(rows, key=lambda row: row.as_of)]

    def visit(self, visit_no: str) -> Encounter:
        (found,) = self.all(Encounter, Encounter.visit_no == visit_no)
        return found

    def log(self, visit_no: str) -> list[VisitEvent]:
        """The visit's events as they arrived."""
        rows = self.all(VisitEvent, VisitEvent.encounter_id == self.visit(visit_no).id)
        return sorted(rows, key=lambda row: row.seq)

    def places(self, visit_no: str) -> list[Placement]:
        """Where the patient was, as which class, by what stands of the visit's log."""
        return placements([as_logged(row_of(event)) for event in self.log(visit_no)])

    def placements(self, visit_no: str) -> list[tuple[str | None, datetime, datetime | None]]:
        """The same, only the wards."""
        return [(place.location, place.since, place.until) for place in self.places(visit_no)]

    def department(self, visit_no: str) -> str | None:
        """Code of the visit's department."""
        codes = [
            row.code for row in self.all(Department, Department.id == self.visit(visit_no).department_id)
        ]
        return codes[0] if codes else None

    def diagnoses(self, visit_no: str) -> list[str]:
        return self._codes(Diagnosis, visit_no)

    def procedures(self, visit_no: str) -> list[str]:
        return self._codes(Procedure, visit_no)

    def _codes(self, model: type[Diagnosis] | type[Procedure], visit_no: str) -> list[str]:
        rows = self.all(model, model.encounter_id == self.visit(visit_no).id, model.ended_at.is_(None))
        return [f"{row.code} {row.text}".strip() for row in sorted(rows, key=lambda row: row.rank)]

    def instructions(self, visit_no: str) -> list[InstructionState]:
        """States of what was issued for the visit."""
        rows = self.all(Instruction, Instruction.encounter_id == self.visit(visit_no).id)
        return sorted((row.state for row in rows), key=list(InstructionState).index)

    def events(self, kind: str) -> list[Mapping[str, Any]]:
        """Payloads of the facts of one kind, oldest first."""
        return [row.payload for row in sorted(self.all(Event, Event.kind == kind), key=lambda row: row.id)]

    def messages(self) -> list[InboxMessage]:
        return sorted(self.all(InboxMessage), key=lambda row: row.seq)

    def application(self, number: int = -1) -> InboxApplication:
        """What became of the n-th stored message, counted from 1; the last without a number."""
        rows = sorted(self.all(InboxApplication), key=lambda row: row.seq)
        return rows[number - 1 if number > 0 else number]

    # ── again ───────────────────────────────────────────────────────────────

    def replay(self) -> None:
        """Let every stored message go its way again."""
        with open_work(self.database, actor=ACTOR, clock=self.clock) as work:
            replay_messages(work, seqs=[row.seq for row in self.messages()])
        self.settle()

    def snapshot(self) -> dict[str, list[str]]:
        """Everything that stands in the archive and what followed from it, but for bookkeeping."""
        tables = [table for table in Base.metadata.tables.values() if not table.name.startswith(_NOT_ARCHIVE)]
        with self.look() as work:
            return {
                table.name: sorted(_rows(work, table)) if is_filled else []
                for table, is_filled in zip(tables, _filled(work, tables), strict=True)
            }

    def outcomes(self) -> list[tuple[ApplicationState, str | None]]:
        """What became of each message."""
        rows = sorted(self.all(InboxApplication), key=lambda row: row.seq)
        return [(row.state, row.reason) for row in rows]

    def assert_repeats_change_nothing(self, *, resend: bool = True) -> None:
        """The same bytes again, every stored message replayed, and the same under new control ids."""
        before, outcomes, sent = self.snapshot(), self.outcomes(), list(self.sent)
        for raw, ack in sent:
            assert self.send(raw) == ack
        self.settle()
        assert self.outcomes() == outcomes
        self._assert_equal(before)
        self.replay()
        assert self.outcomes() == outcomes
        self._assert_equal(before)
        if resend:
            for number, (raw, _) in enumerate(sent):
                self.send(renumbered(raw, f"again-{number}"))
            self.settle()
            self._assert_equal(before)

    def _assert_equal(self, before: dict[str, list[str]]) -> None:
        after = self.snapshot()
        for name, rows in before.items():
            assert after[name] == rows, (name, set(after[name]) ^ set(rows))


def row_of(row: Base) -> dict[str, Any]:
    """A row as plain values."""
    return {column.name: getattr(row, column.name) for column in table_of(type(row)).columns}


def _filled(work: Work, tables: Sequence[sa.Table]) -> Sequence[Any]:
    """Which of them hold anything: most are empty, and reading each takes time in every test."""
    asked = ", ".join(f'EXISTS (SELECT 1 FROM "{table.name}")' for table in tables)
    return work.session.connection().exec_driver_sql(f"SELECT {asked}").one()


def _rows(work: Work, table: sa.Table) -> list[str]:
    columns = [column for column in table.columns if column.name not in _BOOKKEEPING]
    statement = sa.select(*columns)
    if table.name == Event.__tablename__:
        statement = statement.where(Event.kind != PatientsTouched.__name__)  # a call to count anew, no news
    return [repr(tuple(row)) for row in work.execute(statement)]


@cache
def shipped_definitions() -> list[dict[str, Any]]:
    """Rows of the published definitions of `config/`; publishing takes a second, copying nothing."""
    keys = KeyRing(current="k", data={"k": bytes(32)}, index=bytes(32))
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'definitions.db'}"
        migrate(url)
        database = Database(url, keys)
        with open_work(database, actor=ACTOR) as work:
            publish_shipped(work)
            rows = [dict(row) for row in work.execute(sa.select(table_of(Definition))).mappings()]
        database.dispose()
    return rows
