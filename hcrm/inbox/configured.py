"""Sources and destinations as their files describe them, read once by a process, as at every start."""

from functools import cache

from hcrm.core.destinations import Destinations
from hcrm.core.errors import HcrmError
from hcrm.core.paths import config_path
from hcrm.core.runtime import open_destinations
from hcrm.core.sources import Sources, load_sources


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
