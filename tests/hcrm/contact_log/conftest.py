"""The application, its people, and a ward with work to do."""

from tests.support.console import app, browser_of, cheap_passwords, make_person
from tests.support.station import ward

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "ward"]
