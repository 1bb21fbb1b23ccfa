"""The ADT truth table: its clock, its stay, and hospitals whose tests end with everything said again."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from hcrm.archive.visit_models import VisitEventKind
from hcrm.centre.models import InstructionState
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from tests.support.adt import adt
from tests.support.hospital import Hospital

EVENING = datetime(2026, 11, 22, 15, tzinfo=UTC)  # 23:00 in Shanghai: the row's day is over
ISSUED, WITHDRAWN = InstructionState.ISSUED, InstructionState.WITHDRAWN
K = VisitEventKind
STAY = (adt("A01", c=1, o="10:00"), adt("A03", c=3, o="12:00"))
NI, OTHER_NI = "110101199003070011", "11010119551201002X"
WOMAN = {"name": "李^四", "dob": "19550102", "sex": "F"}
OF_WOMAN = adt("A01", c=2, p=200, v="V2", phone="13812345678", m="10:30", **WOMAN)
BOTH = (*STAY, OF_WOMAN)


@pytest.fixture
def evening() -> FixedClock:
    return FixedClock(EVENING)


@pytest.fixture
def hospital(database: Database, evening: FixedClock) -> Iterator[Hospital]:
    with Hospital(database, evening) as hospital:
        yield hospital
        hospital.assert_repeats_change_nothing()


@pytest.fixture
def hospital_with_ties(database: Database, evening: FixedClock) -> Iterator[Hospital]:
    """For rows whose messages carry the same time: there a resend is, rightly, the later word."""
    with Hospital(database, evening) as hospital:
        yield hospital
        hospital.assert_repeats_change_nothing(resend=False)


def kinds(hospital: Hospital, visit_no: str) -> list[VisitEventKind]:
    return [event.kind for event in hospital.log(visit_no)]


def reversed_kinds(hospital: Hospital, visit_no: str) -> list[VisitEventKind]:
    return [event.kind for event in hospital.log(visit_no) if event.reversed_by_id]


def second(p: int, v: str, loc: str, **fields: str) -> list[str]:
    """The second PID and PV1 of a message about two."""
    name, dob, sex = (fields.get(key, "") for key in ("name", "dob", "sex"))
    pid = f"PID|2||{p}^^^H1^MR||{name}||{dob}|{sex}"
    return [pid, f"PV1|2|I|{loc}{'|' * 16}{v}"] if v else [pid]
