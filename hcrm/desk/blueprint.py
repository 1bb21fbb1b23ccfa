"""The desk's blueprint and the words its templates share."""

from typing import Any

from flask import Blueprint, g, url_for

from hcrm.archive.codes import is_tcm
from hcrm.archive.fields.models import PatientNote
from hcrm.archive.fields.notes import may_edit
from hcrm.archive.models import TimelineEntry
from hcrm.archive.terms import WITHOUT_BED, EncounterClass, EncounterStatus, status_words
from hcrm.archive.timeline import ENTRY_PAGES, ENTRY_TABS
from hcrm.centre.protocols import StepChannel
from hcrm.centre.views import TONES as INSTRUCTION_TONES
from hcrm.desk import clinical_tabs
from hcrm.desk.masked import source_name
from hcrm.inbox.views import TONES as MESSAGE_TONES
from hcrm.web.shell import current_shell

bp = Blueprint("desk", __name__)

VISIT_TONES = {
    EncounterStatus.PLANNED: "open", EncounterStatus.IN_PROGRESS: "work", EncounterStatus.ON_LEAVE: "near",
    EncounterStatus.FINISHED: "done", EncounterStatus.CANCELLED: "off",
}  # fmt: skip
"""How each state looks."""


@bp.context_processor
def desk_words() -> dict[str, Any]:
    """What the desk's templates share."""
    return {
        "instruction_tones": INSTRUCTION_TONES, "message_tones": MESSAGE_TONES, "entry_url": entry_url,
        "visit_tone": visit_tone, "status_words": status_words, "channels": StepChannel, "yuan": clinical_tabs.yuan,
        "report_tones": clinical_tabs.REPORT_TONES, "order_tones": clinical_tabs.ORDER_TONES,
        "document_tones": clinical_tabs.DOCUMENT_TONES, "appointment_tones": clinical_tabs.APPOINTMENT_TONES,
        "may_edit_note": may_edit_note, "is_tcm": is_tcm,
        "source_name": source_name,
        "bills_shown": clinical_tabs.BILLS_SHOWN,
    }  # fmt: skip


def may_edit_note(note: PatientNote) -> bool:
    """Whether the person at the page may still mend that note."""
    return may_edit(note, g.actor.id, current_shell().runtime.clock.now())


def visit_tone(status: EncounterStatus, encounter_class: EncounterClass | None) -> str:
    """How a visit's state looks; an outpatient's never ends and asks for nothing."""
    is_over = status is EncounterStatus.IN_PROGRESS and encounter_class in WITHOUT_BED
    return "off" if is_over else VISIT_TONES[status]


def entry_url(entry: TimelineEntry) -> str | None:
    """The page a line of the timeline opens."""
    page = ENTRY_PAGES.get(entry.subject_type)
    if page is not None and (page.needs is None or g.actor.may(page.needs)):
        values: dict[str, Any] = {page.argument: entry.subject_id}
        return url_for(page.endpoint, **values)
    tab = ENTRY_TABS.get(entry.subject_type)
    return url_for("desk.show_patient", patient_id=entry.patient_id, tab=tab) if tab else None
