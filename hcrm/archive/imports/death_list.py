"""A death list as a file: columns, and what each line would do. Also how a list of a folder or a view is taken in."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa

from hcrm.archive.death_list.match import Claim, Judged, judge_claims
from hcrm.archive.death_list.models import SAYS_DEAD, DeathListEntry, EntryState
from hcrm.archive.death_list.service import fingerprint, follow_list, state_of
from hcrm.archive.death_list.state import withdraw_list
from hcrm.archive.imports.people import NAME, RECORD_NO
from hcrm.core.clock import local_date
from hcrm.core.db import table_of
from hcrm.core.importing import (
    CellKind,
    Change,
    Column,
    Finding,
    Given,
    Importer,
    Problem,
    Setting,
    Verdict,
    Writes,
)
from hcrm.core.text import clean_id_number, clean_name, is_id_number
from hcrm.core.work import Row, Work

KIND = "death_list"
_COLUMNS = (
    Column("name", "姓名", "须与档案中的姓名一致", (*NAME.names, "死者姓名"), required=True, most=100),
    Column(
        "id_number", "身份证号", "18 位；请设为文本格式",
        ("证件号", "证件号码", "身份证", "身份证号码", "公民身份号码", "有效身份证件号码"), most=32,
    ),
    Column("record_no", "病案号", "没有身份证号时，与姓名、出生日期一起认人", RECORD_NO.names, most=64),
    Column(
        "birth_date", "出生日期", "2026-11-22、2026/11/22、20261122 都可以", ("生日", "出生年月日"), kind=CellKind.DAY
    ),
    Column("died_on", "死亡日期", "不清楚可以空着", ("死亡时间", "去世日期", "死亡年月日"), kind=CellKind.DAY),
)  # fmt: skip


def claim_in(work: Work, given: Given) -> Claim:
    """What a line of a file says."""
    number = clean_id_number(given.text("id_number"))
    return Claim(
        name=clean_name(given.text("name")),
        id_index=work.keys.blind("id", number) if number else None,
        record_no=given.text("record_no") or None,
        birth_date=given.get("birth_date"),
        died_on=given.get("died_on"),
    )


def problems_in(work: Work, given: Given) -> list[Problem]:
    """What is wrong with a line, whoever it means."""
    problems: list[Problem] = []
    number = clean_id_number(given.text("id_number"))
    if number and not is_id_number(number):
        problems.append(Problem("id_number", "身份证号不对：应为 18 位，末位校验须相符"))
    if not number and not (given.get("record_no") and given.get("birth_date")):
        problems.append(Problem("", "需要身份证号；没有时需要病案号和出生日期"))
    died_on, born = given.get("died_on"), given.get("birth_date")
    if died_on and died_on > local_date(work.clock.now()):
        problems.append(Problem("died_on", "死亡日期不能晚于今天"))
    elif died_on and born and died_on < born:
        problems.append(Problem("died_on", "死亡日期早于出生日期"))
    return problems


class _DeathBatch:
    """Lines of a death list."""

    def __init__(self, work: Work, givens: Sequence[Given], setting: Setting) -> None:
        self.work = work
        self.givens = givens
        self.setting = setting
        self.claims = [claim_in(work, given) for given in givens]
        self.prints = [fingerprint(work, claim) for claim in self.claims]
        self.judged = judge_claims(work, self.claims)
        self.standing = _standing(work, self.prints)
        self.findings: Sequence[Finding] = [
            self._find(given, judged, self.standing.get(mark))
            for given, judged, mark in zip(givens, self.judged, self.prints, strict=True)
        ]

    def _find(self, given: Given, judged: Judged, row: Row | None) -> Finding:
        if problems := problems_in(self.work, given):
            return Finding(Verdict.WRONG, problems=tuple(problems))
        if row is not None:
            died_on = given.get("died_on")
            if died_on in (None, row["died_on"]):
                return Finding(Verdict.SAME)
            changes = [Change("死亡日期", _day(row["died_on"]), _day(died_on))]
            state = self._state(row, judged)
            if state is not row["state"]:
                changes.append(Change("核对", row["state"].label, state.label))
            patient_id = judged.patient.id if judged.patient and state in SAYS_DEAD else row["patient_id"]
            return Finding(Verdict.CHANGED, patient_id, tuple(changes), marks=(row["id"], state.value))
        state = state_of(judged)
        marks = (state.value, *(one.id for one in judged.candidates))
        if judged.patient is not None:
            is_new = state is EntryState.MATCHED
            change = Change("死亡", "" if is_new else "已登记", "登记已故" if is_new else "死亡名单核实")
            return Finding(
                Verdict.CHANGED if is_new else Verdict.NEW, judged.patient.id, (change,), marks=marks
            )
        words = judged.reason.label if judged.reason else "没有这份档案，留存备查"
        return Finding(Verdict.NEW, None, (Change(state.label, "", words),), marks=marks)

    @staticmethod
    def _state(row: Row, judged: Judged) -> EntryState:
        """What a line comes to with its new day: one that nobody decided may fit now."""
        if row["state"] in (EntryState.NEAR, EntryState.UNKNOWN):
            return state_of(judged)
        return EntryState(row["state"])

    def write(self, at: int, writes: Writes) -> str | None:
        """Keep the line. Whom it names is told dead by `follow_list`, once all lines of the batch stand."""
        claim, judged = self.claims[at], self.judged[at]
        if (row := self.standing.get(self.prints[at])) is not None:
            state = self._state(row, judged)
            values: dict[str, Any] = {"died_on": claim.died_on, "state": state}
            if state is not row["state"] or state is EntryState.NEAR:
                values |= {
                    "reason": judged.reason,
                    "patient_id": judged.patient.id if judged.patient else None,
                }
            writes.change(DeathListEntry, row, **values)
            found: str | None = row["patient_id"]
            return found
        number = clean_id_number(self.givens[at].text("id_number"))
        patient_id = judged.patient.id if judged.patient else None
        writes.insert(
            DeathListEntry, fingerprint=self.prints[at], name=claim.name,
            id_number_sealed=self.work.keys.seal_text(number) if number else None, id_index=claim.id_index,
            record_no=claim.record_no, birth_date=claim.birth_date, died_on=claim.died_on, state=state_of(judged),
            reason=judged.reason, patient_id=patient_id, import_id=self.setting.run_id,
            created_at=self.work.clock.now(), decided_at=None, decided_by=None, note=None,
        )  # fmt: skip
        return patient_id


def days_told(work: Work, prints: Sequence[str]) -> dict[str, date | None]:
    """Which of them an earlier list told, with their day of death."""
    rows = work.execute(
        sa.select(DeathListEntry.fingerprint, DeathListEntry.died_on).where(
            work.among(DeathListEntry.fingerprint, prints)
        )
    )
    return {row.fingerprint: row.died_on for row in rows}


def is_news(told: Mapping[str, date | None], mark: str, died_on: date | None) -> bool:
    """Whether a line says what no earlier list did: somebody new, or another day of death."""
    return mark not in told or died_on not in (None, told[mark])


def _standing(work: Work, prints: Sequence[str]) -> dict[str, Row]:
    """Lines that earlier lists told."""
    table = table_of(DeathListEntry)
    rows = work.execute(sa.select(table).where(work.among(table.c.fingerprint, prints))).mappings()
    return {row["fingerprint"]: dict(row) for row in rows}


def _day(value: date | None) -> str:
    return value.isoformat() if value else ""


def _key(given: Given) -> str:
    """One person of the list."""
    born = given.get("birth_date")
    words = (given.text("id_number"), given.text("record_no"), born.isoformat() if born else "")
    return "|".join((clean_name(given.text("name")), *words))


def death_importer() -> Importer:
    """A death list."""
    return Importer(
        kind=KIND, title="死亡名单",
        about="身份证号和姓名相同，或病案号、姓名、出生日期都相同的，登记已故并撤回全部待办，可以撤销；接近的只列出等人核对；"
        "没有档案的留存，以后建档时再核对。",
        columns=_COLUMNS, judge=_DeathBatch, key=_key,
        follow=lambda work, ids, _since: follow_list(work, ids), undone=withdraw_list, may_be_empty=True,
    )  # fmt: skip
