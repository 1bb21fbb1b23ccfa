"""Page: the audit log, and who saw a patient."""

from typing import Annotated

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from hcrm.audit.models import AuditOutcome
from hcrm.audit.queries import ACTIONS, SUBJECTS, AuditFilters, list_events, same_patient
from hcrm.audit.service import record_audit
from hcrm.core.inputs import Blank, Day, Input, OptionalText, read_input
from hcrm.web.shell import console_work, require

bp = Blueprint("audit", __name__)


class _Filter(Input):
    """What stands in the address of the list."""

    patient: OptionalText = None
    actor: OptionalText = None
    action: OptionalText = None
    outcome: Annotated[AuditOutcome | None, Blank] = None
    day: Annotated[Day | None, Blank] = None
    key: OptionalText = None


@bp.get("/audit")
@require("audit.read", audit="audit.read")
def list_audit() -> ResponseReturnValue:
    """Acts, the latest first; with `patient` those that touched one patient, under any id they had."""
    asked = read_input(_Filter, request.args.to_dict())
    with console_work() as work:
        patient_ids = same_patient(work, asked.patient) if asked.patient else ()
        page = list_events(
            work,
            filters=AuditFilters(patient_ids, asked.actor, asked.action, asked.outcome, asked.day),
            key=asked.key,
        )
        # Reading the log is itself an act; on a patient it is one that touches them.
        record_audit(work, action="audit.read", patients=patient_ids, detail={"count": len(page.items)})
    return render_template(
        "audit/list.html", page=page, asked=asked, actions=ACTIONS, subjects=SUBJECTS,
        outcomes=[(outcome.value, outcome.label) for outcome in AuditOutcome],
    )  # fmt: skip
