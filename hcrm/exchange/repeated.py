"""Rows of a file that earlier rows of it have said already, or that contradict them; found by keyed fingerprints."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from hcrm.core.db import table_of
from hcrm.core.importing import Finding, Given, Importer, Problem, Verdict, plain
from hcrm.core.work import Work
from hcrm.exchange.models import ImportRow, ImportRun

_ROW = table_of(ImportRow)


@dataclass(frozen=True, slots=True)
class Prints:
    """Fingerprints of a row: what it speaks of, all it says, what it may share with no row about something else."""

    key: str
    content: str
    own: str | None


def prints_of(work: Work, importer: Importer, givens: Sequence[Given]) -> dict[int, Prints]:
    """Of each of these rows, by its number."""
    blind = work.keys.blind
    keys: dict[int, Prints] = {}
    for given in givens:
        said = {code: plain(value) for code, value in sorted(given.values.items())}
        values = json.dumps([said, given.rest], ensure_ascii=False)
        own = importer.own[1](given) if importer.own else None
        keys[given.number] = Prints(
            blind("import_key", importer.key(given) or values), blind("import_content", values),
            blind("import_own", own) if own else None,
        )  # fmt: skip
    return keys


def find_repeated(
    work: Work, run: ImportRun, importer: Importer, keys: Mapping[int, Prints]
) -> dict[int, Finding]:
    """Rows that speak of what an earlier row of the file speaks of, or share what is another's own."""
    if not keys:
        return {}
    by_key = _earlier(work, run, _ROW.c.key_index, {one.key for one in keys.values()}, min(keys))
    owned = {one.own for one in keys.values() if one.own}
    by_own = _earlier(work, run, _ROW.c.own_index, owned, min(keys)) if owned else {}
    found: dict[int, Finding] = {}
    for number, prints in sorted(keys.items()):
        if (first := by_key.setdefault(prints.key, (number, prints.content)))[0] != number:
            is_same = first[1] == prints.content
            words = "内容相同，不再导入" if is_same else "说的是同一条，内容却不同，请核对后只留一行"
            verdict = Verdict.REPEATED if is_same else Verdict.WRONG
            found[number] = Finding(verdict, problems=(Problem("", f"与第 {first[0]} 行{words}"),))
        elif prints.own and (holder := by_own.setdefault(prints.own, (number, None))[0]) != number:
            assert importer.own is not None
            problem = Problem(importer.own[0], f"与第 {holder} 行相同，那一行说的是另一条，请先核对")
            found[number] = Finding(Verdict.AMBIGUOUS, problems=(problem,))
    return found


def _earlier(
    work: Work, run: ImportRun, column: Any, prints: Collection[str], before: int
) -> dict[str, tuple[int, str | None]]:
    """The first rows before that one with these fingerprints: number, and fingerprint of all they say."""
    rows = work.execute(
        sa.select(column.label("print"), _ROW.c.number, _ROW.c.content_index)
        .where(_ROW.c.run_id == run.id, work.among(column, prints), _ROW.c.number < before)
        .order_by(_ROW.c.number)
    )
    found: dict[str, tuple[int, str | None]] = {}
    for row in rows:
        found.setdefault(row.print, (row.number, row.content_index))
    return found
