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
from hcrm.archive.events import (
    DeathRevoked,
    DischargeCancelled,
    EncounterDischarged,
    EncounterRevised,
    PatientDied,
    PatientNullified,
    PatientRestored,
    PatientsParted,
)
from hcrm.centre.classification import classify_encounters
from hcrm.centre.events import (
    EncounterClassified,
    EncounterReclassified,
    InstructionCompleted,
    ReportPostponed,
)
from hcrm.centre.instructions import CutOvers, issue_instructions
from hcrm.centre.led_to import list_led_to
from hcrm.centre.replanning import (
    replan_instructions,
    restore_for_living,
    restore_for_restored,
    withdraw_for_cancelled,
    withdraw_for_deceased,
    withdraw_for_nullified,
)
from hcrm.centre.report import SUBJECT, report_again, report_follow_ups
from hcrm.core.actor import system_actor
from hcrm.core.clock import Clock
from hcrm.core.delivery import Handlers
from hcrm.core.destinations import Destinations
from hcrm.core.settings import Settings
from hcrm.core.sources import Sources
from hcrm.inbox.doors import Doors
from hcrm.inbox.outbound import Outbound
from hcrm.inbox.outbound_records import Builders, SenderMaker
from hcrm.inbox.outline import Reader
from hcrm.inbox.reading import ConsoleParts, Problems
from hcrm.inbox.replaying import replay_for_parted
from hcrm.inbox.rows import RowOutline
from hcrm.inbox.take_up import Intake, Mappers

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


def handlers(settings: Settings, sources: Sources, destinations: Destinations | None = None) -> Handlers:
    """What happens after a discharge? This dict."""
    region = settings.hospital.region
    classify = partial(classify_encounters, home_region=region)
    cut_overs = _cut_overs(sources)
    report = partial(report_follow_ups, outbound=Outbound(destinations or Destinations(), BUILDERS))
    return {
        EncounterDischarged: [classify],
        EncounterClassified: [partial(issue_instructions, home_region=region, cut_overs=cut_overs)],
        EncounterRevised: [classify],
        EncounterReclassified: [partial(replan_instructions, home_region=region, cut_overs=cut_overs)],
        DischargeCancelled: [withdraw_for_cancelled],
        PatientDied: [withdraw_for_deceased],
        DeathRevoked: [partial(restore_for_living, home_region=region, cut_overs=cut_overs)],
        PatientNullified: [withdraw_for_nullified],
        PatientRestored: [partial(restore_for_restored, home_region=region, cut_overs=cut_overs)],
        PatientsParted: [replay_for_parted],
        InstructionCompleted: [report],
        ReportPostponed: [report],
    }


def intake(sources: Sources, clock: Clock) -> Intake:
    """What the worker absorbs with."""
    return Intake(MAPPERS, sources, system_actor("worker"), clock)


def console_parts(sources: Sources) -> ConsoleParts:
    """What the interface console is handed."""
    return ConsoleParts(READERS, sources, list_led_to, {SUBJECT: report_again}, MAPPERS, PROBLEMS)


def _cut_overs(sources: Sources) -> CutOvers:
    return {
        source.code: source.follow_up_from for source in sources.by_code.values() if source.follow_up_from
    }
