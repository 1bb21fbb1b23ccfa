"""Where parts meet that must not know each other: who reads which format, who hears which fact."""

from functools import partial

from adapters.his.mapping import map_message
from hcrm.archive.events import (
    DeathRevoked,
    DischargeCancelled,
    EncounterDischarged,
    EncounterRevised,
    PatientDied,
)
from hcrm.centre.classification import classify_encounters
from hcrm.centre.events import EncounterClassified, EncounterReclassified
from hcrm.centre.instructions import CutOvers, issue_instructions
from hcrm.centre.replanning import (
    replan_instructions,
    restore_for_living,
    withdraw_for_cancelled,
    withdraw_for_deceased,
)
from hcrm.core.actor import system_actor
from hcrm.core.clock import Clock
from hcrm.core.delivery import Handlers
from hcrm.core.settings import Settings
from hcrm.core.sources import Sources
from hcrm.inbox.take_up import Intake, Mappers

MAPPERS: Mappers = {"hl7v2": map_message}


def handlers(settings: Settings, sources: Sources) -> Handlers:
    """What happens after a discharge? This dict."""
    region = settings.hospital.region
    classify = partial(classify_encounters, home_region=region)
    cut_overs = _cut_overs(sources)
    return {
        EncounterDischarged: [classify],
        EncounterClassified: [partial(issue_instructions, home_region=region, cut_overs=cut_overs)],
        EncounterRevised: [classify],
        EncounterReclassified: [partial(replan_instructions, home_region=region, cut_overs=cut_overs)],
        DischargeCancelled: [withdraw_for_cancelled],
        PatientDied: [withdraw_for_deceased],
        DeathRevoked: [partial(restore_for_living, home_region=region, cut_overs=cut_overs)],
    }


def intake(sources: Sources, clock: Clock) -> Intake:
    """What the worker absorbs with."""
    return Intake(MAPPERS, sources, system_actor("worker"), clock)


def _cut_overs(sources: Sources) -> CutOvers:
    return {
        source.code: source.follow_up_from for source in sources.by_code.values() if source.follow_up_from
    }
