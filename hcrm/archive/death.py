"""A death we learn of from people, not from a message, its confirmation by a second source, and its taking back."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.events import DeathRevoked, PatientDied
from hcrm.archive.models import DeceasedState, Patient
from hcrm.archive.queries import patient_in_scope, record_list_read
from hcrm.archive.reach_models import DeathReport
from hcrm.archive.scope import scope_patients
from hcrm.archive.terms import BY_PEOPLE, DEATH_LIST, TOLD_BY_PEOPLE
from hcrm.archive.timeline import add_entry
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.clock import local_date
from hcrm.core.errors import ConflictError, HcrmError, NotFoundError
from hcrm.core.work import Work
from hcrm.web.paging import Page, keyset_page

LIST_WORD = "死亡名单"
"""Who told a death, and what confirmed it, where a list did."""


def report_death(
    work: Work,
    *,
    patient_id: str,
    source: str = TOLD_BY_PEOPLE,
    told_by: str = "",
    died_on: date | None = None,
    note: str = "",
    confirmation: str = "",
) -> str | None:
    """Note that somebody told us the patient has died; nothing more is sent or asked from now on. The report's key.

    What relatives say on the phone is no certificate: `died_on` is kept with the report, not as the date of death,
    and the death waits for a second source (`confirm_death`), unless `confirmation` names it. Known before, it is
    that source where another told it, and no report of its own is kept: None.
    """
    patient = lock_patient(work, patient_id)
    patient_id = patient.id
    if patient.deceased is DeceasedState.DECEASED:
        if DEATH_LIST in (source, *(row.source for row in standing_reports(work, [patient_id]))):
            _confirm_by_other(work, patient_id, source, told_by)
        return None
    if died_on is not None and died_on > local_date(work.clock.now()):
        raise HcrmError("death.date", "死亡日期不能晚于今天", field="died_on")
    told = patient.provenance.get("deceased")
    disputed = (told or []) if patient.deceased is DeceasedState.DISPUTED else None
    now = _put(work, patient, DeceasedState.DECEASED)  # one moment for both: it tells whose word stands
    actor = work.actor
    report = DeathReport(
        id=work.new_id(), patient_id=patient_id, source=source, told_by=told_by.strip(), died_on=died_on,
        note=note.strip(), created_at=now, actor_id=actor.id, actor_name=actor.name,
        confirmed_at=now if confirmation else None, confirmed_by=actor.name if confirmation else None,
        confirmation=confirmation or None, revoked_at=None, revoked_reason=None,
        disputed=disputed,
    )  # fmt: skip
    work.add(report)
    work.emit(PatientDied(patient_id=patient_id))
    record_audit(
        work,
        action="patient.report_death",
        patients=[patient_id],
        subject_type="patient",
        subject_id=patient_id,
    )
    return report.id


def record_death(
    work: Work, *, patient_id: str, told_by: str, died_on: date | None = None, note: str = "",
    confirmation: str = "",
) -> tuple[Patient, str | None]:  # fmt: skip
    """Note a death that somebody of ours learned of, on the patient's page; who told us must be named.

    It waits for a second source, unless that is known already: then `confirmation` says who or what it is. The patient,
    and the key of this report (`undo_report`), None where the death was known before.
    """
    if not told_by.strip():
        raise HcrmError("death.told_by", "请填写由谁告知", field="told_by")
    _require_other_source(confirmation, [told_by])
    confirmation = confirmation.strip()
    patient = patient_in_scope(work, patient_id, "patient.report_death")
    report_id = report_death(
        work, patient_id=patient.id, source=BY_PEOPLE, told_by=told_by, died_on=died_on, note=note,
        confirmation=confirmation,
    )  # fmt: skip
    if report_id is None:
        if confirmation:
            confirm_death(work, patient_id=patient.id, confirmation=confirmation)
        return patient, None
    add_entry(
        work, patient_id=patient.id, happened_at=work.clock.now(), kind="death",
        title=f"登记已故，死亡已核实：{confirmation}" if confirmation else "登记已故，待第二来源核实",
        subject_type="patient", subject_id=patient.id,
    )  # fmt: skip
    if confirmation:
        record_audit(
            work, action="death.confirm", patients=[patient.id], subject_type="patient", subject_id=patient.id
        )
    return patient, report_id


def undo_report(work: Work, *, patient_id: str, report_id: str, reason: str) -> Patient:
    """Take back a death the actor has just noted on the page, as long as nobody else has said the same; the patient."""
    patient = lock_patient(work, patient_in_scope(work, patient_id, "patient.revoke_death").id)
    report = work.session.get(DeathReport, report_id, populate_existing=True)
    is_own = report is not None and (report.source, report.actor_id) == (BY_PEOPLE, work.actor.id)
    if report is None or not is_own or report.patient_id != patient.id:
        raise NotFoundError
    if report.revoked_at is not None:
        raise ConflictError("death.undone", "这次登记已经撤销，没有再改动")
    is_as_told = report.confirmed_at in (None, report.created_at)  # else a second source came later
    if not is_as_told or [row.id for row in standing_reports(work, [patient.id])] != [report.id]:
        raise ConflictError(
            "death.told_since", "另有来源告知或核实了死亡，请核对；确属误登，可在此填写原因撤销"
        )
    return _revoke(work, patient, reason, report=report)


def _require_other_source(confirmation: str, told_by: Sequence[str]) -> None:
    """Whoever told it cannot be their own second source."""
    if confirmation.strip() and confirmation.strip() in [one.strip() for one in told_by]:
        raise HcrmError("death.same_source", "核实要有另一个来源，不能与告知的是同一个", field="confirmation")


def confirm_death(work: Work, *, patient_id: str, confirmation: str) -> Patient:
    """A second source says the same: who or what it was. Confirmed before, nothing changes."""
    if not confirmation.strip():
        raise HcrmError("death.confirmation", "请填写由谁、以什么核实", field="confirmation")
    patient = lock_patient(work, patient_in_scope(work, patient_id, "death.confirm").id)
    reports = [row for row in standing_reports(work, [patient.id]) if row.confirmed_at is None]
    if patient.deceased is not DeceasedState.DECEASED:
        raise ConflictError("death.not_told", "该患者没有登记已故")
    if not reports:
        return patient
    _require_other_source(confirmation, [row.told_by for row in reports])
    for report in reports:
        _confirm(work, report, by=work.actor.name, words=confirmation.strip())
    add_entry(
        work, patient_id=patient.id, happened_at=work.clock.now(), kind="death",
        title=f"死亡已核实：{confirmation.strip()}", subject_type="patient", subject_id=patient.id,
    )  # fmt: skip
    record_audit(
        work, action="death.confirm", patients=[patient.id], subject_type="patient", subject_id=patient.id
    )
    return patient


def confirm_told_deaths(work: Work, facts: Sequence[PatientDied]) -> int:
    """A message is the second source of a death that people had told us; how many reports it confirmed."""
    ids = {fact.patient_id for fact in facts}
    told = {
        patient.id: patient.provenance["deceased"][1]
        for patient in work.scalars(sa.select(Patient).where(work.among(Patient.id, ids)))
        if patient.deceased is DeceasedState.DECEASED and not _is_told_by_people(patient)
    }
    reports = [row for row in standing_reports(work, told) if row.confirmed_at is None]
    for report in reports:
        _confirm(work, report, by=told[report.patient_id], words="接口消息")
    return len(reports)


def standing_reports(work: Work, patient_ids: Any) -> Sequence[DeathReport]:
    """What was reported of these patients and not taken back; the latest first."""
    return work.scalars(
        sa.select(DeathReport)
        .where(work.among(DeathReport.patient_id, patient_ids), DeathReport.revoked_at.is_(None))
        .order_by(DeathReport.created_at.desc(), DeathReport.id.desc())
    )


def list_unconfirmed(work: Work, *, key: str | None = None, size: int = limits.PAGE_SIZE) -> Page[Any]:
    """Deaths told by one source only, the oldest first: `DeathReport`, `name`, `sex`, `birth_date`."""
    statement = sa.select(DeathReport, Patient.name, Patient.sex, Patient.birth_date).join(
        Patient, Patient.id == DeathReport.patient_id
    )
    page = keyset_page(
        work, scope_patients(statement.where(*_UNCONFIRMED), work.actor),
        order=[DeathReport.created_at, DeathReport.id], key=key, size=size,
    )  # fmt: skip
    record_list_read(work, "death.list", [row.DeathReport.patient_id for row in page.items])
    return page


def count_unconfirmed(work: Work) -> int:
    """How many deaths wait for a second source."""
    statement = (
        sa.select(sa.func.count())
        .select_from(DeathReport)
        .join(Patient, Patient.id == DeathReport.patient_id)
        .where(*_UNCONFIRMED)
    )
    return int(work.scalar(scope_patients(statement, work.actor)))


_UNCONFIRMED = (DeathReport.confirmed_at.is_(None), DeathReport.revoked_at.is_(None))


def _confirm_by_other(work: Work, patient_id: str, source: str, told_by: str) -> None:
    """What one source told and nobody has confirmed, another source tells too: a death list, or people after it."""
    waiting = [
        row
        for row in standing_reports(work, [patient_id])
        if row.confirmed_at is None and row.source != source
    ]
    for report in waiting:
        _confirm(
            work,
            report,
            by=work.actor.name,
            words=LIST_WORD if source == DEATH_LIST else told_by or "随访登记",
        )
    if waiting:
        record_audit(
            work, action="death.confirm", patients=[patient_id], subject_type="patient", subject_id=patient_id
        )


def _confirm(work: Work, report: DeathReport, *, by: str, words: str) -> None:
    report.confirmed_at, report.confirmed_by, report.confirmation = work.clock.now(), by, words
    work.session.flush()


def revoke_death(work: Work, *, patient_id: str, reason: str) -> Patient:
    """Say that the patient lives after all, with the reason: a slip is taken back, a dispute (B26, B37) decided.

    A death that people noted on top of a dispute gives way to that dispute, which nobody has decided. One that a
    message told stands until the sender takes it back. Of one who lives nothing changes.
    """
    reason = reason.strip()
    if not reason:
        raise HcrmError("patient.reason", "请填写原因", field="reason")
    patient = lock_patient(work, patient_in_scope(work, patient_id, "patient.revoke_death").id)
    if patient.deceased is DeceasedState.ALIVE:
        return patient
    return _revoke(work, patient, reason)


def _revoke(work: Work, patient: Patient, reason: str, *, report: DeathReport | None = None) -> Patient:
    """Take back what people noted. `report`: that one alone was a slip; else it is for a dispute to be decided too."""
    if not is_revocable(patient):
        raise ConflictError("patient.death_told", "死亡由 HIS 消息通知，请先在 HIS 更正，不能在此撤销")
    noted_at = (patient.provenance.get("deceased") or [work.clock.now().isoformat()])[0]
    is_disputed = _dispute_again(work, patient, report)
    if not is_disputed:
        _put(work, patient, DeceasedState.ALIVE)
    for row in standing_reports(work, [patient.id]):
        row.revoked_at, row.revoked_reason = work.clock.now(), reason
    work.session.flush()
    add_entry(
        work, patient_id=patient.id, happened_at=work.clock.now(), kind="death",
        title=f"死亡登记已撤销{'，恢复为存疑' if is_disputed else ''}：{reason}", subject_type="patient",
        subject_id=patient.id,
    )  # fmt: skip
    work.emit(DeathRevoked(patient_id=patient.id, noted_at=noted_at))
    record_audit(
        work,
        action="patient.revoke_death",
        patients=[patient.id],
        subject_type="patient",
        subject_id=patient.id,
    )
    return patient


def _dispute_again(work: Work, patient: Patient, slip: DeathReport | None) -> bool:
    """Let the dispute stand again that was there before the death was noted; False where there was none."""
    stamp = patient.provenance.get("deceased") or [""]
    reports = [slip] if slip is not None else standing_reports(work, [patient.id])
    for row in reports:
        if row.disputed is None:
            continue
        if patient.deceased is DeceasedState.DECEASED and row.created_at.isoformat() == stamp[0]:
            rest = {name: told for name, told in patient.provenance.items() if name != "deceased"}
            patient.provenance = {**rest, "deceased": row.disputed} if row.disputed else rest
            patient.deceased, patient.updated_at = DeceasedState.DISPUTED, work.clock.now()
            return True
        if slip is not None and patient.deceased is DeceasedState.DISPUTED:
            return True  # somebody told since that they live: the doubt from before is only older
    return False


def is_revocable(patient: Patient) -> bool:
    """Whether it is for people to say that the patient lives: people said they died, or what was told is disputed."""
    if patient.deceased is DeceasedState.DECEASED:
        return _is_told_by_people(patient)
    return patient.deceased is DeceasedState.DISPUTED


def _is_told_by_people(patient: Patient) -> bool:
    _, source, _ = patient.provenance.get("deceased") or ("", "", 0)
    return bool(source == TOLD_BY_PEOPLE)


def lock_patient(work: Work, patient_id: str) -> Patient:
    """The patient as the row stands, ours until the work ends; who was merged while we waited is the survivor."""
    patient = work.session.get(Patient, patient_id, with_for_update=True, populate_existing=True)
    if patient is None:
        raise NotFoundError
    return patient if patient.merged_into_id is None else lock_patient(work, patient.merged_into_id)


def _put(work: Work, patient: Patient, state: DeceasedState) -> datetime:
    """Say it as people do; since when it is said."""
    now = work.clock.now()
    patient.deceased = state
    if state is DeceasedState.ALIVE:
        patient.deceased_at = None
    patient.provenance = {**patient.provenance, "deceased": [now.isoformat(), TOLD_BY_PEOPLE, 0]}
    patient.updated_at = now
    work.session.flush()
    return now
