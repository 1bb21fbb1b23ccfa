"""The application, its people, a ward with work to do, and a physician at the station without pages."""

from dataclasses import dataclass

import pytest

from hcrm.core.work import Work
from hcrm.directory.models import Department, Practitioner
from tests.support.builders import (
    actor_of,
    make_department,
    make_encounter,
    make_instruction,
    make_practitioner,
)
from tests.support.builders import publish_form as publish_call_form
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.station import ward

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings", "station", "ward"]


@dataclass(frozen=True, slots=True)
class Station:
    """A physician at work in their department."""

    work: Work
    ward: Department
    doctor: Practitioner

    def instruction(self, **values):
        """One of the physician's instructions, due today."""
        values.setdefault("encounter", make_encounter(self.work, department=self.ward, attending=self.doctor))
        values.setdefault("assignee", self.doctor)
        return make_instruction(self.work, **values)


@pytest.fixture
def station(work: Work) -> Station:
    publish_call_form(work)
    home = make_department(work, name="心内科")
    doctor = make_practitioner(work, name="李大夫", department=home)
    work.actor = actor_of(doctor, home)
    return Station(work, home, doctor)
