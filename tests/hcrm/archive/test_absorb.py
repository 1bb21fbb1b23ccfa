"""Absorbing: clocks of fields, lists as snapshots, numbers, deaths, and what else is written."""

import itertools
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa

from hcrm.archive import records as r
from hcrm.archive.arrivals import Arrival
from hcrm.archive.events import PatientsTouched
from hcrm.archive.models import (
    ContactPoint,
    Patient,
    PatientHistory,
    PatientIdentifier,
)
from hcrm.archive.service import absorb_records
from hcrm.archive.terms import (
    DeceasedState,
    DischargeWay,
    EncounterStatus,
    IdentifierKind,
    Sex,
    VisitEventKind,
)
from hcrm.archive.visit_models import Diagnosis, Encounter, Procedure, VisitEvent
from hcrm.audit.models import AuditSubject
from hcrm.core.clock import FixedClock
from hcrm.core.events import Event
from hcrm.core.work import Work
from hcrm.directory.models import Department, Practitioner
from tests.support.adt import NULL, moment
from tests.support.changes import EVENING, change

CLOCK = FixedClock(EVENING)
START = datetime(2026, 11, 22, 1, tzinfo=UTC)


def absorb(work: Work, *changes: r.Change, first: int = 1) -> list[r.AbsorbOutcome]:
    outcomes = absorb_records(
        work, arrivals=[Arrival(seq, one) for seq, one in enumerate(changes, start=first)]
    )
    work.flush()
    return outcomes


# ── clocks of fields ────────────────────────────────────────────────────────


def test_each_value_knows_since_when_from_whom_and_by_which_message(work):
    absorb(work, change("A01", m="10:00"), change("A08", name="张^叁", phone="", m="10:05"))

    patient = work.one(Patient)
    since, source, seq = patient.provenance["name"]
    assert (datetime.fromisoformat(since), source, seq) == (moment("10:05"), "default", 2)
    assert patient.provenance["contacts"][2] == 1
    assert patient.provenance["birth_date"][2] == 2  # told again, as it was
    (phone,) = work.all(ContactPoint)
    assert (phone.as_of, phone.source, phone.seq) == (moment("10:00"), "default", 1)


def test_a_list_told_again_keeps_its_rows_and_counts_from_then_on(work):
    """Else a list that is older than its last telling could still replace it."""
    absorb(
        work, change("A01", phone="13800000001", m="10:00"), change("A08", phone="13800000001", m="10:10"),
        change("A08", phone="13800000002", m="10:05"),
    )  # fmt: skip

    (phone,) = work.all(ContactPoint, ContactPoint.ended_at.is_(None))
    assert work.keys.open_text(phone.value_sealed) == "+8613800000001"
    assert phone.seq == 1


def test_an_unknown_sex_never_replaces_a_known_one_whichever_is_newer(work):
    absorb(work, change("A08", sex="U", m="10:05"), change("A01", sex="M", m="10:00"))

    assert work.one(Patient).sex is Sex.MALE


def test_a_null_birth_date_empties_it_and_history_keeps_the_old_one(work):
    absorb(work, change("A01", m="10:00"), change("A08", dob=NULL, m="10:05"))

    assert work.one(Patient).birth_date is None
    (was,) = work.all(PatientHistory)
    assert (was.field, was.value, was.as_of) == ("birth_date", "1990-03-07", moment("10:00"))


def test_history_remembers_who_said_what_when(work):
    absorb(work, *(change("A08", name=f"张^{given}", m=f"10:0{n}") for n, given in enumerate("甲乙丙")))

    rows = sorted(work.all(PatientHistory), key=lambda row: row.as_of)
    assert [(row.value, row.seq) for row in rows] == [("张甲", 1), ("张乙", 2)]


def test_a_visit_field_goes_by_the_message_clock(work):
    absorb(
        work, change("A01", loc="W1^1^1", m="10:00"), change("A08", loc="W3^3^3", m="10:10"),
        change("A08", loc="W2^2^2", doctor="D2^王", m="10:05"),
    )  # fmt: skip

    visit = work.one(Encounter)
    assert visit.location == "W3-3-3"
    assert work.one(Practitioner, Practitioner.id == visit.attending_id).code == "D1"


def test_an_unmapped_class_is_kept_as_text_beside_what_was_known(work):
    absorb(work, change("A01", m="10:00"), change("A08", cls="ff", m="10:05"))
    visit = work.one(Encounter)
    assert (visit.encounter_class.value, visit.class_text) == ("inpatient", "ff")

    absorb(work, change("A08", cls="O", m="10:10"), first=3)
    work.session.refresh(visit)
    assert (visit.encounter_class.value, visit.class_text) == ("outpatient", None)


def test_a_way_of_discharge_goes_with_the_discharge_that_was_cancelled(work):
    first, cancel = change("A03", m="12:00", PV1_36="1"), change("A13", m="12:30")
    second = change("A03", m="15:00")
    absorb(work, change("A01"), first, second, cancel)

    visit = work.one(Encounter)
    assert (visit.status, visit.discharge_way) == (EncounterStatus.FINISHED, DischargeWay.UNKNOWN)


def test_an_update_corrects_the_time_of_discharge_and_of_admission(work):
    absorb(work, change("A01"), change("A03", o="12:00"))
    absorb(work, change("A08", m="13:00", PV1_44="20261122093000", PV1_45="20261122114500"), first=3)

    visit = work.one(Encounter)
    assert (visit.admitted_at, visit.discharged_at) == (moment("09:30"), moment("11:45"))
    assert kinds_of_events(work) == ["EncounterDischarged", "EncounterRevised"]
    assert VisitEventKind.UPDATE in {row.kind for row in work.all(VisitEvent)}


def test_an_update_that_tells_the_known_times_or_was_told_before_changes_nothing(work):
    known = {"PV1_44": "20261122093000", "PV1_45": "20261122114500"}
    absorb(work, change("A01"), change("A03", o="12:00", **known))
    absorb(
        work, change("A08", m="13:00", **known), change("A08", m="11:00", PV1_45="20261122104500"), first=3
    )

    assert work.one(Encounter).discharged_at == moment("11:45")


def test_a_time_of_discharge_in_an_update_opens_or_closes_nothing(work):
    absorb(work, change("A01"), change("A08", m="13:00", PV1_45="20261122114500"))

    visit = work.one(Encounter)
    assert (visit.status, visit.discharged_at) == (EncounterStatus.IN_PROGRESS, None)


# ── lists ───────────────────────────────────────────────────────────────────


def test_diagnoses_are_a_snapshot_and_the_list_before_ends(work):
    one, two = "DG1|1||I10^高血压", "DG1|2||E11^糖尿病"
    absorb(work, change("A01", segments=[one, two]), change("A08", m="10:05", segments=[two]))

    live = work.all(Diagnosis, Diagnosis.ended_at.is_(None))
    assert [(row.code, row.rank) for row in live] == [("E11", 1)]
    assert work.scalar(sa.select(sa.func.count()).select_from(Diagnosis)) == 3


def test_diagnoses_nobody_speaks_of_stay_and_null_empties_them(work):
    absorb(
        work, change("A01", segments=["DG1|1||I10^高血压"]), change("A08", m="10:05"),
        change("A08", m="10:10", segments=["DG1|1"]),
    )  # fmt: skip
    assert len(work.all(Diagnosis, Diagnosis.ended_at.is_(None))) == 1

    absorb(work, change("A08", m="10:15", segments=[f"DG1|1||{NULL}"]), first=4)
    assert work.all(Diagnosis, Diagnosis.ended_at.is_(None)) == []


def test_a_change_of_diagnoses_after_the_discharge_is_a_revision_and_the_same_list_again_is_none(work):
    listed = ["DG1|1||I10^高血压"]
    absorb(work, change("A01"), change("A03", o="12:00", segments=listed))
    absorb(work, change("A08", m="13:00", segments=listed), first=3)
    assert kinds_of_events(work) == ["EncounterDischarged"]

    absorb(work, change("A08", m="14:00", segments=["DG1|1||I63^脑梗死"]), first=4)
    assert kinds_of_events(work) == ["EncounterDischarged", "EncounterRevised"]


def kinds_of_events(work: Work) -> list[str]:
    """What happened, in its order; a call to count a patient anew is no news."""
    kinds = [row.kind for row in sorted(work.all(Event), key=lambda row: row.id)]
    return [kind for kind in kinds if kind != PatientsTouched.__name__]


def test_a_month_is_not_the_day_of_an_operation(work):
    absorb(work, change("A01", segments=["PR1|1||36.07^支架||202611", "PR1|2||36.06^造影||20261120"]))

    rows = sorted(work.all(Procedure), key=lambda row: row.rank)
    assert [(row.performed_on, row.performed_at) for row in rows] == [
        (None, None), (date(2026, 11, 20), None)]  # fmt: skip


def test_of_forty_numbers_five_are_kept(work):
    absorb(work, change("A01", phone="~".join(["", "", *(f"138000000{n:02}" for n in range(40))])))

    assert sorted(row.rank for row in work.all(ContactPoint)) == [3, 4, 5, 6, 7]


# ── identifiers ─────────────────────────────────────────────────────────────


def test_only_record_numbers_lie_in_clear(work):
    absorb(work, change("A01", p="100^^^H1^MR~C123456^^^INS^HC", ni="110101199003070011"))

    rows = {row.kind: row for row in work.all(PatientIdentifier)}
    assert rows[IdentifierKind.RECORD].value == "100"
    for kind, value in ((IdentifierKind.CITIZEN, "110101199003070011"), (IdentifierKind.OTHER, "C123456")):
        row = rows[kind]
        assert row.value is None
        assert work.keys.open_text(row.value_sealed) == value
        assert row.value_index == work.keys.blind("id", value)


def test_a_second_number_of_a_patient_finds_them_from_then_on(work):
    absorb(
        work, change("A01", p="100^^^H1^MR~P7^^^H1^PI"), change("A08", p="P7^^^H1^PI", phone="13800000009")
    )

    assert work.scalar(sa.select(sa.func.count()).select_from(Patient)) == 1
    (phone,) = work.all(ContactPoint, ContactPoint.ended_at.is_(None))
    assert work.keys.open_text(phone.value_sealed) == "+8613800000009"


def test_numbers_of_two_patients_in_one_message_are_flagged_and_the_best_one_counts(work):
    absorb(work, change("A01", p=100), change("A01", p=200, v="V2"))
    (outcome,) = absorb(work, change("A08", p="100^^^H1^MR~200^^^H1^MR", m="10:05"), first=3)

    assert outcome.flags == ("identifier_conflict",)
    (number,) = work.all(PatientIdentifier, PatientIdentifier.value == "100")
    assert outcome.patient_id == number.patient_id


def test_a_visit_of_another_patient_is_refused(work):
    absorb(work, change("A01", p=100, v="V1"))
    (outcome,) = absorb(work, change("A08", p=200, v="V1", m="10:05"), first=2)

    assert (outcome.state, outcome.reason) == (r.OutcomeState.PARKED, "visit_of_other_patient")
    assert work.scalar(sa.select(sa.func.count()).select_from(Patient)) == 1


# ── visits without a number ─────────────────────────────────────────────────


def test_without_a_visit_number_the_only_open_visit_is_meant(work):
    absorb(work, change("A01", v="V1"))
    (outcome,) = absorb(work, change("A03", v="", o="12:00"), first=2)

    assert outcome.encounter_id == work.one(Encounter).id
    assert work.one(Encounter).status is EncounterStatus.FINISHED


def test_without_a_number_and_with_two_open_visits_a_person_decides(work):
    absorb(work, change("A01", v="V1"), change("A04", v="V2", m="10:05"))
    (outcome,) = absorb(work, change("A03", v="", o="12:00"), first=3)

    assert (outcome.state, outcome.reason) == (r.OutcomeState.PARKED, "visit_unclear")


def test_a_visit_without_a_number_is_not_opened_again_by_its_own_messages(work):
    stay = [change("A01", v=""), change("A03", v="", o="12:00")]
    absorb(work, *stay)
    absorb(work, *stay)
    absorb(work, *stay, first=3)

    assert work.one(Encounter).status is EncounterStatus.FINISHED
    assert work.scalar(sa.select(sa.func.count()).select_from(VisitEvent)) == 2


# ── death ───────────────────────────────────────────────────────────────────

LIVES, DIED = DeceasedState.ALIVE, DeceasedState.DECEASED


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        ((LIVES, LIVES, LIVES), DeceasedState.ALIVE),
        ((LIVES, LIVES, DIED), DeceasedState.DECEASED),
        ((LIVES, DIED, LIVES), DeceasedState.DISPUTED),
        ((DIED, LIVES, DIED), DeceasedState.DECEASED),
        ((DIED, DIED, LIVES), DeceasedState.DISPUTED),
    ],
)
def test_what_is_known_of_a_death_does_not_depend_on_the_order_of_arrival(work, told, outcome, order):
    flags = {LIVES: "N", DIED: "Y"}
    changes = [change("A31", m=f"10:0{n}", PID_30=flags[word]) for n, word in enumerate(told)]
    absorb(work, *(changes[n] for n in order))

    assert work.one(Patient).deceased is outcome


# ── what else is written ────────────────────────────────────────────────────


def test_every_message_that_touches_a_patient_is_audited_once(work):
    absorb(work, change("A01"), change("A08", m="10:05"), change("A13", v="V9", m="10:10"))

    assert work.scalar(sa.select(sa.func.count()).select_from(AuditSubject)) == 2


def test_unknown_departments_and_doctors_become_unverified_entries_once(work):
    absorb(work, change("A01"), change("A01", p=200, v="V2"))

    assert (work.one(Department).code, work.one(Department).is_verified) == ("W1", False)
    assert (work.one(Practitioner).name, work.one(Practitioner).is_verified) == ("李", False)


def test_a_record_without_a_number_is_refused(work):
    nameless = replace(change("A28"), patient=r.PatientRecord(identifiers=()))
    (outcome,) = absorb(work, nameless)

    assert (outcome.state, outcome.reason) == (r.OutcomeState.PARKED, "no_patient_number")
