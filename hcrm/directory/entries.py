"""Changing the directory by hand: campuses, departments, staff, regions, code maps. One way for all of them.

Every change is kept with who, when, before and after. Nobody overwrites unseen: the form carries what it showed, and
where somebody changed the same field meanwhile both are shown. The latest change of an entry can be taken back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from hcrm.audit.service import record_audit
from hcrm.core.db import Base
from hcrm.core.errors import ConflictError, HcrmError, NotFoundError
from hcrm.core.inputs import Input
from hcrm.core.work import Work
from hcrm.directory.models import DirectoryChange

Values = dict[str, Any]
Check = Callable[[Work, str | None, Values], None]
"""Refuses what cannot stand: the entry's key (None: a new one) and its values."""


@dataclass(frozen=True, slots=True)
class EntryKind:
    """One kind of entry. `fields` are what a form may change, by name; `code` cannot change once it is given."""

    code: str
    label: str
    model: type[Base]
    inputs: type[Input]
    fields: Mapping[str, str]
    check: Check
    key: str = "id"
    fixed: tuple[str, ...] = ("code",)
    verifies: bool = False  # saving says that the hospital stands for it
    also: Mapping[str, str] | None = None  # kept in the history, changed by no form
    words: Mapping[str, str] | None = None  # what values of closed lists are called
    derived: Callable[[Values], Values] = (
        lambda _values: {}
    )  # columns of a new entry that follow from its values

    @property
    def kept(self) -> dict[str, str]:
        """Every field of the history, and its word."""
        return {**self.fields, **(self.also or {}), **({"is_verified": "已核实"} if self.verifies else {})}


@dataclass(frozen=True, slots=True)
class Clash:
    """A field that two people changed."""

    label: str
    mine: Any
    current: Any
    original: Any


class EntryConflict(ConflictError):
    """Somebody changed the same fields meanwhile."""

    def __init__(self, clashes: Sequence[Clash], current: Values) -> None:
        super().__init__("directory.conflict", "有人同时修改了这些内容，请核对后再保存")
        self.clashes = clashes
        self.current = current


def plain(value: Any) -> Any:
    """A value as history and forms keep it."""
    return value.isoformat() if isinstance(value, date) else value


def values_of(kind: EntryKind, row: Any) -> Values:
    """What stands, as plain values."""
    return {name: plain(getattr(row, name)) for name in kind.kept}


def get_entry(work: Work, kind: EntryKind, key: str, *, lock: bool = False) -> Any:
    """The row of that key."""
    row = work.session.get(kind.model, key, with_for_update=lock or None, populate_existing=lock)
    if row is None:
        raise NotFoundError
    return row


def create_entry(work: Work, kind: EntryKind, entered: Input) -> str:
    """A new entry; its key."""
    values = entered.model_dump()
    kind.check(work, None, values)
    fresh: Values = {"created_at": work.clock.now()} if hasattr(kind.model, "created_at") else {}
    fresh |= kind.derived(values) | ({} if kind.key in values else {kind.key: work.new_id()})
    if kind.verifies:
        fresh["is_verified"] = True
    row = kind.model(**values, **fresh)
    work.add(row)
    key = str(getattr(row, kind.key))
    _note(work, kind, key, "create", None, values_of(kind, row))
    return key


def change_entry(work: Work, kind: EntryKind, key: str, *, base: Mapping[str, Any], entered: Input) -> bool:
    """Change what the person changed, keep what somebody else did meanwhile; whether anything changed."""
    row = get_entry(work, kind, key, lock=True)
    before = values_of(kind, row)
    typed = {name: value for name, value in entered.model_dump().items() if name in kind.fields}
    mine = {name: plain(value) for name, value in typed.items()}
    clashes = [
        Clash(kind.fields[name], mine[name], before[name], base.get(name))
        for name in typed
        if name not in kind.fixed
        and base.get(name) not in (before[name], mine[name])
        and mine[name] != before[name]
    ]
    if clashes:
        raise EntryConflict(clashes, before)
    wanted = {
        name: value
        for name, value in typed.items()
        if name not in kind.fixed and mine[name] not in (before[name], base.get(name))
    }
    if kind.verifies:
        wanted["is_verified"] = True
    kind.check(work, key, {**{name: getattr(row, name) for name in kind.fields}, **wanted})
    _set(work, row, wanted)
    return _note(work, kind, key, "change", before, values_of(kind, row))


def undo_change(work: Work, kind: EntryKind, key: str, change_id: str) -> None:
    """Take the latest change of an entry back; refused where it is not the latest, or another part changed it since."""
    row = get_entry(work, kind, key, lock=True)
    last = next(iter(list_changes(work, kind, key)), None)
    # A merge of staff moved their stays and work too: it is taken back on its own page only.
    if last is None or last.id != change_id or last.before is None or last.action not in ("change", "load"):
        raise ConflictError("directory.undo", "只能撤销最近一次修改")
    now = values_of(kind, row)
    if any(now.get(name) != value for name, value in (last.after or {}).items() if name in kind.kept):
        raise ConflictError("directory.undo", "这之后内容又变了，不能撤销")
    types = kind.model.__table__.c
    wanted = {
        name: date.fromisoformat(value) if value and isinstance(types[name].type, sa.Date) else value
        for name, value in last.before.items()
        if name in kind.kept
    }
    kind.check(work, key, {**{name: getattr(row, name) for name in kind.fields}, **wanted})
    _set(work, row, wanted)
    _note(work, kind, key, "undo", now, values_of(kind, row))


def list_changes(work: Work, kind: EntryKind, key: str, *, limit: int = 50) -> Sequence[DirectoryChange]:
    """What became of an entry, the latest first."""
    return work.scalars(
        sa.select(DirectoryChange)
        .where(DirectoryChange.kind == kind.code, DirectoryChange.subject_id == key)
        .order_by(DirectoryChange.changed_at.desc(), DirectoryChange.id.desc())
        .limit(limit)
    )


def change_row(
    work: Work, kind: str, key: str, action: str, before: Values | None, after: Values | None
) -> dict[str, Any]:
    """A row of the history, for those who write many."""
    return {
        "id": work.new_id(), "kind": kind, "subject_id": key, "action": action, "before": before, "after": after,
        "actor_id": work.actor.id, "actor_name": work.actor.name, "changed_at": work.clock.now(),
    }  # fmt: skip


def _set(work: Work, row: Any, values: Values) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    work.session.flush()


def _note(work: Work, kind: EntryKind, key: str, action: str, before: Values | None, after: Values) -> bool:
    if before == after:
        return False
    work.insert(DirectoryChange, [change_row(work, kind.code, key, action, before, after)])
    record_audit(
        work, action="directory.undo" if action == "undo" else "directory.change", subject_type=kind.code,
        subject_id=key, detail={"act": action},
    )  # fmt: skip
    return True


def require_unique(work: Work, model: Any, column: Any, value: str, words: str) -> None:
    """Refuse a code that is taken."""
    if work.scalar(sa.select(model.id).where(column == value)) is not None:
        raise HcrmError("directory.code_taken", words, field="code")
