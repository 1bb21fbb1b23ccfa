"""The ADT truth table: what an update says and leaves unsaid, and deaths (see `test_truth_table_visits`)."""

from collections.abc import Iterator
from itertools import permutations

import pytest
import sqlalchemy as sa

from hcrm.archive.models import (
    ContactPoint,
    DeceasedState,
)
from hcrm.centre.models import Instruction
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.paths import config_path
from hcrm.core.sources import Source, load_sources
from hcrm.core.work import open_work
from tests.support.adt import ABSENT, NULL, adt, moment, stamp
from tests.support.hospital import ACTOR, Hospital
from tests.support.truth_table import (
    ISSUED,
    OF_WOMAN,
    STAY,
    WITHDRAWN,
    WOMAN,
    evening,
    hospital,
    hospital_with_ties,
)

__all__ = ["evening", "hospital", "hospital_with_ties"]


# ── what an update says, and what it leaves unsaid ──────────────────────────

KNOWN = adt("A01", c=1, phone="13812345678", m="10:00")


def test_b19_an_absent_phone_field_changes_nothing(hospital):
    hospital.receive(KNOWN, adt("A08", c=2, phone=ABSENT, m="10:05"))

    assert hospital.phones(100) == ["+8613812345678"]


def test_b20_a_null_phone_field_clears_what_hl7_had_said_and_keeps_its_history(hospital):
    hospital.receive(KNOWN, adt("A08", c=2, phone=NULL, m="10:05"))

    assert hospital.phones(100) == []
    (ended,) = hospital.all(ContactPoint)
    assert ended.ended_at is not None


def test_b20_an_older_list_that_comes_late_is_history_once(hospital):
    hospital.receive(
        adt("A08", c=2, phone="13700000000", m="10:05"), adt("A08", c=1, phone="13600000000", m="10:01"),
        adt("A08", c=3, phone="13600000000", m="10:02"),
    )  # fmt: skip

    assert hospital.phones(100) == ["+8613700000000"]
    (ended,) = hospital.all(ContactPoint, ContactPoint.ended_at.is_not(None))
    assert ended.as_of == moment("10:01")


def test_b20_a_number_verified_here_stays_and_is_flagged(hospital):
    hospital.receive(KNOWN)
    with open_work(hospital.database, actor=ACTOR, clock=hospital.clock) as work:
        work.execute(sa.update(ContactPoint).values(is_verified=True))

    hospital.receive(adt("A08", c=2, phone=NULL, m="10:05"))

    assert hospital.phones(100) == ["+8613812345678"]
    assert hospital.application(2).flags == "verified_contact_kept"


def test_b21_a_list_of_phones_replaces_the_set(hospital):
    two = "13912345678^PRN^CP~01012345678^WPN^PH"
    hospital.receive(KNOWN, adt("A08", c=2, phone=two, m="10:05"))

    assert hospital.phones(100) == ["+8613912345678", "+861012345678"]
    assert [row.use for row in hospital.standing(ContactPoint, 100)] == ["mobile", "work"]
    (retired,) = hospital.all(ContactPoint, ContactPoint.ended_at.is_not(None))
    assert hospital.database.keys.open_text(retired.value_sealed) == "+8613812345678"


def test_b21_home_and_business_numbers_are_lists_of_their_own(hospital):
    hospital.receive(adt("A01", c=1, phone="13812345678", PID_14="01012345678"))
    hospital.receive(adt("A08", c=2, phone=ABSENT, PID_14="01087654321", m="10:05"))
    hospital.receive(adt("A08", c=3, phone="13912345678", m="10:10"))

    assert hospital.phones(100) == ["+8613912345678", "+861087654321"]


def test_b22_an_empty_first_repeat_keeps_the_place_of_the_second(hospital):
    hospital.receive(KNOWN, adt("A08", c=2, phone="~13912345678", m="10:05"))

    (phone,) = hospital.standing(ContactPoint, 100)
    assert hospital.phones(100) == ["+8613912345678"]
    assert phone.rank == 2


def test_b24_contacts_are_a_snapshot_absent_is_silence_and_null_is_none(hospital):
    two = ("NK1|1|王芳|2||13800000001", "NK1|2|张强|3||13800000002")
    hospital.receive(adt("A01", c=1, segments=two))
    assert hospital.relatives(100) == ["王芳", "张强"]
    hospital.receive(adt("A08", c=2, m="10:05", segments=two[:1]))
    assert hospital.relatives(100) == ["王芳"]
    hospital.receive(adt("A08", c=3, m="10:10"))
    assert hospital.relatives(100) == ["王芳"]
    hospital.receive(adt("A08", c=4, m="10:15", segments=[f"NK1|1|{NULL}"]))
    assert hospital.relatives(100) == []


# ── death ───────────────────────────────────────────────────────────────────

DIED = adt("A08", c=12, m="16:00", PID_30="Y", PID_29="202611220930")


def test_b25_a_death_is_noted_and_stops_what_waits(hospital):
    hospital.receive(*STAY, DIED)

    patient = hospital.patient(100)
    assert (patient.deceased, patient.deceased_at) == (DeceasedState.DECEASED, moment("09:30"))
    assert set(hospital.instructions("V1")) == {WITHDRAWN}


def test_b25_a_time_of_death_alone_is_a_death(hospital):
    hospital.receive(adt("A01", c=1), adt("A08", c=2, m="10:05", PID_29="202611220930"))

    assert hospital.patient(100).deceased is DeceasedState.DECEASED


@pytest.mark.parametrize("alive", [NULL, "N"])
def test_b26_a_death_taken_back_is_disputed(hospital, alive):
    hospital.receive(KNOWN, DIED, adt("A08", c=13, m="17:00", PID_30=alive))

    assert hospital.patient(100).deceased is DeceasedState.DISPUTED


def test_b26_a_death_told_before_but_arriving_after_is_disputed_too(hospital):
    hospital.receive(KNOWN, adt("A08", c=13, m="17:00", PID_30="N"), DIED)

    assert hospital.patient(100).deceased is DeceasedState.DISPUTED


@pytest.fixture
def hospital_with_local_ways(database: Database, evening: FixedClock) -> Iterator[Hospital]:
    """A sender whose discharge way 20 means died."""
    sources = load_sources(config_path("sources"))
    his = Source(code="his", title="HIS", sender="HIS", facility="H1", discharge_ways={"20": "5", "1": "1"})
    sources = type(sources)([*sources.by_code.values(), his])
    with Hospital(database, evening, sources=sources) as hospital:
        yield hospital
        hospital.assert_repeats_change_nothing()


def test_b27_a_way_of_discharge_that_means_died_is_a_death(hospital_with_local_ways):
    hospital = hospital_with_local_ways
    hospital.receive(adt("A01", c=1), adt("A03", c=3, o="12:00", PV1_36="20"))

    patient = hospital.patient(100)
    assert (patient.deceased, patient.deceased_at) == (DeceasedState.DECEASED, moment("12:00"))
    assert set(hospital.application().flags.split()) == {"died:PV1-36", "no_discharge_time"}
    assert hospital.instructions("V1") == []


def test_b27_a_sender_that_always_says_alive_does_not_dispute_the_death_it_tells(hospital_with_local_ways):
    hospital = hospital_with_local_ways
    hospital.receive(adt("A01", c=1, PID_30="N"), adt("A03", c=3, o="12:00", PV1_36="20", PID_30="N"))

    assert hospital.patient(100).deceased is DeceasedState.DECEASED


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_b37_a_stay_that_ended_in_death_before_a_merge_is_disputed_in_any_order(
    hospital_with_local_ways, order
):
    """The living survivor is not dead by it, whether the stay or the merge comes first."""
    hospital = hospital_with_local_ways
    died = adt("A03", c=3, p=100, v="V1", o="11:30", m="11:31", PV1_36="20")
    messages = (died, OF_WOMAN, adt("A40", c=4, p=200, mrg=100, m="12:00", phone=ABSENT, **WOMAN))
    hospital.receive(*(messages[number] for number in order))

    assert hospital.patient(200).deceased is DeceasedState.DISPUTED


def test_b27_an_unmapped_way_changes_nothing_and_is_flagged(hospital_with_local_ways):
    hospital = hospital_with_local_ways
    hospital.receive(adt("A03", c=3, o="12:00", PV1_36="77", PV1_45=stamp("12:00")))

    assert hospital.patient(100).deceased is DeceasedState.ALIVE
    assert hospital.application().flags == "unmapped:PV1-36"
    (note,) = {row.note for row in hospital.all(Instruction)}
    assert note == "离院方式未知，先核实"


def test_b27_a_death_whose_discharge_is_cancelled_is_disputed_and_leaves_no_way(hospital_with_local_ways):
    hospital = hospital_with_local_ways
    hospital.receive(
        adt("A01", c=1), adt("A03", c=3, o="12:00", PV1_36="20"), adt("A13", c=4, m="12:30"),
        adt("A03", c=5, o="15:00"),
    )  # fmt: skip

    assert hospital.patient(100).deceased is DeceasedState.DISPUTED
    assert hospital.visit("V1").discharge_way.value == "unknown"
    assert set(hospital.instructions("V1")) == {ISSUED}
