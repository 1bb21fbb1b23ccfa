"""What people decide about who is who: a number given to somebody else ends, a merge is undone."""

from collections.abc import Collection, Mapping

from hcrm.archive.death import lock_patient
from hcrm.archive.identity.pairs import note_parted
from hcrm.archive.models import IdentifierKind, PatientIdentifier
from hcrm.archive.parting.base import give_base
from hcrm.archive.parting.ended_since import give_way, stand_again
from hcrm.archive.parting.service import assign_rows, undo_merge
from hcrm.archive.parting.since_merge import BASE, came_meanwhile, get_merge, only_known, rows_by_table
from hcrm.archive.queries import patient_in_scope
from hcrm.archive.terms import BY_PEOPLE as BY_PEOPLE
from hcrm.archive.test_patients.service import review_test_patient
from hcrm.archive.timeline import add_entry
from hcrm.audit.service import record_audit
from hcrm.core.errors import ConflictError, HcrmError, NotFoundError
from hcrm.core.work import Work

_REFUSALS = {
    "merge_gone": "这次合并已撤销",
    "merged_further": "合并后的档案又被合并，请先撤销后来的合并",
}


def end_number(work: Work, *, patient_id: str, identifier_id: str, reason: str) -> str:
    """Say that a record number is no longer this patient's: it was given to somebody else (truth table B42).

    Messages under it name nobody from now on, so those that were parked for it make an archive of their own when they
    are applied again. Returns the patient's id.
    """
    reason = _filled(reason)
    patient = lock_patient(work, patient_in_scope(work, patient_id, "identity.decide").id)
    number = work.session.get(PatientIdentifier, identifier_id, with_for_update=True, populate_existing=True)
    if number is None or number.patient_id != patient.id or number.kind is not IdentifierKind.RECORD:
        raise NotFoundError
    if number.ended_at is not None:
        return str(patient.id)
    number.ended_at = patient.updated_at = work.clock.now()
    work.session.flush()
    review_test_patient(work, patient_id=patient.id)
    add_entry(
        work, patient_id=patient.id, happened_at=work.clock.now(), kind="merge",
        title=f"病案号 {number.value} 停用：{reason}", subject_type="patient", subject_id=patient.id,
    )  # fmt: skip
    record_audit(
        work,
        action="identity.end_number",
        patients=[patient.id],
        subject_type="patient",
        subject_id=patient.id,
    )
    return str(patient.id)


def part_merged(
    work: Work, *, merge_id: str, reason: str, chosen: Mapping[str, Collection[str]],
    seen: Collection[str] | None = None,
) -> str:  # fmt: skip
    """Undo a merge, with the reason; the id of the archive that is one of its own again.

    `chosen`: what came meanwhile and is that archive's, by table; the rest stays with the survivor. `seen`: names of
    the rows that person was shown (None: all); what came since waits on the merge to be looked through.
    """
    reason = _filled(reason)
    merge = get_merge(work, merge_id)
    patient = patient_in_scope(work, merge.survivor_id, "identity.decide")
    work.session.refresh(merge, with_for_update=True)
    lock_patient(work, patient.id)  # what is written from now on waits, and comes to whom it is meant for
    rows = came_meanwhile(work, merge)
    unseen = [row for row in rows if seen is not None and row.name not in seen and row.may_stay]
    refusal = undo_merge(
        work,
        merge_id=merge.id,
        source=BY_PEOPLE,
        assigned=only_known(chosen, rows),
        unseen=rows_by_table(unseen),
    )
    if refusal:
        raise ConflictError("identity.merge", _REFUSALS[refusal])
    add_entry(
        work, patient_id=patient.id, happened_at=work.clock.now(), kind="merge",
        title=f"撤销合并的原因：{reason}", subject_type="patient_merge", subject_id=merge.id,
    )  # fmt: skip
    note_parted(work, patient_id=merge.survivor_id, other_id=merge.merged_id, reason=f"撤销合并：{reason}")
    return str(merge.merged_id)


def sort_left(work: Work, *, merge_id: str, chosen: Mapping[str, Collection[str]]) -> str:
    """After a merge was undone: give what was left with the survivor to whom it belongs; the merged archive's id."""
    merge = get_merge(work, merge_id)
    if merge.undone_at is None:
        raise ConflictError("identity.merge", "这次合并还没有撤销")
    assigned = only_known(chosen, came_meanwhile(work, merge))
    assign_rows(work, merge, assigned)
    give_base(work, merge, assigned.get(BASE, ()))
    give_way(work, merge)
    stand_again(work, merge)
    merge.left = None
    work.session.flush()
    count = sum(map(len, assigned.values()))
    add_entry(
        work, patient_id=merge.survivor_id, happened_at=work.clock.now(), kind="merge",
        title=f"撤销合并后已核对期间的内容，{count} 项归到另一份档案", subject_type="patient_merge",
        subject_id=merge.id,
    )  # fmt: skip
    record_audit(
        work, action="patient.unmerge", patients=[merge.survivor_id, merge.merged_id], subject_type="patient_merge",
        subject_id=merge.id, detail={"sorted": count},
    )  # fmt: skip
    return merge.merged_id


def _filled(reason: str) -> str:
    reason = reason.strip()
    if not reason:
        raise HcrmError("patient.reason", "请填写原因", field="reason")
    return reason
