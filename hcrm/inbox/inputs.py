"""What addresses and forms of the interface console may say."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from hcrm.core import clock as clocks
from hcrm.core import limits
from hcrm.core.errors import HcrmError
from hcrm.core.inputs import Blank, Input, OptionalText
from hcrm.inbox.models import ApplicationState
from hcrm.inbox.queries import MessageFilters
from hcrm.inbox.refusals import RefusalFilters
from hcrm.inbox.search import SearchBy


class MessageAddress(Input):
    """What stands in the address of the list. Times are the hospital's."""

    state: Annotated[ApplicationState | None, Blank] = None
    kind: OptionalText = None
    source: OptionalText = None
    reason: OptionalText = None
    control_id: OptionalText = None
    since: Annotated[datetime | None, Blank, Field(alias="from")] = None
    until: Annotated[datetime | None, Blank, Field(alias="to")] = None
    code: OptionalText = None
    find: OptionalText = None
    key: OptionalText = None

    @property
    def filters(self) -> MessageFilters:
        """The same for the query."""
        return MessageFilters(
            self.state, self.kind or "", self.source or "", self.control_id or "", self.reason or "",
            _moment(self.since), _moment(self.until), code=self.code or "",
        )  # fmt: skip

    def kept(self) -> dict[str, str]:
        """The filters as an address has them, without search and page."""
        values = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"find", "key"})
        return {name: str(value) for name, value in values.items()}


def _moment(typed: datetime | None) -> datetime | None:
    """What was typed, on the hospital's clock."""
    if typed is None:
        return None
    try:
        return (typed if typed.tzinfo else typed.replace(tzinfo=clocks.HOSPITAL_ZONE)).astimezone(UTC)
    except OverflowError:
        raise HcrmError("span.moment", "没有这样的时间", field="from") from None


class SearchInput(Input):
    """What is searched for, with the filters it stands under."""

    by: SearchBy
    words: Annotated[str, Field(min_length=2, max_length=64)]


class CorrectionInput(Input):
    """What a person sends: the corrected text, and why."""

    text: str
    reason: Annotated[str, Field(min_length=2, max_length=limits.CORRECTION_REASON)]


class ReplayInput(Input):
    """The replay that was shown: up to which message."""

    upto: Annotated[int, Field(ge=0, le=2**63 - 1)]


class IncidentAddress(Input):
    """What stands in the address of the list of incidents: those that are open unless others are asked for."""

    state: Literal["open", "closed", "all"] = "open"
    key: OptionalText = None


class RefusedAddress(Input):
    """What stands in the address of the list of refusals."""

    reason: OptionalText = None
    peer: OptionalText = None
    source: OptionalText = None
    key: OptionalText = None

    @property
    def filters(self) -> RefusalFilters:
        """The same for the query."""
        return RefusalFilters(self.reason or "", self.peer or "", self.source or "")


class NoteInput(Input):
    """What is done about an incident."""

    note: Annotated[str, Field(min_length=2, max_length=limits.CORRECTION_REASON)]
