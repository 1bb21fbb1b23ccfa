"""Fixtures of files in and out."""

import pytest

from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.importing import Intake

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]


@pytest.fixture
def intake(database: Database, clock: FixedClock) -> Intake:
    return Intake(database, clock)
