"""The daily comparison with a HIS's own list: what is missing, extra or differs is named, applied, and then gone."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from hcrm.archive.visit_models import Encounter
from hcrm.core.clock import FixedClock
from hcrm.core.errors import ConflictError
from hcrm.core.sources import Sources
from hcrm.core.work import open_work
from hcrm.inbox import census_acts as acts
from hcrm.inbox.census_models import CensusLine, CensusRun, LineState, RunState
from hcrm.inbox.models import ApplicationState, InboxMessage
from hcrm.inbox.monitor import watch_interface
from hcrm.inbox.monitor_models import Incident, IncidentKind
from tests.support.adt import adt
from tests.support.census import ACTOR, ListFolder, ListView, Reconciling, listed, source_of
from tests.support.hospital import Hospital

DAY = date(2026, 11, 21)


@pytest.fixture
def clock() -> FixedClock:
    """Sunday 10:00 in Shanghai; yesterday is over."""
    return FixedClock(datetime(2026, 11, 22, 2, tzinfo=UTC))


@pytest.fixture(params=["xlsx", "view"])
def lists(request, tmp_path) -> Iterator[ListFolder | ListView]:
    if request.param == "xlsx":
        yield ListFolder(tmp_path)
        return
    databases = request.getfixturevalue("postgresql_databases")
    with databases.blank(tmp_path) as url:
        yield ListView(url)


@pytest.fixture
def folder(tmp_path) -> ListFolder:
    return ListFolder(tmp_path)


class House(Hospital):
    """A hospital whose HIS keeps a list."""

    def __init__(self, database, clock, source) -> None:
        super().__init__(database, clock, sources=Sources([source]))
        self.office = Reconciling(database, clock, source)

    def stay(self, visit_no: str, admitted: str, discharged: str | None = None, **more: str) -> None:
        """Its messages; times as the list writes them."""
        number = visit_no.removeprefix("V")
        for event, when in (("A01", admitted), ("A03", discharged)):
            if when:
                self.receive(message(event, visit_no, when, p=more.get("p", number), **_fields(event, more)))


def _fields(event: str, more: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in more.items() if name != "p"}
    return kept if event == "A03" else {name: value for name, value in kept.items() if name != "PV1_36"}


def message(event: str, visit_no: str, when: str, **more: str) -> bytes:
    at = f"202611{when.replace(' ', '').replace(':', '')}00+0800"
    fields = {"PV1_36": "1"} | more if event == "A03" else more
    return adt(event, c=f"{event}-{visit_no}-{when}", v=visit_no, o=at, m=at, r=at, **fields)


@pytest.fixture
def house_of(database, clock):
    """A hospital by its source's list."""
    opened: list[House] = []

    def build(lists, **more) -> House:
        house = House(database, clock, source_of(lists.census(**more)))
        opened.append(house)
        house.__enter__()
        return house

    yield build
    for house in opened:
        house.__exit__()


def incidents(house: House) -> list[tuple[IncidentKind, str, bool]]:
    with open_work(house.database, actor=ACTOR, clock=house.clock) as work:
        watch_interface(work)
    rows = house.all(Incident)
    return sorted((row.kind, row.subject, row.closed_at is None) for row in rows)


# ── what is found ───────────────────────────────────────────────────────────


def test_a_list_that_says_what_the_archive_says_finds_nothing(house_of, lists):
    house = house_of(lists)
    house.stay("V1", "21 09:30")
    house.stay("V2", "18 10:00", "21 15:00")
    lists.put(DAY, [listed("V1", "21 09:30"), listed("V2", "18 10:00", "21 15:00")])

    run = house.office.run()

    assert (run.state, run.rows, run.findings, run.unreadable) == (RunState.COMPLETE, 2, 0, 0)
    assert [line[:3] + line[4:] for line in run.counts] == [
        ["admission", "", "W1", 1, 1, 0, 0, 0], ["discharge", "", "W1", 1, 1, 0, 0, 0],
    ]  # fmt: skip
    assert incidents(house) == []


def test_missing_extra_and_differing_stays_are_named_with_both_values(house_of, lists):
    house = house_of(lists)
    house.stay("V1", "18 10:00", "21 15:00")
    house.stay("V2", "18 10:00", "21 15:00", loc="W2^1^1")  # department and way altered
    house.stay("V3", "18 10:00")  # its discharge was lost
    house.stay("V4", "21 08:00")  # nobody of theirs
    lists.put(DAY, [
        listed("V1", "18 10:00", "21 15:05"),
        listed("V2", "18 10:00", "21 15:00", lyfs="4"),
        listed("V3", "18 10:00", "21 16:00"),
        listed("V5", "21 07:00", "21 18:00"),
    ])  # fmt: skip

    run = house.office.run()

    assert house.office.said(run) == [
        ("V1", "discharge", "differing", "discharged_at"),
        ("V2", "discharge", "differing", "department"),
        ("V2", "discharge", "differing", "discharge_way"),
        ("V3", "discharge", "missing", ""),
        ("V4", "admission", "extra", ""),
        ("V5", "admission", "missing", ""),
        ("V5", "discharge", "missing", ""),
    ]
    assert run.findings == 5
    (times, place, way, lost, *_) = house.office.lines(run)
    assert (times.theirs, times.ours) == ("2026-11-21 15:05:00", "2026-11-21 15:00:00")
    assert (place.theirs, place.ours) == ("W1", "W2")
    assert (way.theirs, way.ours) == ("非医嘱离院", "医嘱离院")
    assert (lost.theirs, lost.ours) == ("2026-11-21 16:00:00", "在院")
    assert incidents(house) == [(IncidentKind.CENSUS, "2026-11-21", True)]


def test_a_stay_is_found_by_its_number_whoever_it_is_said_to_be(house_of, folder):
    house = house_of(folder)
    house.stay("V1", "21 09:30", p="100")
    folder.put(DAY, [listed("V1", "21 09:30", patient="999", xm="另一个人")])

    run = house.office.run()

    assert house.office.said(run) == [("V1", "admission", "differing", "patient_no")]
    assert (house.office.lines(run)[0].theirs, house.office.lines(run)[0].ours) == ("999", "100")


def test_a_merged_visit_is_its_survivor_and_a_cancelled_one_is_nobody_s(house_of, folder):
    house = house_of(folder)
    house.stay("V1", "21 09:30", p="100")
    house.stay("V2", "21 09:30", p="100")
    house.receive(
        adt("A42", c="m", p=100, v="V1", m="20261121120000+0800", segments=["MRG|100^^^H1^MR||||V2"])
    )
    house.stay("V3", "21 09:30")
    house.receive(message("A11", "V3", "21 10:00", p="3"))
    folder.put(DAY, [listed("V2", "21 09:30", patient="100")])

    run = house.office.run()

    assert house.office.said(run) == []
    folder.put(DAY, [listed("V2", "21 09:30", patient="100"), listed("V3", "21 09:30")])
    assert house.office.said(house.office.run()) == [("V3", "admission", "missing", "")]


def test_a_discharge_around_midnight_is_one_discharge(house_of, folder):
    house = house_of(folder)
    house.receive(message("A01", "V1", "18 10:00", p="1"))
    house.receive(
        adt("A03", c="d1", v="V1", p=1, o="20261122000020+0800", m="20261122000020+0800", PV1_36="1")
    )
    house.receive(message("A01", "V2", "18 10:00", p="2"))
    house.receive(
        adt("A03", c="d2", v="V2", p=2, o="20261121000010+0800", m="20261121000010+0800", PV1_36="1")
    )
    house.stay("V3", "18 10:00", "22 00:30")
    folder.put(DAY, [
        listed("V1", "18 10:00", "21 23:59") | {"cyrq": "2026-11-21 23:59:40"},  # theirs before, ours after
        # V2: theirs stands on the list of the 20th
        listed("V3", "18 10:00", "21 23:30"),
    ])  # fmt: skip

    run = house.office.run()

    assert house.office.said(run) == [("V3", "discharge", "differing", "discharged_at")]


def test_a_list_that_names_only_days_is_compared_by_days(house_of, folder):
    house = house_of(folder)
    house.stay("V1", "18 10:00", "21 15:00")
    folder.put(DAY, [listed("V1", "18 10:00") | {"ryrq": "2026-11-18", "cyrq": "2026/11/21", "lyfs": "1"}])

    run = house.office.run()

    assert (run.findings, run.counts[0][4:]) == (0, [1, 1, 0, 0, 0])


def test_deaths_are_counted_beside_discharges_and_a_lost_death_is_missing(house_of, folder):
    house = house_of(folder)
    house.stay("V1", "18 10:00", "21 15:00", PV1_36="5")
    house.stay("V2", "18 10:00", "21 15:00")
    folder.put(DAY, [
        listed("V1", "18 10:00", "21 15:00", lyfs="5"), listed("V2", "18 10:00", "21 15:00", lyfs="5"),
    ])  # fmt: skip

    run = house.office.run()

    assert house.office.said(run) == [
        ("V2", "death", "missing", ""), ("V2", "discharge", "differing", "discharge_way"),
    ]  # fmt: skip
    house.office.apply(run)
    house.settle()
    assert house.office.said(house.office.run()) == []
    assert house.visit("V2").discharge_way.label == "死亡"


def test_departments_are_counted_by_their_campus(house_of, folder):
    house = house_of(folder, campuses={"W2": "东院"}, campus="本部")
    house.stay("V1", "21 09:00")
    folder.put(DAY, [listed("V1", "21 09:00"), listed("V2", "21 09:00", ks="W2")])

    run = house.office.run()

    assert [line[1:3] + line[4:] for line in run.counts] == [
        ["东院", "W2", 1, 0, 1, 0, 0], ["本部", "W1", 1, 1, 0, 0, 0],
    ]  # fmt: skip


# ── lists that are not believed ─────────────────────────────────────────────


def test_an_empty_or_halved_list_is_not_believed_until_a_person_says_so(house_of, folder):
    house = house_of(folder)
    for number in range(24):
        house.send(message("A01", f"V{number}", "21 09:30", p=str(number)))
    house.settle()
    folder.put(DAY, [])
    empty = house.office.run()
    assert (empty.state, empty.usual, house.office.lines(empty)) == (RunState.SUSPECT, 24, [])
    assert house.office.run() is None  # nothing new to say
    folder.put(DAY, [listed(f"V{number}", "21 09:30") for number in range(11)])

    half = house.office.run()

    assert (half.state, half.number, half.rows) == (RunState.SUSPECT, 2, 11)
    assert incidents(house) == [(IncidentKind.CENSUS_LIST, "2026-11-21", True)]
    house.office.write(lambda work: acts.repeat_run(work, run_id=half.id, is_believed=True))
    assert house.office.tick() == 1
    (believed,) = house.all(CensusRun, CensusRun.number == 3)
    assert (believed.state, believed.findings, believed.believed_by_name) == (
        RunState.COMPLETE,
        13,
        ACTOR.name,
    )
    assert (IncidentKind.CENSUS_LIST, "2026-11-21", False) in incidents(house)


def test_what_is_usual_is_learned_from_the_days_before(house_of, folder, database, clock):
    house = house_of(folder)
    with open_work(database, actor=ACTOR, clock=clock) as work:
        for back in (7, 14, 1, 2):
            work.add(
                CensusRun(
                    id=work.new_id(), source="his", day=DAY - timedelta(days=back), number=1, state=RunState.COMPLETE,
                    list_at=None, rows=100 if back % 7 == 0 else 30, unreadable=0, usual=None, error=None, counts=[],
                    findings=0, allowed=0, ran_at=clock.now(), ran_by="", again_at=None, believed_by=None,
                    believed_by_name=None,
                )
            )  # fmt: skip
    folder.put(DAY, [listed(f"V{number}", "21 09:30") for number in range(40)])

    run = house.office.run()

    assert (run.state, run.usual) == (RunState.SUSPECT, 100)  # a Saturday as the Saturdays before


def test_a_list_that_does_not_come_raises_the_alarm_at_its_hour_and_is_compared_when_it_comes(
    house_of, folder, clock
):
    house = house_of(folder, at="06:30", due="08:00")
    house.stay("V1", "21 09:30")
    clock.moment = datetime(2026, 11, 21, 22, 29, tzinfo=UTC)  # 06:29
    assert house.office.tick() == 0
    clock.move(minutes=30)
    assert (house.office.tick(), incidents(house)) == (0, [])
    clock.move(minutes=61)
    assert (house.office.tick(), house.office.tick()) == (1, 0)  # said once
    assert incidents(house) == [(IncidentKind.CENSUS_LIST, "2026-11-21", True)]
    folder.put(DAY, [listed("V1", "21 09:30")])

    assert house.office.tick() == 1

    assert [run.state for run in house.all(CensusRun)] == [RunState.ABSENT, RunState.COMPLETE]
    assert incidents(house) == [(IncidentKind.CENSUS_LIST, "2026-11-21", False)]
    assert house.office.tick() == 0


def test_a_file_still_being_written_has_not_come(house_of, folder, clock):
    house = house_of(folder)
    folder.put(DAY, [listed("V1", "21 09:30")])
    written = (folder.folder / "cy-20261121.xlsx").stat().st_mtime
    census = house.office.source.census
    still = census.model_copy(update={"file": census.file.model_copy(update={"still_seconds": 60.0})})
    house.office.source = house.office.source.model_copy(update={"census": still})
    clock.moment = datetime.fromtimestamp(written, UTC) + timedelta(seconds=30)
    assert house.office.run(DAY) is None or house.all(CensusRun)[-1].state is RunState.ABSENT
    clock.move(seconds=60)
    assert house.office.run(DAY).state is RunState.COMPLETE


@pytest.mark.parametrize(
    ("content", "error"), [(b"PK\x03\x04 no zip", "unreadable"), (b"", "unreadable"), (None, "columns")]
)
def test_a_list_nobody_can_read_is_said_once_and_named(house_of, folder, content, error):
    house = house_of(folder)
    folder.put(DAY, [])
    path = folder.folder / "cy-20261121.xlsx"
    if content is not None:
        path.write_bytes(content)
    else:
        path = path.with_suffix(".csv")
        path.write_text("zyh,brid\n1,2\n")
        source = source_of({"file": {"path": str(folder.folder / "cy-%Y%m%d.csv"), "still_seconds": 0}})
        house.office = Reconciling(house.database, house.clock, source)

    run = house.office.run()

    assert (run.state, run.error) == (RunState.UNREADABLE, error)
    assert house.office.run() is None


def test_a_view_that_is_away_is_unreadable_and_nothing_of_it_is_logged(house_of, lists, capsys):
    if isinstance(lists, ListFolder):
        pytest.skip("a file has no server")
    house = house_of(lists)
    lists.run("DROP VIEW v_mdrb")

    run = house.office.run()

    assert (run.state, run.error) == (RunState.UNREADABLE, "ProgrammingError")
    assert "v_mdrb" not in capsys.readouterr().out


# ── what people do ──────────────────────────────────────────────────────────


@pytest.fixture
def troubled(house_of, folder) -> House:
    """V1 unknown, V2 without its discharge, V3 with another time, V4 extra."""
    house: House = house_of(folder)
    house.stay("V2", "18 10:00")
    house.stay("V3", "18 10:00", "21 15:00")
    house.stay("V4", "21 08:00")
    folder.put(DAY, [
        listed("V1", "21 07:00", "21 18:00"), listed("V2", "18 10:00", "21 16:00"),
        listed("V3", "18 10:00", "21 15:30"),
    ])  # fmt: skip
    house.office.run()
    return house


def the_run(house: House) -> CensusRun:
    return max(house.all(CensusRun), key=lambda run: run.number)


def test_applying_all_makes_messages_of_the_rows_and_the_next_run_is_healed(troubled, clock):
    run = the_run(troubled)
    before = troubled.count(InboxMessage)

    assert troubled.office.apply(run) == 3
    assert troubled.count(InboxMessage) == before + 3
    with pytest.raises(ConflictError):
        troubled.office.apply(run)  # pressed twice
    troubled.settle()
    clock.move(minutes=5)
    assert troubled.office.tick() == 1  # of itself

    assert troubled.office.said(the_run(troubled)) == [("V4", "admission", "extra", "")]
    assert {line.state for line in troubled.office.lines(run)} == {LineState.APPLIED, LineState.OPEN}
    assert troubled.visit("V3").discharged_at == datetime(2026, 11, 21, 7, 30, tzinfo=UTC)
    assert troubled.visit("V2").discharged_at == datetime(2026, 11, 21, 8, tzinfo=UTC)
    assert troubled.count(Encounter) == 4
    assert {row[0] for row in troubled.outcomes()} == {ApplicationState.APPLIED}


def test_one_finding_is_applied_alone_with_its_whole_stay(troubled):
    run = the_run(troubled)
    line = next(line for line in troubled.office.lines(run) if line.visit_no == "V1")

    assert troubled.office.apply(run, line.id) == 1

    states = {(each.visit_no, each.state) for each in troubled.office.lines(run)}
    assert states == {
        ("V1", LineState.APPLIED), ("V2", LineState.OPEN), ("V3", LineState.OPEN), ("V4", LineState.OPEN),
    }  # fmt: skip


def test_a_crash_between_store_and_note_applies_the_same_messages_again_once(troubled, monkeypatch):
    run = the_run(troubled)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(acts, "_mark", crash)
    with pytest.raises(KeyboardInterrupt):
        troubled.office.apply(run)
    monkeypatch.undo()
    stored = troubled.count(InboxMessage)
    assert troubled.office.apply(run) == 3

    assert troubled.count(InboxMessage) == stored
    troubled.settle()
    assert troubled.count(Encounter) == 4


def test_a_message_told_after_the_list_was_made_keeps_its_word(troubled, clock):
    run = the_run(troubled)
    clock.move(hours=1)
    at = "20261122103000+0800"
    troubled.receive(adt("A08", c="later", v="V3", p=3, m=at, r=at, PV1_45="20261121170000+0800"))
    clock.move(hours=1)

    troubled.office.apply(run)
    troubled.settle()

    assert troubled.visit("V3").discharged_at == datetime(2026, 11, 21, 9, tzinfo=UTC)


def test_what_was_explained_raises_no_alarm_and_stays_explained(troubled):
    run = the_run(troubled)
    troubled.office.apply(run)
    troubled.settle()
    (extra,) = troubled.office.lines(troubled.office.run())
    assert incidents(troubled) == [(IncidentKind.CENSUS, "2026-11-21", True)]

    troubled.office.write(lambda work: acts.explain_line(work, line_id=extra.id, note="自费体检，HIS 不统计"))

    assert incidents(troubled) == [(IncidentKind.CENSUS, "2026-11-21", False)]
    (again,) = troubled.office.lines(troubled.office.run())
    assert (again.state, again.note) == (LineState.EXPLAINED, "自费体检，HIS 不统计")
    assert incidents(troubled) == [(IncidentKind.CENSUS, "2026-11-21", False)]


def test_what_was_requested_waits_and_an_older_run_is_not_worked_on(troubled):
    run = the_run(troubled)
    asked = troubled.office.write(lambda work: acts.request_lines(work, run_id=run.id))
    assert asked == len(troubled.office.lines(run))

    again = troubled.office.run()

    assert {line.state for line in troubled.office.lines(again)} == {LineState.REQUESTED}
    assert incidents(troubled) == [(IncidentKind.CENSUS, "2026-11-21", True)]
    with pytest.raises(ConflictError, match="此后又对过账"):
        troubled.office.apply(run)
    assert troubled.office.apply(again) == 3  # asked for, and then applied all the same


def test_findings_within_the_limit_raise_no_alarm(house_of, folder):
    house = house_of(folder, limit=1)
    folder.put(DAY, [listed("V1", "21 07:00"), listed("V2", "18 10:00")])
    house.stay("V3", "21 07:00")
    house.stay("V1", "21 07:00")

    assert house.office.run().findings == 1
    assert incidents(house) == []


def test_days_nobody_compared_are_made_up_for(house_of, folder, clock):
    house = house_of(folder)
    for day in range(15, 21):
        folder.put(date(2026, 11, day), [])
    clock.moment = datetime(2026, 11, 16, 2, tzinfo=UTC)
    assert house.office.tick() == 1  # the first: no history is asked for
    clock.moment = datetime(2026, 11, 20, 2, tzinfo=UTC)
    assert house.office.tick() == 4

    assert [run.day.day for run in house.all(CensusRun)] == [15, 16, 17, 18, 19]


def test_old_comparisons_go(house_of, folder, clock):
    house = house_of(folder)
    house.stay("V1", "21 07:00")
    folder.put(DAY, [listed("V2", "21 07:00")])
    house.office.tick()
    clock.move(days=402)
    folder.put(house.office.yesterday, [])
    house.office.tick()

    assert [run.day for run in house.all(CensusRun)] == [house.office.yesterday]
    assert house.all(CensusLine) == []


# ── the proof ───────────────────────────────────────────────────────────────


def test_three_percent_lost_and_one_percent_altered_are_named_exactly_and_healed(house_of, lists, database):
    """Some thousand stays on the socket; which messages never arrive, and which arrive wrong, the list finds out."""
    if isinstance(lists, ListFolder) == database.is_sqlite:
        pytest.skip("each engine with one form of list: a minute is enough")
    house = house_of(lists)
    rows, lost, altered = [], set(), set()
    for number in range(1_500):
        visit_no, patient = f"V{number}", str(number)
        is_discharge = number % 2 == 1
        hour = f"{7 + number % 12:02}:{number % 60:02}"
        admitted, discharged = ("18 10:00", f"21 {hour}") if is_discharge else (f"21 {hour}", None)
        rows.append(listed(visit_no, admitted, discharged, ks=f"W{number % 20}"))
        last = "A03" if is_discharge else "A01"
        if is_discharge:
            house.send(message("A01", visit_no, admitted, p=patient, loc=f"W{number % 20}^1^1"))
        if number % 33 == 5:
            lost.add(visit_no)
            continue
        when, ward = discharged or admitted, f"W{number % 20}^1^1"
        if number % 100 == 7:
            altered.add(visit_no)
            when, ward = (
                (f"21 {hour[:3]}{(int(hour[3:]) + 20) % 60:02}", ward)
                if number % 200 == 7
                else (when, "W77^1^1")
            )
        house.send(message(last, visit_no, when, p=patient, loc=ward))
    house.settle()
    lists.put(DAY, rows)

    run = house.office.run()

    found = house.office.lines(run)
    assert {line.visit_no for line in found if line.finding.value == "missing"} == lost
    assert {line.visit_no for line in found if line.finding.value == "differing"} == altered - lost
    assert not [line for line in found if line.finding.value == "extra"]
    assert len(lost) == 46
    assert len(altered) == 15
    assert run.findings == len(lost | altered)
    stays = house.count(Encounter)
    house.office.apply(run)
    house.settle()
    assert house.office.run().findings == 0
    assert house.count(Encounter) == stays + len([one for one in lost if int(one[1:]) % 2 == 0])
    patients = house.count(Encounter, Encounter.status == sa.literal("finished"))
    assert patients >= 749
