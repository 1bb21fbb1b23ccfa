"""The one function that writes the audit log."""

from collections.abc import Iterable
from typing import Any

from hcrm.audit.models import AuditEvent, AuditOutcome, AuditSubject
from hcrm.core.work import Work


def record_audit(
    work: Work,
    *,
    action: str,
    patients: Iterable[str] = (),
    subject_type: str | None = None,
    subject_id: str | None = None,
    outcome: AuditOutcome = AuditOutcome.DONE,
    detail: dict[str, Any] | None = None,
) -> None:
    """Note an act and the patients it touched; written when the work closes, before any answer leaves (W4).

    In a writing work the rows share its transaction; in a reading one they are committed right after it.
    """
    key = work.new_id()
    work.defer(
        AuditEvent,
        {
            "id": key,
            "happened_at": work.clock.now(),
            "actor_id": work.actor.id,
            "actor_name": work.actor.name,
            "action": action,
            "outcome": outcome,
            "subject_type": subject_type,
            "subject_id": subject_id,
            "address": work.actor.address,
            "detail": detail,
        },
    )
    for patient_id in dict.fromkeys(patients):
        work.defer(AuditSubject, {"audit_id": key, "subject_patient_id": patient_id})


def forget_empty(work: Work, action: str) -> None:
    """Note nothing of a list that showed nobody: suggestions while somebody types. What showed anybody stays noted."""
    work.undefer(AuditEvent, lambda row: row["action"] == action and (row["detail"] or {}).get("count") == 0)
