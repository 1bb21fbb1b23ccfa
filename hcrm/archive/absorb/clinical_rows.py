"""The live rows of one clinical table during a batch, and the one rule by which a message changes them."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from hcrm.archive.batch import Row, Rows, values_in
from hcrm.archive.clinical.terms import UNSETTLED
from hcrm.archive.records import Change
from hcrm.core.work import Work

_KEYS_AT_ONCE = 5_000  # databases limit how many values one statement may hold
_BLANK: tuple[object, ...] = (None, "", [])
Clock = tuple[bool, datetime, int]
"""Whether settled, the message's clock, its sequence number."""
_NEVER: Clock = (False, datetime.min.replace(tzinfo=UTC), 0)
NEW, CHANGED, FILLED, SAME, OLDER = "new", "changed", "filled", "same", "older"
"""What became of a row."""


class Word:
    """What every row of one message has in common."""

    def __init__(self, change: Change, seq: int, patient_id: str, visit: Row | None) -> None:
        self.source, self.told_at, self.seq = change.source, change.told_at, seq
        self.patient_id = patient_id
        self.encounter_id = visit["id"] if visit else None
        self.names_visit = change.encounter is not None and bool(change.encounter.visit_no)


class LiveRows:
    """The live rows of one table, found by patient and number (a result: by report and key)."""

    def __init__(
        self, work: Work, model: type[Any], *, owner: str = "patient_id", name: str = "number"
    ) -> None:
        self._work = work
        self._model = model
        self._owner, self._name = owner, name
        self.rows = Rows(work, model, owner)
        self._live: dict[tuple[str, str], list[Row]] = {}

    def gather(self, patient_ids: Iterable[str], numbers: Iterable[str], *, by: str = "number") -> None:
        """Load the live rows of these numbers."""
        patients = values_in(self._model.patient_id, patient_ids)
        for some in portions(sorted(set(numbers))):
            self._load(patients, getattr(self._model, by).in_(some))

    def gather_of(self, owner_ids: Sequence[str]) -> None:
        """Load the live rows of these owners."""
        for some in portions(owner_ids):
            self._load(getattr(self._model, self._owner).in_(some))

    def _load(self, *where: Any) -> None:
        for row in self.rows.load(*where, self._model.ended_at.is_(None)):
            self._keep(row)

    def _keep(self, row: Row) -> None:
        self._live.setdefault((row[self._owner], row[self._name]), []).append(row)

    def live(self) -> Iterator[Row]:
        """Every live row that is here."""
        return (row for rows in self._live.values() for row in rows)

    def of(self, owner_id: str) -> list[Row]:
        """The live rows of one owner."""
        return [row for row in self.rows.by_owner[owner_id] if row["ended_at"] is None]

    def numbered(self, owner_id: str, number: str) -> list[Row]:
        """The live rows of that number, whatever their code."""
        return self._live.get((owner_id, number), [])

    def find(self, owner_id: str, number: str, code: str | None = None) -> Row | None:
        """The live row; where a merge brought two together, the one told last."""
        found = [row for row in self.numbered(owner_id, number) if code is None or row["code"] == code]
        return max(found, key=lambda row: (row["confirmed_at"], row["seq"]), default=None)

    def replacing(self, owner_id: str, number: str) -> bool:
        """Whether another live document says that it replaces that one."""
        return any(row["replaces"] == number and row["number"] != number for row in self.of(owner_id))

    def put(
        self,
        live: Row | None,
        word: Word,
        values: Row,
        blank: Row,
        secrets: dict[str, Any],
        identity: Row,
        *,
        is_final: bool = True,
        owner: str | None = None,
        is_whole: bool = False,
    ) -> tuple[Row, str]:
        """Bring the row to what the message says; the row, and what became of it.

        `None` among the values: the sender said nothing. `is_whole`: it said everything, and None empties.
        `is_final`: an unsettled result never takes the place of a settled one.
        """
        if live is None:
            return self._new(word, values, blank, secrets, identity, owner, is_whole), NEW
        told = {name: value for name, value in values.items() if is_whole or value is not None}
        told |= {name: _plain(value) for name, value in secrets.items() if value is not None}
        clock = (is_final, word.told_at, word.seq)
        standing = (
            "status" not in live or live["status"] not in UNSETTLED,
            live["confirmed_at"],
            live["seq"],
        )
        known = {} if is_whole else dict(live["provenance"])
        taken = {
            name: value
            for name, value in told.items()
            if clock >= (standing if is_whole else self._clock_of(live, name, standing))
        }
        differing = {
            name: value for name, value in taken.items() if self._differs(live, name, value, secrets)
        }
        news = {
            name: self._seal(value) if name in secrets else value for name, value in differing.items()
        } | self._attached(live, word)
        is_older = clock < standing
        if not is_whole:
            if is_older:
                known |= {name: _written(clock) for name in taken}
            else:
                left = [name for name in (*values, *secrets) if name not in told and name not in known]
                known |= {name: _written(standing) for name in left if live[name] not in _BLANK}
                known = {name: since for name, since in known.items() if name not in taken}
            news["provenance"] = known
        if is_older:
            self.rows.change(live, **news)
            return live, FILLED if differing else OLDER
        if not differing:
            self.rows.change(live, **news, confirmed_at=max(live["confirmed_at"], word.told_at))
            return live, SAME
        if live["seq"] != word.seq:  # read anew by other settings it is no other word
            past = {name: value for name, value in live.items() if name != "id"}
            self.rows.add(**{**past, "ended_at": self._work.clock.now()})
        self.rows.change(
            live, **news, source=word.source, as_of=word.told_at, seq=word.seq, confirmed_at=word.told_at
        )
        return live, CHANGED

    @staticmethod
    def _clock_of(live: Row, name: str, standing: Clock) -> Clock:
        """Since when a value stands: the row's clock, its own where another message told it, none if nobody did."""
        since = live["provenance"].get(name)
        if since:
            return bool(since[0]), datetime.fromisoformat(since[1]), int(since[2])
        return _NEVER if since is not None or live[name] in _BLANK else standing

    def _differs(self, live: Row, name: str, value: Any, secrets: Row) -> bool:
        return bool((self._opened(live[name]) if name in secrets else live[name]) != value)

    def _new(
        self, word: Word, values: Row, blank: Row, secrets: dict[str, Any], identity: Row, owner: str | None,
        is_whole: bool,
    ) -> Row:  # fmt: skip
        told = {name: value for name, value in values.items() if value is not None or name not in blank}
        row = {
            **blank, **told, **{name: self._seal(value) for name, value in secrets.items()}, **identity,
            self._owner: owner or word.patient_id, "source": word.source, "as_of": word.told_at, "seq": word.seq,
            "confirmed_at": word.told_at, "ended_at": None,
        }  # fmt: skip
        if owner is None:
            row["encounter_id"] = word.encounter_id
        if not is_whole:  # what only stands there because something has to
            untold = (name for name, value in values.items() if value is None and name in blank)
            row["provenance"] = {name: [] for name in untold if blank[name] not in _BLANK}
        made = self.rows.add(**row)
        self._keep(made)
        return made

    def _attached(self, live: Row, word: Word) -> Row:
        """The visit, once it is known: only the number can say it later (a replay must not choose anew)."""
        if "encounter_id" in live and live["encounter_id"] is None and word.names_visit and word.encounter_id:
            return {"encounter_id": word.encounter_id}
        return {}

    def _seal(self, value: str | bytes | None) -> bytes | None:
        return self._work.keys.seal(_plain(value)) if value else None

    def _opened(self, sealed: bytes | None) -> bytes:
        return b"" if sealed is None else self._work.keys.open(sealed)


def _written(clock: Clock) -> list[Any]:
    """A clock as `provenance` keeps it."""
    return [clock[0], clock[1].isoformat(), clock[2]]


def _plain(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def portions(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """The values in parts that a statement can hold."""
    for start in range(0, len(values), _KEYS_AT_ONCE):
        yield values[start : start + _KEYS_AT_ONCE]
