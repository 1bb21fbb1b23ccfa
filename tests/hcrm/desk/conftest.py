"""The application, its people, a machine client, an archive that messages filled, and a ward with work to do."""

from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.fhir import fhir, hospital, town
from tests.support.record import patient
from tests.support.station import ward

__all__ = [
    "app",
    "browser_of",
    "cheap_passwords",
    "fhir",
    "hospital",
    "make_person",
    "patient",
    "settings",
    "town",
    "ward",
]
