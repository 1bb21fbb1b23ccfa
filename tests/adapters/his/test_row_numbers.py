"""A row's record number is the one HL7 gives: one patient, one archive. What nobody can know is refused or parked."""

import pytest

from adapters.his.drop_folder import DropFolder
from hcrm.archive.models import Patient, PatientIdentifier
from hcrm.archive.visit_models import Encounter, EncounterClass
from hcrm.centre.models import Instruction
from hcrm.core.errors import HcrmError
from hcrm.core.sources import Source, Sources, load_sources
from hcrm.inbox.census_models import Finding, LineState
from hcrm.inbox.intake import store_now
from hcrm.inbox.models import ApplicationState, InboxApplication
from hcrm.inbox.rows import row_message
from tests.support.adt import adt
from tests.support.census import ListFolder, Reconciling, listed
from tests.support.census_house import DAY, clock
from tests.support.hospital import Hospital

__all__ = ["clock"]

COLUMNS = {
    "patient_no": "brid",
    "visit_no": "zyh",
    "name": "xm",
    "admitted_at": "ryrq",
    "discharged_at": "cyrq",
}
HABITS = {
    "code": "his_gbk", "title": "住院 HIS", "sender": "HIS", "default_authority": "H1",
    "identifier_types": {"PatientNO": "record", "IdentifyNO": "citizen", "IDCard": "visit_card"},
}  # fmt: skip
VIEW = {"url": "mysql://u@127.0.0.1/his", "name": "v", "watermark": "cyrq", "key": ["zyh"]}
GIVERS = {
    "named in PID-3.4": ({}, "100^^^H1^PatientNO"),
    "left to the source's file": ({}, "100^^^^PatientNO"),
    "left to MSH-4": ({"default_authority": "", "facility": "H1"}, "100^^^^PatientNO"),
    "another than the file's, and said so": ({"giver": "ZY"}, "100^^^ZY^PatientNO"),
}


class Ways:
    """A source that is heard by HL7, a folder, a view and a census."""

    def __init__(self, tmp_path, database, clock, *, rows=None, columns=COLUMNS, **more):
        drop, lists = tmp_path / "drop", tmp_path / "lists"
        drop.mkdir()
        lists.mkdir()
        self.lists = ListFolder(lists)
        giver = {"patient_no_authority": more.pop("giver")} if "giver" in more else {}
        said = {"columns": columns, **giver, **(rows or {})}
        self.source = Source.model_validate({
            **HABITS, **more, "folder": {"path": str(drop), "still_seconds": 0}, "list_file": said,
            "view": VIEW | said, "census": self.lists.census() | said,
        })  # fmt: skip
        self.drop, self.database, self.clock = drop, database, clock
        self.office = Reconciling(database, clock, self.source)

    def by_list(self, row):
        names = list(self.source.list_file.columns.values())
        text = ",".join(names) + "\n" + ",".join(str(row.get(name) or "") for name in names) + "\n"
        (self.drop / "cy.csv").write_text(text, encoding="utf-8")
        folder = DropFolder(self.source, Sources([self.source]))
        assert (
            folder.take_all(lambda items: store_now(self.database, items), self.clock.now, lambda _: None)
            == 1
        )

    def by_view(self, row):
        at = self.clock.now()
        store_now(self.database, [row_message(self.source, "view", row, peer="view his_gbk", at=at)])

    def by_census(self, row):
        self.lists.put(DAY, [row])
        assert self.office.apply(self.office.run()) == 1


@pytest.fixture
def ways_of(tmp_path, database, clock):
    def build(**more):
        return Ways(tmp_path, database, clock, **more)

    return build


def admission(number: str, visit: str = "V1", **more: str) -> bytes:
    at = "20261118100000+0800"
    return adt("A01", c=f"{number[:9]}{visit}", p=number, v=visit, o=at, m=at, r=at, **more)


def parked(hospital) -> list[tuple[str | None, str | None]]:
    rows = hospital.all(InboxApplication, InboxApplication.state == ApplicationState.PARKED)
    return [(row.reason, row.detail) for row in rows]


@pytest.mark.parametrize("way", ["by_list", "by_view", "by_census"])
@pytest.mark.parametrize("giver", GIVERS)
def test_a_row_of_a_patient_known_by_hl7_is_of_that_patient(ways_of, way, giver):
    """The same stay, whose discharge was lost, and one nobody told us of."""
    more, number = GIVERS[giver]
    ways = ways_of(**more)
    with Hospital(ways.database, ways.clock, sources=ways.office.sources) as hospital:
        hospital.receive(admission(number))
        for visit in ("V1", "V2"):
            getattr(ways, way)(listed(visit, "18 10:00", "21 15:00", patient="100"))
            hospital.settle()

        assert parked(hospital) == []
        assert (hospital.count(Patient), hospital.count(PatientIdentifier)) == (1, 1)
        assert hospital.count(Encounter) == 2
        owners = {stay.patient_id for stay in hospital.all(Encounter)}
        assert len(owners) == 1


@pytest.mark.parametrize("way", ["by_list", "by_view", "by_census"])
def test_hl7_joins_a_patient_first_told_by_a_row(ways_of, way):
    ways = ways_of()
    with Hospital(ways.database, ways.clock, sources=ways.office.sources) as hospital:
        getattr(ways, way)(listed("V1", "18 10:00", "21 15:00", patient="100"))
        hospital.settle()
        hospital.receive(admission("100^^^^PatientNO"))

        assert (hospital.count(Patient), hospital.count(Encounter), parked(hospital)) == (1, 1, [])


def test_a_missing_stay_that_is_applied_joins_its_patient_without_a_name_on_the_list(ways_of):
    columns = {field: column for field, column in COLUMNS.items() if field != "name"}
    ways = ways_of(columns=columns)
    with Hospital(ways.database, ways.clock, sources=ways.office.sources) as hospital:
        hospital.receive(admission("100^^^^PatientNO", visit="V0"))
        ways.by_census(listed("V1", "18 10:00", "21 15:00", patient="100"))
        hospital.settle()

        assert hospital.visit("V1").patient_id == hospital.patient("100").id
        assert hospital.count(Patient) == 1
        assert ways.office.run().findings == 0


@pytest.mark.parametrize("way", ["by_list", "by_view", "by_census"])
def test_a_row_that_names_nobody_makes_no_archive_and_waits_for_one(ways_of, way):
    columns = {field: column for field, column in COLUMNS.items() if field != "name"}
    ways = ways_of(columns=columns)
    with Hospital(ways.database, ways.clock, sources=ways.office.sources) as hospital:
        getattr(ways, way)(listed("V1", "18 10:00", "21 15:00", patient="100"))
        hospital.settle()

        assert parked(hospital) == [("nameless", "patient_no（brid） name")]
        assert (hospital.count(Patient), hospital.count(Instruction)) == (0, 0)
        hospital.receive(admission("100^^^^PatientNO", visit="V0"))
        hospital.replay()

        assert parked(hospital) == []
        assert hospital.count(Patient) == 1
        assert hospital.visit("V1").patient_id == hospital.patient("100").id


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("100^^^H1^MR", {"patient_no_type": "PatientNO"}),  # of another kind
        ("100^^^ZY^PatientNO", {"patient_no_authority": "H1"}),  # of another campus
    ],
)
def test_a_number_known_in_another_guise_waits_until_the_file_says_which_it_is(ways_of, number, said):
    ways = ways_of()
    with Hospital(ways.database, ways.clock, sources=ways.office.sources) as hospital:
        hospital.receive(admission(number, visit="V0"))
        ways.by_view(listed("V1", "18 10:00", "21 15:00", patient="100"))
        hospital.settle()
        assert parked(hospital) == [("number_elsewhere", "patient_no（brid）")]
        assert hospital.count(Patient) == 1

        told = ways.source.view.model_copy(update=said)
        hospital.restart_worker(Sources([ways.source.model_copy(update={"view": told})]))
        hospital.replay()

        assert (hospital.count(Patient), parked(hospital)) == (2, [])


def test_a_stay_of_another_patient_is_parked_and_both_columns_are_named(ways_of):
    ways = ways_of()
    with Hospital(ways.database, ways.clock, sources=ways.office.sources) as hospital:
        hospital.receive(
            admission("100^^^^PatientNO"), admission("200^^^^PatientNO", visit="V2", name="李^四")
        )
        ways.by_list(listed("V1", "18 10:00", "21 15:00", patient="200", xm="李四"))
        hospital.settle()

        assert parked(hospital) == [("visit_of_other_patient", "visit_no（zyh） patient_no（brid）")]
        assert hospital.visit("V1").patient_id == hospital.patient("100").id


def test_the_comparison_names_a_stay_of_another_patient_and_never_calls_it_healed(ways_of):
    """The number reads alike on both sides, yet it is another patient's: as earlier versions made them."""
    ways = ways_of()
    with Hospital(ways.database, ways.clock, sources=ways.office.sources) as hospital:
        hospital.receive(admission("100^^^H1^PatientNO", visit="V0"), admission("100^^^H1^MR", visit="V1"))
        assert hospital.count(Patient) == 2
        ways.lists.put(DAY, [listed("V1", "18 10:00", "21 15:00", patient="100")])
        run = ways.office.run()
        assert ways.office.said(run) == [
            ("V1", "discharge", "missing", ""), ("V1", "discharge", "differing", "patient_no"),
        ]  # fmt: skip
        with pytest.raises(HcrmError, match="属于另一位患者"):
            ways.office.apply(run)
        at = "20261121150000+0800"
        hospital.receive(adt("A03", c="out", p="100^^^H1^MR", v="V1", o=at, m=at, r=at, PV1_36="1"))

        run = ways.office.run()

        (line,) = ways.office.lines(run)
        assert (line.finding, line.field) == (Finding.DIFFERING, "patient_no")
        assert (line.theirs, line.ours) == ("100（PatientNO，H1）", "100（MR，H1）")
        assert line.patient_id == hospital.visit("V1").patient_id
        with pytest.raises(HcrmError, match="属于另一位患者"):
            ways.office.apply(run)  # a row does not say whose a stay is
        assert ways.office.lines(ways.office.run())[0].state is LineState.OPEN


def test_a_stay_told_by_a_list_of_inpatients_is_an_inpatient_s_and_may_be_extra(ways_of):
    ways = ways_of()
    with Hospital(ways.database, ways.clock, sources=ways.office.sources) as hospital:
        ways.by_census(listed("V1", "18 10:00", "21 15:00", patient="100"))
        hospital.settle()
        assert hospital.visit("V1").encounter_class is EncounterClass.INPATIENT
        hospital.receive(adt("A01", c="9", p="900^^^^PatientNO", v="V9", o="20261118100000+0800"))
        ways.lists.put(DAY, [listed("V9", "18 10:00", "21 15:00", patient="900")])

        run = ways.office.run()

        assert ("V1", "discharge", "extra", "") in ways.office.said(run)


def test_rows_of_a_list_are_of_the_class_its_file_says(ways_of):
    ways = ways_of(rows={"default_class": "emergency"})
    with Hospital(ways.database, ways.clock, sources=ways.office.sources) as hospital:
        ways.by_list(listed("V1", "18 10:00", "21 15:00", patient="100"))
        hospital.settle()

        assert hospital.visit("V1").encounter_class is EncounterClass.EMERGENCY


CENSUS = "census: {file: {path: /srv/%Y%m%d.csv}, columns: {patient_no: a, visit_no: b, discharged_at: c}"


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["identifier_types: {A: record, B: record}"], "census 需要 patient_no_type：.*（A、B）"),
        (["record_number_types: []"], "census 需要 patient_no_type"),
        (["identifier_types: {MR: other}", "record_number_types: [MR]"], "census 需要 patient_no_type"),
        (["identifier_types: {A: visit_card}", "patient_no_type: A"], "patient_no_type A 没有登记为病历号"),
        (["patient_no_type: Z"], "patient_no_type Z 没有登记为病历号"),
        (["default_authority: ''"], "census 需要 default_authority"),
        (["default_authority: ''", "patient_no_authority: X"], "census 需要 default_authority"),
        (["default_authority: ''", "facility: H1"], None),
        (["default_authority: ''", "sender: ''"], None),  # nothing but rows: they agree with themselves
        (["default_authority: ''", "patient_no_authority: X", "visit_no_authority: Y"], None),
        (["identifier_types: {A: record, B: record}", "patient_no_type: B"], None),
        ([], None),
    ],
)
def test_a_file_that_leaves_the_number_open_stops_the_start(tmp_path, lines, error):
    rows = [line for line in lines if line.startswith(("patient_no_", "visit_no_"))]
    said = {
        "code": "code: his", "title": "title: t", "sender": "sender: HIS",
        "default_authority": "default_authority: H1",
    }  # fmt: skip
    said |= {line.partition(":")[0]: line for line in lines if line not in rows}
    text = "\n".join([*said.values(), ", ".join([CENSUS, *rows]) + "}"])
    (tmp_path / "his.yaml").write_text(text, encoding="utf-8")

    if error is None:
        assert list(load_sources(tmp_path).by_code) == ["his"]
    else:
        with pytest.raises(HcrmError, match=error):
            load_sources(tmp_path)
