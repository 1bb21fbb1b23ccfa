"""Searching messages by whom they are about or by a text in them: what no index in clear may answer.

By person: messages that became a patient are found by the archive's own indexes (record numbers in clear, ID numbers
and phones blind); those that did not are decrypted. By text: the newest SEARCH_MESSAGES of what the filters give are
decrypted, and the page says so. The words travel sealed in the address and are in no log and no audit row.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag

from hcrm.archive.models import ContactPoint, IdentifierKind, Patient, PatientIdentifier
from hcrm.archive.scope import patient_condition
from hcrm.audit.queries import same_patient
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.errors import HcrmError
from hcrm.core.text import clean_id_number, clean_phone, half_width
from hcrm.core.work import Work
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage
from hcrm.inbox.queries import FoundMessages, MessageFilters, narrow_messages
from hcrm.inbox.reading import ConsoleParts

_STEP = 500
_PURPOSE = "message-search"
_UNAPPLIED = (ApplicationState.PARKED, ApplicationState.HELD, ApplicationState.WAITING)


class SearchBy(StrEnum):
    """What the words are."""

    PERSON = "person"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class MessageSearch:
    """What is searched for."""

    by: SearchBy
    words: str

    def seal(self, work: Work) -> str:
        """As it may stand in an address."""
        plain = json.dumps([_PURPOSE, self.by.value, self.words], ensure_ascii=False)
        return urlsafe_b64encode(work.keys.seal_text(plain)).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Searched:
    """Filters narrowed to what was found, and how far was looked."""

    by: SearchBy
    filters: MessageFilters
    decrypted: int  # messages opened
    found: int
    is_complete: bool  # nothing of what the filters gave was left out


def open_search(work: Work, sealed: str) -> MessageSearch:
    """What `seal` wrote; anything else is refused."""
    try:
        plain = work.keys.open_text(urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4)))
        purpose, by, words = json.loads(plain)
        if purpose != _PURPOSE:
            raise ValueError(purpose)
        return MessageSearch(SearchBy(by), words)
    except (ValueError, TypeError, IndexError, InvalidTag, HcrmError) as error:
        raise HcrmError("search.address", "检索地址不完整，请重新检索", status=400) from error


def search_messages(
    work: Work, filters: MessageFilters, wanted: MessageSearch, parts: ConsoleParts
) -> Searched:
    """The filters narrowed to what the words fit; noted by how it was searched, never by the words."""
    words = " ".join(half_width(wanted.words).split())
    looked, found, patients = _Looked(), list[int](), list[str]()
    if wanted.by is SearchBy.PERSON:
        patients = _patients(work, words)
        for state in _UNAPPLIED if filters.state is None else {filters.state}.intersection(_UNAPPLIED):
            unapplied = narrow_messages(work, _contents(), replace(filters, state=state, found=None))
            found += _decrypt(work, unapplied, InboxApplication.seq, _names(words), parts, looked)
    else:
        order = InboxApplication.seq if filters.is_of_way else InboxMessage.seq
        every = narrow_messages(work, _contents(), filters)
        found = _decrypt(work, every, order, _holds(words), parts, looked)
    record_audit(
        work, action="message.search", patients=patients, subject_type="inbox_message",
        detail={"by": wanted.by.value, "searched": looked.count, "count": len(found)},
    )  # fmt: skip
    return Searched(
        wanted.by,
        replace(filters, found=FoundMessages(patients, found)),
        looked.count,
        len(found),
        is_complete=looked.is_complete,
    )


def _patients(work: Work, words: str) -> list[str]:
    """Everyone in scope of that record number, ID number or phone, under every id they had."""
    compact = words.replace(" ", "")
    owners = [
        sa.select(PatientIdentifier.patient_id).where(
            PatientIdentifier.kind == IdentifierKind.RECORD, PatientIdentifier.value == compact
        ),
        sa.select(PatientIdentifier.patient_id).where(
            PatientIdentifier.value_index == work.keys.blind("id", clean_id_number(words))
        ),
        sa.select(ContactPoint.patient_id).where(
            ContactPoint.value_index == work.keys.blind("phone", clean_phone(words))
        ),
    ]
    ids = {patient_id for owner in owners for patient_id in work.scalars(owner.limit(limits.SEARCH_FOUND))}
    statement = sa.select(Patient.id).where(Patient.id.in_(ids))  # test patients too: they try the interface
    condition = patient_condition(work.actor, Patient.id)
    in_scope = work.scalars(statement if condition is None else statement.where(condition))
    return sorted({one for patient_id in in_scope for one in (patient_id, *same_patient(work, patient_id))})


def _contents() -> sa.Select[*tuple[Any, ...]]:
    return sa.select(InboxMessage.seq, InboxMessage.raw, InboxMessage.format).where(
        sa.func.length(InboxMessage.raw) > 0
    )


@dataclass
class _Looked:
    count: int = 0
    size: int = 0
    is_complete: bool = True


def _decrypt(
    work: Work,
    statement: sa.Select[*tuple[Any, ...]],
    order: Any,
    fits: Callable[[str], bool],
    parts: ConsoleParts,
    looked: _Looked,
) -> list[int]:
    """The newest messages of the statement opened, up to the limits; numbers of those that fit."""
    found: list[int] = []
    below: int | None = None
    while True:
        most = min(_STEP, limits.SEARCH_MESSAGES - looked.count + 1)  # one more tells that there are more
        step = statement.order_by(order.desc()).limit(most)
        rows: Sequence[Any] = work.execute(step if below is None else step.where(order < below)).all()
        for row in rows:
            if (
                looked.count >= limits.SEARCH_MESSAGES
                or looked.size >= limits.SEARCH_BYTES
                or len(found) >= limits.SEARCH_FOUND
            ):
                looked.is_complete = False
                return found
            looked.count += 1
            looked.size += len(row.raw)
            reader = parts.readers.get(row.format)
            raw = work.keys.open(row.raw)
            if fits(reader.text(raw, parts.sources) if reader else raw.decode("utf-8", "replace")):
                found.append(row.seq)
        if len(rows) < most:
            return found
        below = rows[-1].seq


def _holds(words: str) -> Callable[[str], bool]:
    """Whether a text holds the words, whatever their case; family and given name may be components (`张^三`)."""
    wanted = words.casefold()

    def fits(text: str) -> bool:
        text = text.casefold()
        return wanted in text or ("^" in text and wanted in text.replace("^", ""))

    return fits


def _names(words: str) -> Callable[[str], bool]:
    """Whether a text holds the words as a number of their own, not as a part of a longer one."""
    ways = "|".join(map(re.escape, dict.fromkeys((words, words.replace(" ", "")))))
    alone = re.compile(rf"(?<![0-9A-Za-z])(?:{ways})(?![0-9A-Za-z])", re.IGNORECASE)
    return lambda text: alone.search(text) is not None
