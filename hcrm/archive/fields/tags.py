"""Tags of a patient: words people put on and take off; every one keeps who did it and when."""

from collections.abc import Sequence

import sqlalchemy as sa

from hcrm.archive.death import lock_patient
from hcrm.archive.fields.models import PatientTag
from hcrm.archive.queries import patient_in_scope
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.errors import HcrmError, NotFoundError
from hcrm.core.work import Work


def list_tags(work: Work, patient_id: str) -> Sequence[PatientTag]:
    """Live tags in the order they were put on, each word once: a merge may bring it twice."""
    rows = work.scalars(
        sa.select(PatientTag)
        .where(PatientTag.patient_id == patient_id, PatientTag.ended_at.is_(None))
        .order_by(PatientTag.id)
    )
    return list({row.tag: row for row in reversed(rows)}.values())[::-1]


def add_tag(work: Work, *, patient_id: str, tag: str) -> None:
    """Put a word on; one that stands already changes nothing."""
    word = " ".join(tag.split())
    if not word:
        raise HcrmError("tag.empty", "请填写标签", field="tag")
    if len(word) > limits.TAG_LENGTH:
        raise HcrmError("tag.long", f"标签最多 {limits.TAG_LENGTH} 个字", field="tag")
    patient = lock_patient(work, patient_in_scope(work, patient_id, "tag.write").id)
    standing = list_tags(work, patient.id)
    if any(row.tag == word for row in standing):
        return
    if len(standing) >= limits.PATIENT_TAGS:
        raise HcrmError("tag.many", f"每位患者最多 {limits.PATIENT_TAGS} 个标签", field="tag")
    row = PatientTag(
        id=work.new_id(), patient_id=patient.id, tag=word, actor_id=work.actor.id, actor_name=work.actor.name,
        created_at=work.clock.now(), ended_at=None, ended_by_name=None,
    )  # fmt: skip
    work.add(row)
    _audit(work, patient.id, "tag.write", row.id)


def remove_tag(work: Work, *, patient_id: str, tag_id: str) -> str:
    """Take a word off, wherever it stands on this patient; the word."""
    patient = lock_patient(work, patient_in_scope(work, patient_id, "tag.write").id)
    tag = _tag_of(work, patient.id, tag_id)
    work.execute(
        sa.update(PatientTag)
        .where(PatientTag.patient_id == patient.id, PatientTag.tag == tag.tag, PatientTag.ended_at.is_(None))
        .values(ended_at=work.clock.now(), ended_by_name=work.actor.name)
        .execution_options(synchronize_session=False)
    )
    _audit(work, patient.id, "tag.remove", tag.id)
    return tag.tag


def restore_tag(work: Work, *, patient_id: str, tag_id: str) -> None:
    """Put a word that was taken off on again."""
    patient = patient_in_scope(work, patient_id, "tag.write")
    add_tag(work, patient_id=patient.id, tag=_tag_of(work, patient.id, tag_id).tag)


def _tag_of(work: Work, patient_id: str, tag_id: str) -> PatientTag:
    tag = work.session.get(PatientTag, tag_id)
    if tag is None or tag.patient_id != patient_id:
        raise NotFoundError
    return tag


def _audit(work: Work, patient_id: str, action: str, key: str) -> None:
    record_audit(work, action=action, patients=[patient_id], subject_type="patient_tag", subject_id=key)
