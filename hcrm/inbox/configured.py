"""Sources and destinations as their files described them when the process started (`read_configured`).

What is written there later counts for no job and no page before the next start: half of the service would follow it.
"""

from functools import cache

from hcrm.core.destinations import Destinations
from hcrm.core.errors import HcrmError
from hcrm.core.paths import config_path
from hcrm.core.runtime import open_destinations
from hcrm.core.sources import Sources, load_sources


def read_configured() -> None:
    """Read both now; a mistake in a source's file stops the start."""
    configured_sources()
    configured_destinations()


@cache
def configured_sources() -> Sources:
    """The sending systems."""
    return load_sources(config_path("sources"))


@cache
def configured_destinations() -> Destinations:
    """The receiving systems. None where a file is wrong: those who send refuse to start, and others only name them."""
    try:
        return open_destinations()
    except HcrmError:
        return Destinations()
