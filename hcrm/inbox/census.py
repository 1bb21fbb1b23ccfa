"""The daily comparison with a HIS's own list: when a day is due, what came, what of it is written and believed.

The watch for silence cannot see that three messages in a hundred are lost; this does. A list that is empty, or half
of what such a day has, is not believed until a person says so.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median
from typing import Any

import sqlalchemy as sa
import structlog

from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.clock import Clock, local_date, local_time
from hcrm.core.db import Database
from hcrm.core.sources import Source, Sources
from hcrm.core.work import Row, Work, open_work
from hcrm.directory.models import Department
from hcrm.inbox.census_compare import Compared, Comparison, Found
from hcrm.inbox.census_list import SETTLING, CensusParts, Delivered, authority_of, read_census, seal_rows
from hcrm.inbox.census_models import LEFT_OUT, CensusLine, CensusRun, Finding, LineState, RunState
from hcrm.inbox.census_ours import load_ours
from hcrm.inbox.monitor_models import IncidentKind

log = structlog.get_logger(__name__)
_KEPT_STATES = (LineState.EXPLAINED, LineState.REQUESTED)
_NUMBERS = ("his", "ours", "missing", "extra", "differing")


# ── what is due ─────────────────────────────────────────────────────────────


def reconcile_due(
    database: Database, *, actor: Actor, clock: Clock, sources: Sources, parts: CensusParts
) -> int:
    """Compare every source's days that are due, and those asked for again; how many comparisons were made."""
    made = 0
    fault: Exception | None = None
    for source in sources.by_code.values():
        if source.census is None:
            continue
        try:
            for day in _due_days(database, actor, clock, source):
                made += (
                    reconcile_day(database, actor=actor, clock=clock, source=source, day=day, parts=parts)
                    is not None
                )
        except Exception as error:  # noqa: BLE001  one hospital system's list must not keep the others from theirs
            log.error("census.failed", source=source.code, error=type(error).__name__)
            fault = error
    if made:
        with open_work(database, actor=actor, clock=clock) as work:
            _prune(work)
    if fault is not None:
        raise fault  # the job's row says that it failed
    return made


def _due_days(database: Database, actor: Actor, clock: Clock, source: Source) -> list[date]:
    assert source.census is not None
    now = clock.now()
    here = local_time(now)
    yesterday = local_date(now) - timedelta(days=1)
    since = yesterday - timedelta(days=limits.CENSUS_DAYS - 1)
    with open_work(database, actor=actor, clock=clock, write=False) as work:
        latest = {
            run.day: run for run in latest_runs(work, CensusRun.source == source.code, CensusRun.day >= since)
        }
        applied = _days_applied(work, latest.values(), now)
    first = min(latest, default=yesterday)
    due = {day for day, run in latest.items() if run.again_at is not None} | applied
    days = (yesterday - timedelta(days=back) for back in range(limits.CENSUS_DAYS))
    for day in days:
        is_open = day not in latest or latest[day].state is not RunState.COMPLETE
        if day >= first and is_open and (day < yesterday or here.time() >= source.census.at):
            due.add(day)
    return sorted(due)


def _days_applied(work: Work, runs: Collection[CensusRun], now: datetime) -> set[date]:
    """Days whose findings were applied a while ago: comparing again shows what that healed."""
    ids = {run.id: run.day for run in runs if run.state is RunState.COMPLETE}
    rows = work.execute(
        sa.select(CensusLine.run_id, sa.func.max(CensusLine.acted_at).label("at"))
        .where(CensusLine.run_id.in_(sorted(ids)), CensusLine.state == LineState.APPLIED)
        .group_by(CensusLine.run_id)
    )
    rest = timedelta(seconds=limits.CENSUS_RECHECK_SECONDS)
    return {ids[row.run_id] for row in rows if row.at <= now - rest}


def latest_runs(work: Work, *where: sa.ColumnElement[bool]) -> Sequence[CensusRun]:
    """The run that counts of each source and day."""
    rows = work.scalars(
        sa.select(CensusRun).where(*where).order_by(CensusRun.source, CensusRun.day, CensusRun.number)
    )
    return list({(run.source, run.day): run for run in rows}.values())


def _prune(work: Work) -> None:
    oldest = local_date(work.clock.now()) - timedelta(days=limits.CENSUS_KEEP_DAYS)
    old = sa.select(CensusRun.id).where(CensusRun.day < oldest)
    work.execute(sa.delete(CensusLine).where(CensusLine.run_id.in_(old)))
    work.execute(sa.delete(CensusRun).where(CensusRun.day < oldest))


# ── one day ─────────────────────────────────────────────────────────────────


def reconcile_day(
    database: Database, *, actor: Actor, clock: Clock, source: Source, day: date, parts: CensusParts
) -> CensusRun | None:
    """Read the list and compare; the run, or None where there is nothing new to say."""
    delivered = read_census(source, day, clock.now(), parts)
    try:
        return _compare_and_note(database, actor, clock, source, day, delivered)
    except sa.exc.IntegrityError:
        return None  # another process has just written this day's next run


def _compare_and_note(
    database: Database, actor: Actor, clock: Clock, source: Source, day: date, delivered: Delivered | None
) -> CensusRun | None:
    with open_work(database, actor=actor, clock=clock) as work:
        before = _latest(work, source.code, day)
        run = _compare(work, source, day, delivered, before)
        if run is None:
            if before is not None:
                before.again_at = None
                work.session.flush()
            return None
        log.info(
            "census.compared", source=source.code, day=day.isoformat(), state=run.state.value, rows=run.rows,
            findings=run.findings,
        )  # fmt: skip
        return run


def _latest(work: Work, source: str, day: date) -> CensusRun | None:
    return work.session.scalar(
        sa.select(CensusRun)
        .where(CensusRun.source == source, CensusRun.day == day)
        .order_by(CensusRun.number.desc())
        .limit(1)
    )


def _compare(
    work: Work, source: Source, day: date, delivered: Delivered | None, before: CensusRun | None
) -> CensusRun | None:
    census = source.census
    assert census is not None
    if delivered is None or delivered.error:
        if before is not None and before.state is RunState.COMPLETE:
            return None  # a list that is gone takes nothing back
        is_away = delivered is None or delivered.error == SETTLING
        if is_away and not _is_overdue(work, source, day):
            return None
        state = RunState.ABSENT if is_away else RunState.UNREADABLE
        error = delivered.error if delivered else None
        if before is not None and (before.state, before.error) == (state, error):
            return None
        return _write(work, source, day, before, state=state, error=error)
    authorities = {authority_of(source), *(authority for authority, _ in delivered.stays)}
    ours, resolved = load_ours(work, census, day, authorities=authorities, keys=delivered.stays.keys())
    comparison = Comparison(census, day, delivered.stays, ours, resolved)
    listed = comparison.count_listed()
    usual = _usual(work, source.code, day, comparison.count_ours())
    is_believed = before is not None and before.believed_by is not None
    if not is_believed and _is_suspect(listed, delivered.unreadable, usual):
        seen = before is not None and before.state is RunState.SUSPECT and before.rows == listed
        if seen or (before is not None and before.state is RunState.COMPLETE):
            return None
        return _write(
            work, source, day, before, state=RunState.SUSPECT, delivered=delivered, rows=listed, usual=usual
        )
    compared = comparison.run()
    run = _write(
        work,
        source,
        day,
        before,
        state=RunState.COMPLETE,
        delivered=delivered,
        rows=listed,
        compared=compared,
    )
    _write_lines(work, source, run, compared, before)
    return run


def _is_overdue(work: Work, source: Source, day: date) -> bool:
    assert source.census is not None
    here = local_time(work.clock.now())
    return here.date() > day + timedelta(days=1) or here.time() >= source.census.due


def _usual(work: Work, source: str, day: date, ours: int) -> int:
    """How many stays such a day's list has: of the same weekday where there were some, else of any, else by us."""
    rows = work.execute(
        sa.select(CensusRun.day, CensusRun.rows, CensusRun.number)
        .where(
            CensusRun.source == source, CensusRun.day < day, CensusRun.day >= day - timedelta(days=28),
            CensusRun.state == RunState.COMPLETE,
        )
        .order_by(CensusRun.number)
    )  # fmt: skip
    seen = {row.day: row.rows for row in rows}
    alike = [number for past, number in seen.items() if past.weekday() == day.weekday()]
    chosen = alike if len(alike) > 1 else list(seen.values())
    return round(median(chosen)) if len(chosen) > 1 else ours


def _is_suspect(listed: int, unreadable: int, usual: int) -> bool:
    if unreadable > listed or (listed == 0 and usual > 0):
        return True
    if usual < limits.CENSUS_USUAL:
        return False
    return not usual * limits.CENSUS_SHARE <= listed <= usual / limits.CENSUS_SHARE


def _write(
    work: Work, source: Source, day: date, before: CensusRun | None, *, state: RunState,
    delivered: Delivered | None = None, rows: int = 0, usual: int | None = None, error: str | None = None,
    compared: Compared | None = None,
) -> CensusRun:  # fmt: skip
    is_believed = before is not None and state is RunState.COMPLETE
    run = CensusRun(
        id=work.new_id(), source=source.code, day=day, number=before.number + 1 if before else 1, state=state,
        list_at=delivered.made_at if delivered else None, rows=rows,
        unreadable=delivered.unreadable if delivered else 0, usual=usual, error=error,
        counts=_matrix(work, source, delivered, compared) if delivered and compared else [],
        findings=0, allowed=source.census.limit if source.census else 0, ran_at=work.clock.now(),
        ran_by=work.actor.name, again_at=None,
        believed_by=before.believed_by if is_believed and before else None,
        believed_by_name=before.believed_by_name if is_believed and before else None,
    )  # fmt: skip
    if before is not None:
        before.again_at = None
    work.add(run)
    work.session.flush()
    return run


def _matrix(work: Work, source: Source, delivered: Delivered, compared: Compared) -> list[Any]:
    """Lines of the matrix, then what of the list is in none of them, by why."""
    assert source.census is not None
    codes = {department for _, department in compared.counts}
    names: Mapping[str, str] = {
        row.code: row.name
        for row in work.execute(
            sa.select(Department.code, Department.name).where(Department.code.in_(sorted(codes)))
        )
    }
    told_twice = delivered.rows - delivered.unreadable - delivered.cancels - len(delivered.stays)
    left_out = {**compared.left_out, "cancelled": delivered.cancels, "same_stay": told_twice}
    return sorted(
        [movement.value, campus_of(source, department), department, names.get(department, department),
         *(counts[name] for name in _NUMBERS)]
        for (movement, department), counts in compared.counts.items()
    ) + [[LEFT_OUT, why, number] for why, number in left_out.items() if number]  # fmt: skip


def campus_of(source: Source, department: str) -> str:
    """The campus a department lies on, by the source's file."""
    assert source.census is not None
    return source.census.campuses.get(department, source.census.campus)


def _write_lines(
    work: Work, source: Source, run: CensusRun, compared: Compared, before: CensusRun | None
) -> None:
    known = (
        {_same(line): line for line in work.all(CensusLine, CensusLine.run_id == before.id)} if before else {}
    )
    rows = [_line(work, source, run, found) for found in compared.found]
    for row in rows:
        earlier = known.get(_same(row))
        if earlier is None:
            continue
        if earlier.state in _KEPT_STATES:
            row |= {
                name: getattr(earlier, name)
                for name in ("state", "acted_at", "acted_by", "acted_by_name", "note")
            }
        row["was_applied"] = earlier.was_applied or earlier.state is LineState.APPLIED
    work.insert(CensusLine, rows)
    run.findings = len({(row["authority"], row["visit_no"]) for row in rows})
    work.session.flush()


def _same(line: CensusLine | Row) -> tuple[Any, ...]:
    """What makes a finding of a later run the same: an explanation holds for what it explained."""
    names = ("movement", "finding", "field", "authority", "visit_no", "theirs", "ours")
    return tuple(line[name] if isinstance(line, dict) else getattr(line, name) for name in names)


def _line(work: Work, source: Source, run: CensusRun, found: Found) -> Row:
    listed, ours = found.listed, found.ours
    authority, visit_no = listed.key if listed else (ours.authority, ours.visit_no) if ours else ("", "")
    numbers = listed.numbers if listed and listed.numbers else ours.shown if ours else ()
    has_row = listed is not None and found.finding is not Finding.EXTRA
    return {
        "id": work.new_id(), "run_id": run.id, "movement": found.movement, "finding": found.finding,
        "field": found.field, "authority": authority, "visit_no": visit_no,
        "patient_no": numbers[0].value if numbers else "", "encounter_id": ours.id if ours else None,
        "patient_id": ours.patient_id if ours else None, "campus": campus_of(source, found.department),
        "department_code": found.department, "theirs": found.theirs_text, "ours": found.ours_text,
        "row_sealed": work.keys.seal(seal_rows(listed)) if has_row and listed else None,
        "state": LineState.OPEN, "message_seq": None, "was_applied": False, "acted_at": None, "acted_by": None,
        "acted_by_name": None, "note": None,
    }  # fmt: skip


# ── the alarm ───────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class CensusTrouble:
    """A day a person should look at."""

    kind: IncidentKind
    source: str
    day: date
    detail: dict[str, Any]


def list_troubles(work: Work) -> list[CensusTrouble]:
    """Days without a list, with one that is not believed, or with more findings than the source's limit allows."""
    since = local_date(work.clock.now()) - timedelta(days=limits.CENSUS_ALARM_DAYS)
    runs = latest_runs(work, CensusRun.day >= since)
    standing = {
        row.run_id: row.number
        for row in work.execute(
            sa.select(CensusLine.run_id, sa.func.count(sa.distinct(CensusLine.visit_no)).label("number"))
            .where(CensusLine.run_id.in_([run.id for run in runs]), CensusLine.state != LineState.EXPLAINED)
            .group_by(CensusLine.run_id)
        )
    }
    found: list[CensusTrouble] = []
    just_now = work.clock.now() - timedelta(seconds=limits.CENSUS_SETTLE_SECONDS)
    for run in runs:
        if run.error == SETTLING and run.ran_at > just_now:
            continue
        if run.state is not RunState.COMPLETE:
            detail = {"state": run.state.value, "rows": run.rows, "usual": run.usual}
            found.append(CensusTrouble(IncidentKind.CENSUS_LIST, run.source, run.day, detail))
        elif standing.get(run.id, 0) > run.allowed:
            detail = {"findings": standing[run.id]}
            found.append(CensusTrouble(IncidentKind.CENSUS, run.source, run.day, detail))
    return found
