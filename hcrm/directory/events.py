"""Facts of the directory."""

from dataclasses import dataclass

from hcrm.core.events import Fact


@dataclass(frozen=True)
class StaffMoved(Fact):
    """What names these members of the staff was given from one to the other: entries were merged, or parted again."""

    practitioner_ids: list[str]
