"""Incidents of the interface: silence, too many parked, unknown events, ways that fail. One of each is open at a time.

A job looks every five minutes. What it opened it closes once the cause is gone; a person only says that they know.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.clock import day_bounds, local_date
from hcrm.core.errors import HcrmError
from hcrm.core.sources import Sources
from hcrm.core.work import Work
from hcrm.inbox.census import list_troubles
from hcrm.inbox.channels import ChannelLine, Key, channel_troubles, destination_troubles, list_channels
from hcrm.inbox.guard import REASONS as GUARDED
from hcrm.inbox.holidays import load_holidays
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage
from hcrm.inbox.monitor_models import Incident, IncidentKind, MessageTraffic
from hcrm.inbox.queries import list_used_sources
from hcrm.inbox.traffic import SLOT, expected_messages
from hcrm.web.paging import Page, keyset_page

OTHERS = "其他"
"""Subject of the one incident for further unknown events of a source that sends too many kinds of them."""
_UNSUPPORTED = "event_not_supported"
_HOUR = timedelta(hours=1)
_PARKED: Any = InboxApplication.state == sa.literal(
    ApplicationState.PARKED, InboxApplication.state.type, literal_execute=True
)
log = structlog.get_logger(__name__)


def watch_interface(work: Work) -> int:
    """Open and close incidents by what stands; a job runs it after traffic was counted. How many changed."""
    now = work.clock.now()
    standing = {
        (row.kind, row.source, row.subject): row for row in work.all(Incident, Incident.closed_at.is_(None))
    }
    wanted = {
        **_silent(work, now, standing, load_holidays()), **_failing(work, now, standing), **_unknown(work),
        **_guarded(work), **_census(work), **channel_troubles(work, standing), **destination_troubles(work, standing),
    }  # fmt: skip
    opened = [key for key in wanted if key not in standing]
    work.insert_new(
        Incident,
        [
            {"id": work.new_id(), "kind": kind, "source": source, "subject": subject, "opened_at": now,
             "closed_at": None, "detail": wanted[kind, source, subject], "acknowledged_at": None,
             "acknowledged_by": None, "acknowledged_by_name": None, "note": None}
            for kind, source, subject in opened
        ],
    )  # fmt: skip
    for key, row in standing.items():
        if row.detail != wanted.get(key, row.detail):
            row.detail = wanted[key]  # an alarm says how it stands now
    closed = [row for key, row in standing.items() if key not in wanted]
    for row in closed:
        row.closed_at = now
    work.session.flush()
    if opened or closed:
        log.warning("interface.incidents", opened=len(opened), closed=len(closed))
    return len(opened) + len(closed)


def _silent(
    work: Work, now: datetime, standing: Mapping[Key, Incident], holidays: Collection[date]
) -> dict[Key, dict[str, Any]]:
    """Sources of which nothing came for so long that chance does not explain it; open until something comes."""
    found: dict[Key, dict[str, Any]] = {}
    for source in list_used_sources(work):
        key = (IncidentKind.SILENCE, source, "")
        last = work.scalar(
            sa.select(sa.func.max(MessageTraffic.slot_at)).where(
                MessageTraffic.source == source, MessageTraffic.received > 0
            )
        )
        if last is None or now - (last + SLOT) < timedelta(seconds=limits.SILENCE_SECONDS):
            continue
        if key in standing:
            found[key] = standing[key].detail
            continue
        expected = expected_messages(work, source, last + SLOT, now, holidays)
        if expected >= limits.SILENCE_MESSAGES:
            found[key] = {"expected": round(expected), "last_at": last.isoformat()}
    return found


def _failing(work: Work, now: datetime, standing: Mapping[Key, Incident]) -> dict[Key, dict[str, Any]]:
    """Sources of which a large share of the last hour is parked; open until the share is half of that."""
    begin = work.scalar(
        sa.select(InboxMessage.seq)
        .where(InboxMessage.received_at >= now - _HOUR)
        .order_by(InboxMessage.received_at, InboxMessage.seq)
        .limit(1)
    )
    parked = {
        row.source: row.number
        for row in work.execute(
            sa.select(InboxApplication.source, sa.func.count().label("number"))
            .where(_PARKED, InboxApplication.seq >= (begin or 0), InboxApplication.reason != _UNSUPPORTED)
            .group_by(InboxApplication.source)
        )
    } if begin is not None else {}  # fmt: skip
    received = {
        row.source: row.number
        for row in work.execute(
            sa.select(MessageTraffic.source, sa.func.sum(MessageTraffic.received).label("number"))
            .where(MessageTraffic.slot_at >= now - _HOUR)
            .group_by(MessageTraffic.source)
        )
    }
    found: dict[Key, dict[str, Any]] = {}
    for source, number in parked.items():
        key = (IncidentKind.ERRORS, source, "")
        total = max(int(received.get(source, 0)), number)
        is_open = key in standing
        limit = limits.PARKED_SHARE / 2 if is_open else limits.PARKED_SHARE
        if (is_open or total >= limits.PARKED_MESSAGES) and number / total >= limit:
            found[key] = {"parked": number, "received": total}
    return found


def _unknown(work: Work) -> dict[Key, dict[str, Any]]:
    """Events nobody maps, as long as a message of them is parked; a source that invents many gets one for the rest."""
    rows = work.execute(
        sa.select(InboxApplication.source, InboxApplication.kind, sa.func.count().label("number"))
        .where(_PARKED, InboxApplication.reason == _UNSUPPORTED)
        .group_by(InboxApplication.source, InboxApplication.kind)
        .order_by(InboxApplication.source, InboxApplication.kind)
    )
    found: dict[Key, dict[str, Any]] = {}
    kinds: dict[str, int] = {}
    for row in rows:
        kinds[row.source] = kinds.get(row.source, 0) + 1
        subject = row.kind if kinds[row.source] <= limits.UNKNOWN_EVENTS else OTHERS
        key = (IncidentKind.UNSUPPORTED, row.source, subject)
        found[key] = {"parked": found.get(key, {}).get("parked", 0) + row.number}
    return found


def _guarded(work: Work) -> dict[Key, dict[str, Any]]:
    """Merges and deletions that wait for a person, by why: masses of them, or an important patient (C23, C24)."""
    rows = work.execute(
        sa.select(InboxApplication.source, InboxApplication.reason, sa.func.count().label("number"))
        .where(_PARKED, InboxApplication.reason.in_(sorted(GUARDED)))
        .group_by(InboxApplication.source, InboxApplication.reason)
    )
    return {
        (IncidentKind.GUARDED, row.source, row.reason): {"parked": row.number, "reason": row.reason}
        for row in rows
    }


def _census(work: Work) -> dict[Key, dict[str, Any]]:
    """Days on which a HIS's own list and the archive disagree, or that have no list; open until healed or explained."""
    return {
        (trouble.kind, trouble.source, trouble.day.isoformat()): trouble.detail
        for trouble in list_troubles(work)
    }


# ── reading and acknowledging ───────────────────────────────────────────────


def count_incidents(work: Work) -> int:
    """Open ones nobody acknowledged: the number in the menu."""
    return int(
        work.scalar(
            sa.select(sa.func.count())
            .select_from(Incident)
            .where(Incident.closed_at.is_(None), Incident.acknowledged_at.is_(None))
        )
    )


def list_incidents(work: Work, *, is_open: bool | None = None, key: str | None = None) -> Page[Incident]:
    """Incidents, the newest first."""
    statement = sa.select(Incident)
    if is_open is not None:
        statement = statement.where(
            Incident.closed_at.is_(None) if is_open else Incident.closed_at.is_not(None)
        )
    return keyset_page(work, statement, order=(Incident.opened_at.desc(), Incident.id.desc()), key=key)


def acknowledge_incident(work: Work, incident_id: str, *, note: str) -> None:
    """A person knows and says what is done about it; again, by whoever knows more."""
    incident = work.get(Incident, incident_id)
    if incident.closed_at is not None:
        raise HcrmError("incident.closed", "事件已自行恢复，不必再确认", status=409)
    incident.acknowledged_at, incident.note = work.clock.now(), note
    incident.acknowledged_by, incident.acknowledged_by_name = work.actor.id, work.actor.name
    record_audit(work, action="incident.handle", subject_type="incident", subject_id=incident_id)


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One source and how it stands."""

    code: str
    title: str
    last_at: datetime | None
    today: int
    parked: int
    incidents: int
    follow_up_from: datetime | None
    is_configured: bool
    channels: Sequence[ChannelLine] = ()

    @property
    def faults(self) -> Sequence[ChannelLine]:
        """Folders and views of it that cannot be read now, or hold files put aside."""
        return [line for line in self.channels if line.error or line.put_aside]


def list_sources(work: Work, sources: Sources) -> list[SourceLine]:
    """Every source there is a file of, or a message."""
    midnight, _ = day_bounds(local_date(work.clock.now()))
    used = list_used_sources(work)
    today = _numbers(
        work,
        sa.select(MessageTraffic.source, sa.func.sum(MessageTraffic.received))
        .where(MessageTraffic.slot_at >= midnight)
        .group_by(MessageTraffic.source),
    )
    parked = _numbers(
        work,
        sa.select(InboxApplication.source, sa.func.count()).where(_PARKED).group_by(InboxApplication.source),
    )
    incidents = _numbers(
        work,
        sa.select(Incident.source, sa.func.count())
        .where(Incident.closed_at.is_(None), Incident.kind != IncidentKind.UNSENT)
        .group_by(Incident.source),
    )
    channels = list_channels(work, sources)
    known = {source.code: source for source in (sources.default, *sources.by_code.values())}
    return [
        SourceLine(
            code, known[code].title if code in known else code, _last_at(work, code) if code in used else None,
            today.get(code, 0), parked.get(code, 0), incidents.get(code, 0),
            known[code].follow_up_from if code in known else None, is_configured=code in known,
            channels=[line for line in channels if line.source == code],
        )
        for code in _ordered(known, used)
    ]  # fmt: skip


def _ordered(known: Iterable[str], used: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*known, *used]))


def _last_at(work: Work, source: str) -> datetime | None:
    newest = (
        sa.select(sa.func.max(InboxApplication.seq))
        .where(InboxApplication.source == source)
        .scalar_subquery()
    )
    found: datetime | None = work.scalar(
        sa.select(InboxMessage.received_at).where(InboxMessage.seq == newest)
    )
    return found


def _numbers(work: Work, statement: sa.Select[str, int]) -> dict[str, int]:
    rows: Sequence[Any] = work.execute(statement).all()
    return {name: int(number) for name, number in rows}
