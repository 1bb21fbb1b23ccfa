"""Facts of the follow-up station."""

from dataclasses import dataclass

from hcrm.core.events import Fact


@dataclass(frozen=True, slots=True)
class AlertRaised(Fact):
    """Answers raised a red flag of that level."""

    alert_id: str
    level: str
