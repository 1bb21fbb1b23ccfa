"""Where parts meet that must not know each other: who reads which format, who hears which fact."""

from functools import partial

from adapters.his import soap
from adapters.his.build import build_follow_up
from adapters.his.explain import list_problems
from adapters.his.map_row import map_row
from adapters.his.mapping import map_message
from adapters.his.outline import Hl7Outline
from adapters.his.reception import receive
from adapters.his.sender import MllpSender
from hcrm.archive.death import confirm_told_deaths
from hcrm.archive.events import (
    ContactRestored,
    ContactStopped,
    DeathRevoked,
    DischargeCancelled,
    EncounterDischarged,
    EncounterRevised,
    PatientDied,
    PatientMarkedTest,
    PatientNullified,
    PatientRestored,
    PatientsMerged,
    PatientsParted,
    PatientsTouched,
    PatientUnmarkedTest,
    VisitMoved,
)
from hcrm.archive.exports import patients_export
from hcrm.archive.imports.death_list import death_importer
from hcrm.archive.imports.importers import patient_importer
from hcrm.archive.imports.marks import group_importer, stop_importer
from hcrm.archive.reach.barred_numbers import stop_touched
from hcrm.archive.reach.contact_stop import WaitingCounts
from hcrm.centre.classification import classify_encounters, follow_touched
from hcrm.centre.events import (
    EncounterClassified,
    EncounterReclassified,
    InstructionCompleted,
    ReportPostponed,
)
from hcrm.centre.instructions import CutOvers, issue_instructions
from hcrm.centre.led_to import list_led_to
from hcrm.centre.merged import restore_doubles, restore_left_doubles, withdraw_doubles
from hcrm.centre.queries import count_waiting
from hcrm.centre.replanning import (
    replan_instructions,
    withdraw_for_cancelled,
    withdraw_for_deceased,
    withdraw_for_merged,
    withdraw_for_nullified,
    withdraw_for_stopped,
    withdraw_for_test,
)
from hcrm.centre.report import SUBJECT, report_again, report_follow_ups
from hcrm.centre.restoring import (
    restore_for_contact,
    restore_for_living,
    restore_for_parted,
    restore_for_restored,
    restore_for_unmarked,
)
from hcrm.centre.segment_fields import instruction_fields
from hcrm.contact_log.exports import contact_export
from hcrm.contact_log.importers import complaint_importer, follow_up_importer
from hcrm.contact_log.segment_fields import contact_fields
from hcrm.core.actor import system_actor
from hcrm.core.clock import Clock
from hcrm.core.delivery import Handlers
from hcrm.core.destinations import Destinations
from hcrm.core.settings import Settings
from hcrm.core.sources import Sources
from hcrm.desk.search import fix_list_filters, read_list_filters
from hcrm.directory.events import StaffMoved
from hcrm.directory.roster_importers import duty_importer, schedule_importer
from hcrm.exchange.exports import Exportables
from hcrm.exchange.imports import Importers
from hcrm.inbox.doors import Doors
from hcrm.inbox.outbound import Outbound
from hcrm.inbox.outbound_records import Builders, SenderMaker
from hcrm.inbox.outline import Reader
from hcrm.inbox.reading import ConsoleParts, Problems
from hcrm.inbox.replaying import replay_for_parted
from hcrm.inbox.rows import RowOutline
from hcrm.inbox.take_up import Intake, Mappers
from hcrm.segments.consent_fields import consent_fields
from hcrm.segments.exports import segment_export
from hcrm.segments.fields import segment_fields
from hcrm.segments.filters import FieldMaker
from hcrm.segments.grading import grade_fields
from hcrm.segments.people_fields import people_fields
from hcrm.segments.reactions import follow_facts, follow_staff
from hcrm.segments.record_fields import record_fields

DOORS = Doors(receive, soap)
MAPPERS: Mappers = {"hl7v2": map_message, "row": map_row}
READERS: dict[str, Reader] = {"hl7v2": Hl7Outline(), "row": RowOutline()}
"""Who reads a format for people, beside those that map it."""
PROBLEMS: dict[str, Problems] = {"hl7v2": list_problems}
"""Who tells all that is wrong with a message. A row is judged column by column already."""
BUILDERS: Builders = {"follow_up": build_follow_up}
"""What we tell other systems, and who writes it. Bookings (SIU) join with what makes them."""
SENDERS: dict[str, SenderMaker] = {"mllp": MllpSender}
"""How a message is sent."""

SEGMENT_FIELDS: tuple[FieldMaker, ...] = (
    segment_fields,
    record_fields,
    people_fields,
    consent_fields,
    grade_fields,
    contact_fields,
    instruction_fields,
)
"""Who brings fields that a segment may ask for."""
WAITING: WaitingCounts = {"随访指令": count_waiting}
"""What an end of contact and a death close, as their pages count it; `ContactStopped` and `PatientDied` do it."""


def handlers(settings: Settings, sources: Sources, destinations: Destinations | None = None) -> Handlers:
    """What happens after a discharge? This dict."""
    region = settings.hospital.region
    classify = partial(classify_encounters, home_region=region)
    cut_overs = _cut_overs(sources)
    report = partial(report_follow_ups, outbound=Outbound(destinations or Destinations(), BUILDERS))
    return {
        EncounterDischarged: [classify],
        EncounterClassified: [
            partial(issue_instructions, home_region=region, cut_overs=cut_overs),
            follow_facts,
        ],
        EncounterRevised: [classify],
        EncounterReclassified: [
            partial(replan_instructions, home_region=region, cut_overs=cut_overs),
            partial(restore_left_doubles, cut_overs=cut_overs),
            follow_facts,
        ],
        DischargeCancelled: [
            withdraw_for_cancelled,
            partial(restore_left_doubles, cut_overs=cut_overs),
        ],
        PatientDied: [withdraw_for_deceased, confirm_told_deaths, follow_facts],
        DeathRevoked: [partial(restore_for_living, home_region=region, cut_overs=cut_overs), follow_facts],
        PatientNullified: [withdraw_for_nullified, follow_facts],
        PatientRestored: [
            partial(restore_for_restored, home_region=region, cut_overs=cut_overs),
            follow_facts,
        ],
        PatientMarkedTest: [withdraw_for_test, follow_facts],
        PatientUnmarkedTest: [
            partial(restore_for_unmarked, home_region=region, cut_overs=cut_overs),
            follow_facts,
        ],
        ContactStopped: [withdraw_for_stopped],
        ContactRestored: [partial(restore_for_contact, home_region=region, cut_overs=cut_overs)],
        PatientsMerged: [withdraw_for_merged, withdraw_doubles, follow_facts],
        PatientsParted: [
            replay_for_parted,
            partial(restore_for_parted, home_region=region, cut_overs=cut_overs),
            partial(restore_doubles, cut_overs=cut_overs),
            follow_facts,
        ],
        PatientsTouched: [stop_touched, partial(follow_touched, home_region=region)],
        VisitMoved: [follow_facts],
        StaffMoved: [follow_staff],
        InstructionCompleted: [report],
        ReportPostponed: [report],
    }


def intake(sources: Sources, clock: Clock) -> Intake:
    """What the worker absorbs with."""
    return Intake(MAPPERS, sources, system_actor("worker"), clock)


def console_parts(sources: Sources) -> ConsoleParts:
    """What the interface console is handed."""
    return ConsoleParts(READERS, sources, list_led_to, {SUBJECT: report_again}, MAPPERS, PROBLEMS)


def importers() -> Importers:
    """The kinds of file that can be taken in, in the order they are offered. A later part adds its own here."""
    kinds = (
        patient_importer(),
        follow_up_importer(),
        complaint_importer(),
        group_importer(),
        stop_importer(),
        death_importer(),
        duty_importer(),
        schedule_importer(),
    )
    return {importer.kind: importer for importer in kinds}


def exportables() -> Exportables:
    """The lists that can be taken out as a file. A later part adds its own here."""
    lists = (patients_export(read_list_filters, fix_list_filters), segment_export(), contact_export())
    return {exportable.kind: exportable for exportable in lists}


def _cut_overs(sources: Sources) -> CutOvers:
    return {
        source.code: source.follow_up_from for source in sources.by_code.values() if source.follow_up_from
    }
