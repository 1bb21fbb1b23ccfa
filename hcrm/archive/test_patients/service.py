"""Test patients (测试患者): by rule when an archive is absorbed, by a person's mark, which wins over any rule.

They are in no list, figure, segment or export (`hcrm.archive.scope`), hold no open instruction and are never sent to
but on numbers the settings allow. Their own page opens.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from hcrm.archive.batch import Row, Rows, stamp
from hcrm.archive.death import lock_patient
from hcrm.archive.events import PatientMarkedTest, PatientUnmarkedTest
from hcrm.archive.models import IdentifierKind, Patient, PatientIdentifier
from hcrm.archive.queries import patient_in_scope, record_list_read
from hcrm.archive.terms import PatientMark
from hcrm.archive.test_patients.rules import TestPatientRules, normal, published_test_rules
from hcrm.archive.timeline import add_entry
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.errors import ConflictError, HcrmError
from hcrm.core.text import clean_phone
from hcrm.core.work import Work
from hcrm.web.paging import Page, keyset_page

BY_RULES = "rules"
"""Source of what the rules said, in the provenance of `is_test`."""


def may_send_test(number: str, allowed: Sequence[str]) -> bool:
    """Whether a message for a test patient may go to that phone number: only to those of the settings."""
    wanted = clean_phone(number)
    return bool(wanted) and wanted in {clean_phone(each) for each in allowed}


# ── when an archive is absorbed ─────────────────────────────────────────────


def note_test_patients(work: Work, patients: Rows, numbers_by_patient: Mapping[str, Sequence[Row]]) -> None:
    """Judge the archives of a batch that are about to be written; a person's mark stands."""
    touched = [row for row in patients.touched() if row["test_mark"] is None and not row["merged_into_id"]]
    rules = published_test_rules(work) if touched else None
    if rules is None:
        return
    for row in touched:
        reason = rules.reason(row["name"], _live_numbers(numbers_by_patient.get(row["id"], ())))
        if (reason is not None) is not row["is_test"]:
            _emit(work, row["id"], row["provenance"], reason is not None)
            told = {**row["provenance"], "is_test": stamp(work.clock.now(), BY_RULES, 0)}
            patients.change(row, is_test=reason is not None, test_reason=reason, provenance=told)


def review_test_patient(work: Work, *, patient_id: str) -> None:
    """Judge one archive by the rules after people changed its name or numbers."""
    patient = lock_patient(work, patient_id)
    if patient.test_mark is None and patient.merged_into_id is None:
        _follow_rules(work, patient, published_test_rules(work))


def review_test_patients(work: Work, patient_ids: Iterable[str]) -> None:
    """The same for many, in bulk: after a file has named them or given them numbers."""
    rules = published_test_rules(work)
    if rules is None:
        return
    ids = sorted(set(patient_ids))
    rows = work.execute(
        sa.select(Patient.id, Patient.name, Patient.is_test, Patient.provenance, Patient.version)
        .where(work.among(Patient.id, ids), Patient.test_mark.is_(None), Patient.merged_into_id.is_(None))
        .order_by(Patient.id)
        .with_for_update()
    ).all()
    numbers: dict[str, list[str]] = {}
    for found in work.execute(
        _NUMBERS.add_columns(PatientIdentifier.patient_id).where(
            work.among(PatientIdentifier.patient_id, ids)
        )
    ):
        numbers.setdefault(found.patient_id, []).append(found.value)
    told = stamp(work.clock.now(), BY_RULES, 0)
    changed = []
    for row in rows:
        reason = rules.reason(row.name, numbers.get(row.id, ()))
        if (reason is not None) is not row.is_test:
            _emit(work, row.id, row.provenance, reason is not None)
            changed.append(
                {"id": row.id, "is_test": reason is not None, "test_reason": reason,
                 "provenance": {**row.provenance, "is_test": told}, "version": row.version + 1}
            )  # fmt: skip
    work.update_rows(Patient, changed)


def _live_numbers(rows: Sequence[Row]) -> list[str]:
    return [
        row["value"]
        for row in rows
        if row["kind"] == IdentifierKind.RECORD
        and row["value"]
        and row["ended_at"] is None
        and row["retired_at"] is None
    ]


# ── a person's word ─────────────────────────────────────────────────────────


def mark_test_patient(work: Work, *, patient_id: str, mark: PatientMark, reason: str) -> str:
    """Say that an archive is a test patient's, or a real one's, whatever the rules say; the id of who is shown."""
    reason = reason.strip()
    if not reason:
        raise HcrmError("patient.reason", "请填写原因", field="reason")
    patient = lock_patient(work, patient_in_scope(work, patient_id, "patient.mark_test").id)
    if patient.test_mark is mark:
        raise ConflictError("patient.test_mark", f"这份档案已标为{mark.label}")
    patient.test_mark, patient.test_reason = mark, reason
    _put(work, patient, mark is PatientMark.TEST, work.actor.id)
    _tell(work, patient, f"人工标为{mark.label}：{reason}", "patient.mark_test")
    return patient.id


def unmark_test_patient(work: Work, *, patient_id: str) -> str:
    """Take a person's mark back: the rules decide again."""
    patient = lock_patient(work, patient_in_scope(work, patient_id, "patient.mark_test").id)
    if patient.test_mark is None:
        raise ConflictError("patient.test_mark", "这份档案没有人工标记")
    patient.test_mark = None
    _follow_rules(work, patient, published_test_rules(work))
    _tell(work, patient, "取消人工标记，按规则判断", "patient.unmark_test")
    return patient.id


def _follow_rules(work: Work, patient: Patient, rules: TestPatientRules | None) -> None:
    numbers = work.scalars(_NUMBERS.where(PatientIdentifier.patient_id == patient.id))
    reason = rules.reason(patient.name, numbers) if rules else None
    patient.test_reason = reason
    _put(work, patient, reason is not None, BY_RULES)


def _put(work: Work, patient: Patient, is_test: bool, source: str) -> None:
    if patient.is_test is not is_test:
        _emit(work, patient.id, patient.provenance, is_test)
        patient.is_test = is_test
        patient.provenance = {**patient.provenance, "is_test": stamp(work.clock.now(), source, 0)}
    work.session.flush()


def _emit(work: Work, patient_id: str, provenance: Mapping[str, Any], is_test: bool) -> None:
    if is_test:
        work.emit(PatientMarkedTest(patient_id=patient_id))
    else:
        since = (provenance.get("is_test") or [work.clock.now().isoformat()])[0]
        work.emit(PatientUnmarkedTest(patient_id=patient_id, noted_at=since))


def _tell(work: Work, patient: Patient, words: str, action: str) -> None:
    add_entry(
        work, patient_id=patient.id, happened_at=work.clock.now(), kind="test", title=words,
        subject_type="patient", subject_id=patient.id,
    )  # fmt: skip
    record_audit(
        work, action=action, patients=[patient.id], subject_type="patient", subject_id=patient.id,
        detail={"mark": patient.test_mark.value if patient.test_mark else None},
    )  # fmt: skip


# ── new rules over the archive ──────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class RuleChange:
    """An archive that new rules judge otherwise."""

    id: str
    name: str
    reason: str | None  # None: no rule fits any more
    noted_at: str | None


@dataclass(slots=True)
class RulePreview:
    """What new rules would do to the archive as it stands."""

    become: list[RuleChange] = field(default_factory=list)
    cease: list[RuleChange] = field(default_factory=list)
    marked: int = 0  # judged otherwise, but a person's mark stands
    fits: Counter[str] = field(default_factory=Counter)
    """Archives of patients each rule fits, whatever other rules do."""

    @property
    def total(self) -> int:
        """How many archives would change."""
        return len(self.become) + len(self.cease)


def preview_test_rules(work: Work, rules: TestPatientRules) -> RulePreview:
    """Judge every archive by rules that are not in force: who would become a test patient, who would cease to be one.

    The database looks through names and record numbers and hands over what may fit; the rules decide.
    """
    numbers: dict[str, list[str]] = {}
    may_fit = [sa.func.lower(Patient.name).contains(text, autoescape=True) for text in rules.needles()]
    if rules.record_numbers:
        may_fit.append(
            Patient.id.in_(sa.select(PatientIdentifier.patient_id).where(*_LIVE_NUMBER, _of(rules)))
        )
        for number in work.execute(
            sa.select(PatientIdentifier.patient_id, PatientIdentifier.value)
            .where(*_LIVE_NUMBER, _of(rules))
            .execution_options(yield_per=limits.STREAMED_ROWS)
        ):
            if rules.reason("", (number.value,)):
                numbers.setdefault(number.patient_id, []).append(number.value)
    preview = RulePreview()
    for row in work.execute(
        sa.select(Patient.id, Patient.name, Patient.is_test, Patient.test_mark, Patient.test_reason)
        .where(Patient.merged_into_id.is_(None), sa.or_(Patient.is_test, *may_fit))
        .execution_options(yield_per=limits.STREAMED_ROWS)
    ):
        reasons = list(rules.reasons(row.name, numbers.get(row.id, ())))
        reason = reasons[0] if reasons else None
        if not row.is_test:
            preview.fits.update(set(reasons))
        if (reason is not None) is row.is_test:
            continue
        if row.test_mark is not None:
            preview.marked += 1
            continue
        (preview.become if reason else preview.cease).append(RuleChange(row.id, row.name, reason, None))
    return preview


def _of(rules: TestPatientRules) -> sa.ColumnElement[bool]:
    """Record numbers that may be of one of the ranges."""
    number = PatientIdentifier.value
    return sa.or_(
        sa.false(),
        *(
            sa.func.upper(number).startswith(normal(one.starts), autoescape=True)
            if one.starts
            else sa.func.length(number) == len(one.from_ or "")
            for one in rules.record_numbers
        ),
    )


def apply_test_rules(work: Work, rules: TestPatientRules) -> RulePreview:
    """Bring the archive to what these rules say, in one batch; the facts that follow withdraw and restore."""
    preview = preview_test_rules(work, rules)
    if preview.total > limits.TEST_PATIENTS_AT_ONCE:
        raise HcrmError(
            "test_patients.too_many",
            f"这些规则会一次改变 {preview.total:,} 份档案，超过 {limits.TEST_PATIENTS_AT_ONCE:,} 份；请把规则写得更窄",
            field="names",
        )
    reasons = {one.id: one.reason for one in (*preview.become, *preview.cease)}
    now = stamp(work.clock.now(), BY_RULES, 0)
    rows = work.execute(
        sa.select(Patient.id, Patient.provenance, Patient.version)
        .where(work.among(Patient.id, reasons), Patient.test_mark.is_(None))
        .order_by(Patient.id)
        .with_for_update()
    ).all()
    for row in rows:
        _emit(work, row.id, row.provenance, reasons[row.id] is not None)
    work.update_rows(
        Patient,
        [
            {"id": row.id, "is_test": reasons[row.id] is not None, "test_reason": reasons[row.id],
             "provenance": {**row.provenance, "is_test": now}, "version": row.version + 1}
            for row in rows
        ],
    )  # fmt: skip
    record_audit(
        work, action="test_patients.apply", patients=sorted(reasons), subject_type="definition",
        subject_id=f"{rules.code}:{rules.version}",
        detail={"become": len(preview.become), "cease": len(preview.cease)},
    )  # fmt: skip
    return preview


def follow_test_rules(work: Work) -> int:
    """Judge whom the rules in force have missed: absorbed in the moment they were published. How many changed."""
    rules = published_test_rules(work)
    return apply_test_rules(work, rules).total if rules and preview_test_rules(work, rules).total else 0


# ── reading ─────────────────────────────────────────────────────────────────


def count_test_patients(work: Work) -> int:
    """How many archives are test patients'."""
    statement = sa.select(sa.func.count()).select_from(Patient)
    return int(work.scalar(statement.where(Patient.is_test, Patient.merged_into_id.is_(None))))


def list_test_patients(work: Work, *, key: str | None = None) -> Page[Any]:
    """Every test patient, the newest archive first: `Patient` and one `record_no`; noted as a read."""
    record_no = (
        sa.select(sa.func.max(PatientIdentifier.value))
        .where(PatientIdentifier.patient_id == Patient.id, *_LIVE_NUMBER)
        .correlate(Patient)
        .scalar_subquery()
    )
    statement = sa.select(Patient, record_no.label("record_no")).where(
        Patient.is_test, Patient.merged_into_id.is_(None)
    )
    page = keyset_page(work, statement, order=[Patient.id.desc()], key=key)
    record_list_read(work, "test_patients.list", [row.Patient.id for row in page.items])
    return page


_LIVE_NUMBER = (
    PatientIdentifier.kind == IdentifierKind.RECORD,
    PatientIdentifier.value.is_not(None),
    PatientIdentifier.ended_at.is_(None),
    PatientIdentifier.retired_at.is_(None),
)
_NUMBERS = sa.select(PatientIdentifier.value).where(*_LIVE_NUMBER)
