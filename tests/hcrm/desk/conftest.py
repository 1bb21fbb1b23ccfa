"""The application, a machine client, and an archive that messages filled."""

from tests.support.console import app, settings
from tests.support.fhir import fhir, hospital

__all__ = ["app", "fhir", "hospital", "settings"]
