"""Code maps of the console: applied from the next batch, on the days they are valid; unknown codes are counted."""

from datetime import date

import pytest

from adapters.his.mapping import map_message
from hcrm.app.wiring import console_parts
from hcrm.archive.arrivals import Arrival
from hcrm.archive.service import absorb_records
from hcrm.archive.visit_models import Encounter, EncounterClass
from hcrm.centre.models import Instruction
from hcrm.core.actor import system_actor
from hcrm.core.errors import HcrmError
from hcrm.core.inputs import read_input
from hcrm.core.sources import Source, Sources
from hcrm.core.work import Work, open_work
from hcrm.directory.code_maps import MappedSources, list_mapped, list_unmapped, note_sightings, sighting_of
from hcrm.directory.entries import change_entry, create_entry, values_of
from hcrm.directory.kinds import KINDS
from hcrm.directory.models import Campus, CodeMap, CodeSighting, Department
from hcrm.inbox.console_models import ReplayRun
from hcrm.inbox.models import InboxMessage
from hcrm.inbox.queries import MessageFilters
from hcrm.inbox.replaying import preview_replay, start_replay
from hcrm.inbox.told import tell_message
from tests.support.adt import adt
from tests.support.builders import make_department
from tests.support.hospital import Hospital
from tests.support.truth_table import evening

__all__ = ["evening"]

CODES = KINDS["code_map"]
SOURCES = Sources([Source(code="default", title="default", departments={"12": "K12"})])


@pytest.fixture
def his(database, evening):
    with Hospital(database, evening) as hospital:
        yield hospital


def enter(work: Work, **values: str) -> str:
    typed = {"source": "default", "valid_from": "", "valid_to": "", "note": "", **values}
    return create_entry(work, CODES, read_input(CODES.inputs, typed))


def test_an_unknown_code_is_counted_and_mapped_in_one_step_from_the_next_message(his, database):
    his.receive(
        adt("A01", c=1, v="V1", m="12:00", cls="日间"), adt("A01", c=2, p=200, v="V2", m="12:05", cls="日间")
    )
    (sighting,) = his.all(CodeSighting)
    assert (sighting.kind, sighting.local_code, sighting.number) == ("class", "日间", 2)
    assert his.visit("V1").encounter_class is EncounterClass.UNKNOWN

    with open_work(database, actor=system_actor("test"), clock=his.clock) as work:
        assert [one.local_code for one in list_unmapped(work, SOURCES)] == ["日间"]
        enter(work, kind="class", local_code="日间", target="inpatient")
        assert list_unmapped(work, SOURCES) == []
    his.receive(adt("A01", c=3, p=300, v="V3", m="12:10", cls="日间"))
    assert his.visit("V3").encounter_class is EncounterClass.INPATIENT
    assert his.all(CodeSighting)[0].number == 2


def test_a_row_of_the_console_wins_over_the_file_on_its_days_only(work: Work):
    make_department(work).code = "K13"
    work.session.flush()
    maps = MappedSources(SOURCES)
    maps.refresh(work)
    assert maps.on(date(2026, 11, 22)) is SOURCES
    key = enter(
        work, kind="department", local_code="12", target="K13", valid_from="2026-11-22", valid_to="2026-11-30"
    )
    maps.refresh(work)
    told = [maps.on(date(2026, 11, day)).by_code["default"].departments["12"] for day in (21, 22, 30)]
    assert told == ["K12", "K13", "K13"]
    assert maps.on(date(2026, 12, 1)).by_code["default"].departments["12"] == "K12"

    row = work.get(CodeMap, key)
    typed = {name: value or "" for name, value in values_of(CODES, row).items()} | {"valid_to": ""}
    change_entry(work, CODES, key, base=values_of(CODES, row), entered=read_input(CODES.inputs, typed))
    maps.refresh(work)
    assert maps.on(date(2026, 12, 1)).by_code["default"].departments["12"] == "K13"
    (line,) = list_mapped(work, SOURCES, source_code="default", kind="department")
    assert (line.target, line.replaces) == ("K13", "K12")


def test_a_map_that_has_run_out_hides_neither_the_file_nor_that_its_code_waits(work: Work):
    make_department(work).code = "K13"
    work.session.flush()
    ended = {"valid_from": "2026-01-01", "valid_to": "2026-01-31"}
    enter(work, kind="department", local_code="12", target="K13", **ended)
    enter(work, kind="sex", local_code="X", target="male", **ended)
    note_sightings(work, [(1, ("default", "sex", "X"))], work.clock.now())

    assert [one.local_code for one in list_unmapped(work, SOURCES)] == ["X"]
    lines = list_mapped(work, SOURCES, source_code="default", kind="department")
    assert [(one.target, one.id is None) for one in lines if one.local_code == "12"] == [
        ("K13", False), ("K12", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kind": "class", "local_code": "日间", "target": "daycare"}, "选项"),
        ({"kind": "department", "local_code": "1", "target": "NO"}, "没有这个科室"),
        ({"kind": "weather", "local_code": "1", "target": "1"}, "没有这种代码"),
        (
            {
                "kind": "sex",
                "local_code": "x",
                "target": "male",
                "valid_from": "2026-02-01",
                "valid_to": "2026-01-01",
            },
            "早于",
        ),
    ],
)
def test_a_map_to_nothing_we_know_is_refused(work: Work, values, says):
    with pytest.raises(HcrmError, match=says):
        enter(work, **values)


def test_one_code_means_one_thing_on_one_day(work: Work):
    enter(work, kind="discharge_way", local_code="A", target="1", valid_to="2026-06-30")
    enter(work, kind="discharge_way", local_code="A", target="2", valid_from="2026-07-01")
    with pytest.raises(HcrmError, match="已有对照"):
        enter(
            work,
            kind="discharge_way",
            local_code="A",
            target="3",
            valid_from="2026-06-30",
            valid_to="2026-06-30",
        )
    assert len(work.all(CodeMap)) == 2


def test_a_move_between_campuses_keeps_one_stay_and_the_discharging_department_follows_up(his, database):
    his.receive(adt("A01", c=1, v="V1", m="12:00", loc="W1^1^1"))
    with open_work(database, actor=system_actor("test"), clock=his.clock) as work:
        east = Campus(id=work.new_id(), code="E", name="东院区", created_at=work.clock.now())
        work.add(east)
        second = make_department(work, name="康复科")
        second.code, second.campus_id = "W2", east.id
    his.receive(
        adt("A02", c=2, v="V1", m="12:30", loc="W2^1^1"),
        adt("A03", c=3, v="V1", m="13:00", loc="W2^1^1", PV1_36="1"),
    )

    (stay,) = his.all(Encounter)
    (department,) = his.all(Department, Department.code == "W2")
    assert stay.department_id == department.id
    told = {row.department_id for row in his.all(Instruction)}
    assert told == {department.id}


def test_a_message_fills_in_the_campus_of_a_department_and_never_moves_one(work: Work):
    for code in ("EAST", "WEST"):
        work.add(Campus(id=work.new_id(), code=code, name=code, created_at=work.clock.now()))
    sources = Sources([Source(code="default", title="d", campus_from=("PV1-3.4",), campuses={"H2": "EAST"})])

    def told(seq: int, loc: str) -> str | None:
        change = map_message(adt("A01", c=seq, p=seq, v=f"V{seq}", loc=loc), sources, work.clock.now()).result
        absorb_records(work, arrivals=[Arrival(seq, change)])
        work.session.expire_all()
        campus_id = work.one(Department, Department.code == loc.partition("^")[0]).campus_id
        return work.get(Campus, campus_id).code if campus_id else None

    assert told(1, "W1^1^1^H9") is None  # a campus nobody entered
    assert told(2, "W1^1^1^H2") == "EAST"
    assert told(3, "W1^1^1^WEST") == "EAST"
    assert told(4, "W2^1^1^WEST") == "WEST"


def test_every_kind_of_code_that_nothing_maps_is_shown_once_a_message(his):
    """Sex, marital status, table of the diagnosis beside class, way of leaving, department; a replay counts nothing."""
    diagnosis = "DG1|1||A1^感冒^LOCAL7|||A"
    raw = adt("A01", c=1, v="V1", m="12:00", sex="X", PID_16="7", segments=[diagnosis])
    his.receive(
        raw, adt("A01", c=2, p=200, v="V2", m="12:05", PID_16="M", segments=["DG1|1||I10^高血压^ICD-10|||A"])
    )
    his.replay()

    told = {(row.kind, row.local_code): row.number for row in his.all(CodeSighting)}
    assert told == {("sex", "X"): 1, ("marital_status", "7"): 1, ("diagnosis_system", "LOCAL7"): 1}


def test_once_mapped_only_the_messages_that_named_the_code_are_read_again(his, database):
    his.receive(
        adt("A01", c=1, v="V1", m="12:00", PID_16="7"),
        adt("A01", c=2, p=200, v="V2", m="12:05", PID_16="M"),
        adt("A01", c=3, p=300, v="V3", m="12:10", PID_16="7"),
    )
    with open_work(database, actor=system_actor("test"), clock=his.clock) as work:
        enter(work, kind="marital_status", local_code="7", target="22")
        sighted = sighting_of(work, source="default", kind="marital_status", local_code="7")
        shown = preview_replay(work, MessageFilters(code=sighted.id))
        assert (sighted.number, shown.total) == (2, 2)
        start_replay(work, MessageFilters(code=sighted.id), upto=shown.upto)
    his.settle()

    assert [his.patient(number).marital_status for number in (100, 200, 300)] == ["22", "M", "22"]
    with open_work(database, actor=system_actor("test"), clock=his.clock) as work:
        (run,) = work.all(ReplayRun)
        assert (run.done, run.total) == (2, 2)


def test_the_console_reads_a_message_with_its_own_maps(his, database):
    his.receive(adt("A01", c=1, v="V1", m="12:00", cls="日间"))
    parts = console_parts(SOURCES)
    with open_work(database, actor=system_actor("test"), clock=his.clock) as work:
        (message,) = work.all(InboxMessage)
        before = dict(tell_message(work, message, parts, with_content=True))
        enter(work, kind="class", local_code="日间", target="inpatient")
        after = dict(tell_message(work, message, parts, with_content=True))
    assert (before["就诊类别"], after["就诊类别"]) == ("未知", "住院")
