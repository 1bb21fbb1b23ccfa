"""What the pages of the contact log may say."""

from datetime import date, datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from hcrm.contact_log.models import Channel, ContactResult
from hcrm.contact_log.queries import LogFilter
from hcrm.core import limits
from hcrm.core.clock import day_bounds
from hcrm.core.inputs import Blank, Day, Input

Key = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class ContactInput(Input):
    """A contact logged by hand."""

    record_id: Key
    channel: Channel
    result: ContactResult
    direction: Annotated[str, StringConstraints(pattern=r"^(out|in)$")] = "out"
    whose: Annotated[str, Field(max_length=100)] = ""
    number: Annotated[str, StringConstraints(pattern=r"^((contact|related):[0-9a-f]{32})?$")] = ""
    happened_at: Annotated[datetime | None, Blank] = None
    minutes: Annotated[Annotated[int, Field(ge=0, le=600)] | None, Blank] = None
    note: Annotated[str, Field(max_length=2000)] = ""
    corrects_id: Annotated[Key | None, Blank] = None


class LogAddress(Input):
    """What stands in the address of the log."""

    since: Annotated[Day | None, Blank] = None
    until: Annotated[Day | None, Blank] = None
    actor: Annotated[str | None, Blank] = None
    channel: Annotated[Channel | None, Blank] = None
    result: Annotated[ContactResult | None, Blank] = None
    department: Annotated[str | None, Blank] = None
    key: Annotated[str | None, Blank] = None

    def period(self, today: date) -> tuple[date, date]:
        """From which day to which; the last ones where none is named."""
        return self.since or last_days(today, limits.CONTACT_LOG_DAYS), self.until or today

    def filter(self, today: date) -> LogFilter:
        """The same for the query."""
        since, until = self.period(today)
        return LogFilter(
            day_bounds(since)[0], day_bounds(until)[1], self.actor, self.channel, self.result, self.department
        )


def last_days(today: date, days: int) -> date:
    """The first of so many days that end today."""
    return date.fromordinal(today.toordinal() - days + 1)
