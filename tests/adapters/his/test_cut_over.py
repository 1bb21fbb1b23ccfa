"""Cut-over and late tellings, through the socket: who is history is never called, what came too late is said so."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from hcrm.archive.death import report_death, revoke_death
from hcrm.archive.models import TimelineEntry
from hcrm.archive.visit_models import EncounterStatus
from hcrm.audit.models import AuditEvent
from hcrm.centre.instructions import TOLD_TOO_LATE
from hcrm.centre.measures import FOLLOWUP_RATIO
from hcrm.centre.models import Instruction, InstructionState, Withdrawal
from hcrm.core.clock import FixedClock
from hcrm.core.sources import Source, Sources
from hcrm.core.work import open_work
from tests.support.adt import adt
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.hospital import ACTOR, Hospital

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]

MISSED, ISSUED, WITHDRAWN = InstructionState.MISSED, InstructionState.ISSUED, InstructionState.WITHDRAWN
LIVE = "2026-11-20T00:00:00+08:00"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 11, 22, 15, tzinfo=UTC))  # 23:00 in Shanghai


def source(**more: object) -> Sources:
    return Sources([Source.model_validate({"code": "his", "title": "HIS", "sender": "HIS", **more})])


@pytest.fixture
def live(database, clock) -> Iterator[Hospital]:
    """A hospital whose source went live on the 20th."""
    with Hospital(database, clock, sources=source(follow_up_from=LIVE)) as hospital:
        yield hospital


@pytest.fixture
def hospital(database, clock) -> Iterator[Hospital]:
    """One without a cut-over."""
    with Hospital(database, clock, sources=source()) as hospital:
        yield hospital


def at(day: int, hour: int = 10, month: int = 11) -> str:
    return f"2026{month:02}{day:02}{hour:02}0000+0800"


def stay(
    day: int, *, told: str = "", month: int = 11, v: str = "V1", p: int = 100, **more: str
) -> list[bytes]:
    """An admission a day before and the discharge; `told`: when both were sent, if later."""
    left, came = at(day, month=month), at(day, 8, month=month)
    return [
        adt("A01", c=f"a{v}", v=v, p=p, o=came, m=told or came),
        adt("A03", c=f"d{v}", v=v, p=p, o=left, m=told or left, PV1_36="1", **more),
    ]  # fmt: skip


# ── before the source went live ─────────────────────────────────────────────


@pytest.mark.parametrize(
    "told", ["", at(22, 9)], ids=["told at once", "discharged before and reported after"]
)
def test_a_stay_before_the_cut_over_builds_the_archive_and_nobody_is_called(live, told):
    live.receive(*stay(19, told=told))

    assert live.visit("V1").status is EncounterStatus.FINISHED
    assert live.all(Instruction) == []  # not even a missed one
    assert live.events("EncounterClassified")
    assert live.events("InstructionIssued") == []
    with live.look() as work:
        population = FOLLOWUP_RATIO.rows(clock_day(work))
        assert (
            work.scalar(sa.select(sa.func.count()).select_from(population.source).where(*population.where))
            == 1
        )


def clock_day(work):
    return work.clock.now().date()


def test_a_stay_after_it_is_followed_up(live):
    live.receive(*stay(20))

    assert set(live.instructions("V1")) == {ISSUED}


def test_the_very_instant_is_the_first_of_the_new_time(live):
    live.receive(adt("A01", c=1, o=at(18), m=at(18)))
    live.receive(adt("A03", c=2, o="20261120000000+0800", m=at(20), PV1_36="1"))

    assert set(live.instructions("V1")) == {ISSUED}


def test_a_correction_of_history_issues_nothing_and_one_that_moves_it_over_does(live):
    live.receive(*stay(19))
    dg1 = "DG1|1||I63.900^脑梗死||" + "|F" + "|" * 9 + "1"
    live.receive(adt("A08", c=3, m=at(22, 9), segments=[dg1]))
    assert live.all(Instruction) == []

    live.receive(adt("A08", c=4, m=at(22, 10), PV1_45=at(20)[:14]))
    assert set(live.instructions("V1")) == {ISSUED}
    live.receive(adt("A08", c=5, m=at(22, 11), PV1_45=at(19)[:14]))
    assert set(live.instructions("V1")) == {WITHDRAWN}


def test_a_discharge_cancelled_and_told_again_stays_history(live):
    live.receive(*stay(19))
    live.receive(adt("A13", c=3, o=at(22, 9), m=at(22, 9)))
    live.receive(adt("A03", c=4, o=at(19, 11), m=at(22, 10), PV1_36="1"))

    assert live.visit("V1").status is EncounterStatus.FINISHED
    assert live.all(Instruction) == []


def note_death(hospital: Hospital) -> None:
    """A relative says so on the phone."""
    with open_work(hospital.database, actor=ACTOR, clock=hospital.clock) as work:
        report_death(work, patient_id=hospital.patient(100).id)
    hospital.settle()


def take_death_back(hospital: Hospital) -> None:
    with open_work(hospital.database, actor=ACTOR, clock=hospital.clock) as work:
        revoke_death(work, patient_id=hospital.patient(100).id, reason="同名误记")
    hospital.settle()


def test_a_death_taken_back_brings_nothing_of_history(live):
    live.receive(*stay(19, told=at(22, 9)))
    note_death(live)
    take_death_back(live)

    assert live.all(Instruction) == []


def test_what_was_issued_before_the_cut_over_was_set_is_not_restored(hospital):
    """Going back: the cut-over is set later, then the patient turns out to live."""
    hospital.receive(*stay(19))
    note_death(hospital)
    assert set(hospital.instructions("V1")) == {WITHDRAWN}
    hospital.restart_worker(source(follow_up_from=LIVE))
    take_death_back(hospital)

    assert set(hospital.instructions("V1")) == {WITHDRAWN}


def test_a_death_taken_back_after_it_restores_all(live):
    live.receive(*stay(20))
    note_death(live)
    take_death_back(live)

    assert set(live.instructions("V1")) == {ISSUED}


def test_a_cut_over_counts_for_its_source_only(database, clock):
    other = Source.model_validate({"code": "other", "title": "他院", "sender": "OTHER"})
    sources = Sources([*source(follow_up_from=LIVE).by_code.values(), other])
    with Hospital(database, clock, sources=sources) as hospital:
        hospital.receive(*stay(19))
        hospital.receive(*[raw.replace(b"|HIS|", b"|OTHER|") for raw in stay(19, v="V2", p=200)])

        assert hospital.instructions("V1") == []
        assert set(hospital.instructions("V2")) == {ISSUED}


# ── told when it was too late ───────────────────────────────────────────────


def test_a_discharge_that_arrives_weeks_late_is_missed_with_its_reason(hospital):
    hospital.receive(*stay(1, told=at(22, 9)))

    steps = {row.step_code: row for row in hospital.all(Instruction)}
    assert {row.state for row in steps.values()} >= {MISSED}
    for row in steps.values():
        is_late = row.closes_on < datetime(2026, 11, 22).date()  # noqa: DTZ001  a date
        assert (row.state, row.reason) == ((MISSED, TOLD_TOO_LATE) if is_late else (ISSUED, None))
    issued = [row for row in steps.values() if row.state is ISSUED]
    assert len(hospital.events("InstructionIssued")) == len(issued)
    titles = [row.title for row in hospital.all(TimelineEntry, TimelineEntry.kind == "instruction")]
    assert any(title.startswith("1 条随访已错过：消息到达时时间窗已过") for title in titles)
    assert "instruction.miss" in {row.action for row in hospital.all(AuditEvent)}


def test_what_was_missed_is_issued_where_the_discharge_turns_out_to_be_recent(hospital):
    hospital.receive(*stay(1, told=at(22, 9)))
    assert MISSED in hospital.instructions("V1")

    hospital.receive(adt("A08", c=3, m=at(22, 10), PV1_45=at(21)[:14]))

    assert set(hospital.instructions("V1")) == {ISSUED}
    assert len({row["instruction_id"] for row in hospital.events("InstructionIssued")}) == len(
        hospital.instructions("V1")
    )


def test_what_was_missed_goes_with_its_discharge(hospital):
    hospital.receive(*stay(1, told=at(22, 9)))
    hospital.receive(adt("A13", c=3, o=at(22, 10), m=at(22, 10)))

    assert set(hospital.instructions("V1")) == {WITHDRAWN}
    assert {row.withdrawal for row in hospital.all(Instruction)} == {Withdrawal.DISCHARGE_CANCELLED}


def test_what_comes_back_after_its_window_has_closed_is_missed(hospital, clock):
    hospital.receive(*stay(20))
    note_death(hospital)
    clock.moment = datetime(2027, 12, 1, tzinfo=UTC)
    take_death_back(hospital)

    assert set(hospital.instructions("V1")) == {MISSED}
    assert {row.reason for row in hospital.all(Instruction)} == {TOLD_TOO_LATE}


def test_a_year_s_history_sent_without_a_cut_over_calls_nobody(hospital):
    hospital.receive(*stay(22, month=3))

    assert set(hospital.instructions("V1")) == {MISSED}
    assert hospital.events("InstructionIssued") == []


def test_what_was_missed_is_shown_on_the_stay_s_page_and_offered_to_nobody(hospital, make_person, browser_of):
    hospital.receive(*stay(22, month=3))
    make_person("wang")
    wang = browser_of("wang")
    patient, step = hospital.patient(100).id, hospital.all(Instruction)[0].id

    shown = wang.get(f"/patients/{patient}?tab=followups").text
    page = wang.get(f"/instructions/{step}").text
    exceptions = wang.get("/instructions?exception=1").text

    assert "已错过" in shown
    assert TOLD_TOO_LATE in shown
    assert "得知出院时时间窗已过，没有下达" in page
    assert "开始随访" not in page
    assert "补录随访" not in page
    assert f"/instructions/{step}" not in exceptions
