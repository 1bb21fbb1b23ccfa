"""Code maps (对照) of the console: what a sender's local codes mean, beside the tables of `config/sources`.

A row of the console wins over the file, on the days it is valid. The worker reads them at the start of each batch,
and again only when one has changed. Codes that nothing maps are counted, so that they can be mapped in one step.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, get_args

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from hcrm.core.clock import local_date
from hcrm.core.db import table_of
from hcrm.core.local_habits import (
    AbnormalWord,
    ClassWord,
    MaritalCode,
    SexWord,
    SystemWord,
    WayCode,
)
from hcrm.core.sources import Source, Sources
from hcrm.core.work import Work
from hcrm.directory.models import CodeMap, CodeMet, CodeSighting, Department, DirectoryChange

LONGEST = 64
"""Characters of a local code; what is longer is free text and is not kept."""


@dataclass(frozen=True, slots=True)
class CodeKind:
    """One table of codes a source may have of its own."""

    label: str
    table: str  # the field of `Source`
    words: Mapping[str, str] | None  # what it may mean, with its word; None: any text


def _words(literal: Any, labels: Mapping[str, str]) -> dict[str, str]:
    return {word: labels[word] for word in get_args(literal)}


CODE_KINDS: Mapping[str, CodeKind] = {
    "department": CodeKind("科室", "departments", None),
    "class": CodeKind("就诊类别", "classes", _words(ClassWord, {
        "inpatient": "住院", "outpatient": "门诊", "emergency": "急诊", "preadmit": "预住院", "checkup": "体检",
        "unknown": "未知",
    })),
    "discharge_way": CodeKind("离院方式", "discharge_ways", _words(WayCode, {
        "1": "医嘱离院", "2": "医嘱转院", "3": "医嘱转社区", "4": "非医嘱离院", "5": "死亡", "9": "其他",
    })),
    "sex": CodeKind("性别", "sexes", _words(SexWord, {
        "male": "男", "female": "女", "other": "其他", "unknown": "未知",
    })),
    "abnormal_flag": CodeKind("结果异常标志", "abnormal_flags", _words(AbnormalWord, {
        "normal": "正常", "low": "低", "high": "高", "abnormal": "异常", "critical-low": "危急低",
        "critical-high": "危急高", "critical": "危急",
    })),
    "marital_status": CodeKind("婚姻状况", "marital_statuses", _words(MaritalCode, {
        "10": "未婚", "20": "已婚", "21": "初婚", "22": "再婚", "23": "复婚", "30": "丧偶", "40": "离婚",
        "90": "未说明",
    })),
    "diagnosis_system": CodeKind("诊断编码体系", "diagnosis_systems", _words(SystemWord, {
        "ICD-10": "西医疾病诊断", "GB/T 15657": "中医病证",
    })),
    "cost_class": CodeKind("费用类别", "cost_classes", None),
}  # fmt: skip
"""Which codes can be mapped, by the word of the address."""


# ── what the worker maps with ───────────────────────────────────────────────


class MappedSources:
    """The sources of the files, with what the console added, by day of receipt."""

    def __init__(self, sources: Sources) -> None:
        self._files = sources
        self._mark: Any = None
        self._rows: list[Any] = []
        self._by_day: dict[date, Sources] = {}

    def refresh(self, work: Work) -> None:
        """Read the rows again where one has changed since."""
        mark = tuple(
            work.execute(
                sa.select(sa.func.count(), sa.func.max(DirectoryChange.changed_at)).where(
                    DirectoryChange.kind == "code_map"
                )
            ).one()
        )
        if mark != self._mark:
            self._rows = list(work.execute(sa.select(table_of(CodeMap)).order_by(table_of(CodeMap).c.id)))
            self._mark, self._by_day = mark, {}

    def on(self, day: date) -> Sources:
        """What counts for messages received on that day."""
        if not self._rows:
            return self._files
        if day not in self._by_day:
            if len(self._by_day) > _DAYS:
                self._by_day.clear()
            self._by_day[day] = overlaid(self._files, [row for row in self._rows if _is_valid(row, day)])
        return self._by_day[day]


_DAYS = 64  # of messages that are replayed


def overlaid(sources: Sources, rows: Iterable[Any]) -> Sources:
    """The sources with these rows in their tables; a row of an unknown source or kind changes nothing."""
    added: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        if row.source in sources.by_code and row.kind in CODE_KINDS:
            added[row.source][CODE_KINDS[row.kind].table][row.local_code] = row.target
    changed: list[Source] = [
        source.model_copy(
            update={table: {**getattr(source, table), **codes} for table, codes in added[code].items()}
        )
        if code in added
        else source
        for code, source in sources.by_code.items()
    ]
    return Sources(changed, known_senders_only=sources.known_senders_only)


def _is_valid(row: Any, day: date) -> bool:
    return (row.valid_from is None or row.valid_from <= day) and (row.valid_to is None or day <= row.valid_to)


# ── codes that nothing maps ─────────────────────────────────────────────────

Sighting = tuple[str, str, str]
"""Source, kind and local code."""


def note_sightings(work: Work, sightings: Iterable[tuple[int, Sighting]], seen_at: datetime) -> None:
    """Note local codes that messages named and nothing maps, each message once however often it is read.

    Codes too long to be any are passed over.
    """
    messages: dict[Sighting, set[int]] = defaultdict(set)
    for seq, sighting in sightings:
        if sighting[2] and len(sighting[2]) <= LONGEST:
            messages[sighting].add(seq)
    table, met = table_of(CodeSighting), table_of(CodeMet)
    insert = sqlite.insert if work.session.get_bind().dialect.name == "sqlite" else postgresql.insert
    for source, kind, local_code in sorted(messages):  # in one order, for two workers at once
        statement: Any = insert(table).values(
            id=work.new_id(), source=source, kind=kind, local_code=local_code, number=0, first_seen_at=seen_at,
            last_seen_at=seen_at,
        )  # fmt: skip
        key = work.execute(
            statement.on_conflict_do_update(
                index_elements=[table.c.source, table.c.kind, table.c.local_code],
                set_={"last_seen_at": statement.excluded.last_seen_at},
            ).returning(table.c.id)
        ).scalar_one()
        rows = [{"sighting_id": key, "seq": seq} for seq in sorted(messages[source, kind, local_code])]
        new: Any = work.execute(insert(met).values(rows).on_conflict_do_nothing().returning(met.c.seq)).all()
        if new:
            work.execute(sa.update(table).where(table.c.id == key).values(number=table.c.number + len(new)))


def sighting_of(work: Work, *, source: str, kind: str, local_code: str) -> CodeSighting | None:
    """What is known of the messages that named a code before it was mapped."""
    return work.session.scalars(
        sa.select(CodeSighting).where(
            CodeSighting.source == source, CodeSighting.kind == kind, CodeSighting.local_code == local_code
        )
    ).first()


@dataclass(frozen=True, slots=True)
class UnmappedCode:
    """A local code that waits to be mapped."""

    source: str
    kind: str
    local_code: str
    number: int
    first_seen_at: datetime
    last_seen_at: datetime


def list_unmapped(work: Work, sources: Sources, *, limit: int = 200) -> Sequence[UnmappedCode]:
    """Codes that were met and mean nothing today, the latest first: a map that has run out is none."""
    today = local_date(work.clock.now())
    mapped = {
        (row.source, row.kind, row.local_code)
        for row in work.execute(sa.select(table_of(CodeMap)))
        if _is_valid(row, today)
    }
    rows = work.scalars(sa.select(CodeSighting).order_by(CodeSighting.last_seen_at.desc(), CodeSighting.id))
    found = []
    for row in rows:
        source = sources.by_code.get(row.source)
        told = source and row.local_code in getattr(source, CODE_KINDS[row.kind].table)
        if not told and (row.source, row.kind, row.local_code) not in mapped:
            found.append(
                UnmappedCode(
                    row.source, row.kind, row.local_code, row.number, row.first_seen_at, row.last_seen_at
                )
            )
    return found[:limit]


@dataclass(frozen=True, slots=True)
class MappedCode:
    """A line of the table as it counts: from the file (id None) or from the console."""

    source: str
    kind: str
    local_code: str
    target: str
    word: str
    id: str | None = None
    valid_from: date | None = None
    valid_to: date | None = None
    replaces: str | None = None  # what the file says


def list_mapped(work: Work, sources: Sources, *, source_code: str, kind: str) -> Sequence[MappedCode]:
    """One table of one source: rows of the console, then what its file says and no row replaces today."""
    source = sources.by_code.get(source_code)
    file: Mapping[str, str] = getattr(source, CODE_KINDS[kind].table) if source else {}
    names = dict(CODE_KINDS[kind].words or {})
    if kind == "department":
        names = {row.code: row.name for row in work.execute(sa.select(Department.code, Department.name))}
    rows = work.scalars(
        sa.select(CodeMap)
        .where(CodeMap.source == source_code, CodeMap.kind == kind)
        .order_by(CodeMap.local_code, CodeMap.valid_from, CodeMap.id)
    )
    own = [
        MappedCode(
            source_code, kind, row.local_code, row.target, names.get(row.target, ""), row.id, row.valid_from,
            row.valid_to, file.get(row.local_code),
        )
        for row in rows
    ]  # fmt: skip
    today = local_date(work.clock.now())
    replaced = {row.local_code for row in rows if _is_valid(row, today)}
    return own + [
        MappedCode(source_code, kind, code, target, names.get(target, ""))
        for code, target in sorted(file.items())
        if code not in replaced
    ]
