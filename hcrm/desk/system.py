"""The system page: whether every part of the house still moves, what waits, what failed. No patient data."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from hcrm import __version__
from hcrm.archive.test_patients.service import count_test_patients
from hcrm.audit.service import record_audit
from hcrm.core.db import Database, UtcDateTime, inbox_path, sqlite_path
from hcrm.core.delivery import count_waiting, list_troubled, retry_delivery
from hcrm.core.runtime import Runtime
from hcrm.core.settings import Settings
from hcrm.core.work import Work
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage, RefusedMessage
from hcrm.inbox.queries import count_states, oldest_waiting

# Fires belong to the scheduler, a layer above; the table is named, not imported.
_FIRE = sa.table(
    "fire", sa.column("job", sa.Text), sa.column("due_at", UtcDateTime), sa.column("state", sa.Text),
    sa.column("started_at", UtcDateTime), sa.column("finished_at", UtcDateTime), sa.column("result", sa.Integer),
    sa.column("error", sa.Text),
)  # fmt: skip
_TROUBLES = 20


@dataclass(frozen=True, slots=True)
class JobLine:
    """A job and its last fire; one that never fired has none."""

    name: str
    title: str
    fire: sa.Row[Any] | None


@dataclass(frozen=True, slots=True)
class Signs:
    """When each process last left a trace in the database; None where it never did."""

    listener: datetime | None  # a message was stored
    worker: datetime | None  # a message was taken up
    scheduler: datetime | None  # a job was fired


@dataclass(frozen=True, slots=True)
class Storage:
    """Where the data lies and how much room is left."""

    engine: str  # SQLite 3.46.1, PostgreSQL 15.4
    revision: str | None
    size: int | None
    inbox_size: int | None
    free: int | None  # None: another machine's disk


@dataclass(frozen=True, slots=True)
class SystemState:
    """Everything on the page."""

    version: str
    signs: Signs
    storage: Storage
    jobs: Sequence[JobLine]
    messages: Mapping[ApplicationState, int]
    oldest_waiting: datetime | None
    refused: int
    events_waiting: int
    troubled: Sequence[sa.Row[Any]]
    settings: Sequence[tuple[str, str]]
    test_patients: int


def load_system(work: Work, runtime: Runtime, jobs: Mapping[str, str]) -> SystemState:
    """The state now. `jobs` are the scheduler's jobs, name to title: one that never fired must show too."""
    return SystemState(
        version=__version__,
        signs=Signs(
            listener=work.scalar(sa.select(sa.func.max(InboxMessage.received_at))),
            worker=work.scalar(sa.select(sa.func.max(InboxApplication.taken_up_at))),
            scheduler=work.scalar(sa.select(sa.func.max(_FIRE.c.started_at))),
        ),
        storage=_storage(work, runtime.database),
        jobs=_jobs(work, jobs),
        messages=count_states(work),
        oldest_waiting=oldest_waiting(work),
        refused=work.scalar(sa.select(sa.func.count()).select_from(RefusedMessage)),
        events_waiting=count_waiting(work),
        troubled=list_troubled(work, limit=_TROUBLES),
        settings=_settings(runtime.settings),
        test_patients=count_test_patients(work),
    )


def retry_event(work: Work, *, event_id: str, handler: str) -> None:
    """Let a handler try an event anew that it failed on; the act is noted."""
    retry_delivery(work, event_id=event_id, handler=handler)
    record_audit(
        work, action="event.retry", subject_type="event", subject_id=event_id, detail={"handler": handler}
    )


def _jobs(work: Work, titles: Mapping[str, str]) -> list[JobLine]:
    latest = (
        sa.select(_FIRE.c.job, sa.func.max(_FIRE.c.due_at).label("due_at")).group_by(_FIRE.c.job).subquery()
    )
    rows = work.execute(
        sa.select(_FIRE).join(latest, sa.and_(latest.c.job == _FIRE.c.job, latest.c.due_at == _FIRE.c.due_at))
    )
    fires = {row.job: row for row in rows}
    named = [JobLine(name, title, fires.get(name)) for name, title in titles.items()]
    return named + [JobLine(name, name, fire) for name, fire in sorted(fires.items()) if name not in titles]


def _storage(work: Work, database: Database) -> Storage:
    revision = work.scalar(sa.select(sa.column("version_num")).select_from(sa.table("alembic_version")))
    if not database.is_sqlite:
        version = work.scalar(sa.text("SHOW server_version"))
        size = work.scalar(sa.select(sa.func.pg_database_size(sa.func.current_database())))
        return Storage(f"PostgreSQL {version}", revision, size, None, None)
    path = sqlite_path(database.url)
    return Storage(
        engine=f"SQLite {work.scalar(sa.select(sa.func.sqlite_version()))}",
        revision=revision,
        size=_bytes(path),
        inbox_size=_bytes(inbox_path(path)),
        free=shutil.disk_usage(path.parent).free,
    )


def _bytes(path: Path) -> int:
    """A database's file with what its log still holds."""
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _settings(settings: Settings) -> list[tuple[str, str]]:
    """What an administrator compares with what was meant; no address, no path, no secret."""
    return [
        ("医院名称", settings.hospital.name),
        ("时区", settings.hospital.zone),
        ("所在区县", settings.hospital.region),
        ("控制台经 TLS 访问", "是" if settings.http.secure else "否"),
        ("控制台线程", str(settings.http.threads)),
        ("MLLP 每地址连接", str(settings.mllp.connections_per_address)),
        ("MLLP 总连接", str(settings.mllp.connections_total)),
        ("消息原文保留", f"{settings.inbox.keep_days} 天" if settings.inbox.keep_days else "一直保留"),
        ("测试患者可发送的号码", f"{len(settings.test_patients.send_to)} 个"),
        ("只接受登记的发送方", "是" if settings.mllp.known_senders_only else "否"),
    ]
