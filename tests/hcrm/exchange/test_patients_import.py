"""Archives from a file: dry run, run, marked file, revert."""

import json
from datetime import date

import pytest
import sqlalchemy as sa

from hcrm.archive.identity.service import part_merged
from hcrm.archive.merge.service import merge_patients
from hcrm.archive.models import ContactPoint, IdentifierKind, Patient, PatientIdentifier, RelatedPerson, Sex
from hcrm.archive.terms import BY_PEOPLE
from hcrm.contact_log.models import Channel, ContactResult
from hcrm.contact_log.service import record_contact
from hcrm.core import limits
from hcrm.core.clock import FixedClock
from hcrm.core.errors import ConflictError, HcrmError
from hcrm.core.importing import Verdict
from hcrm.core.text import id_check_digit
from hcrm.core.work import Work
from hcrm.exchange import imports as acts
from hcrm.exchange.models import ImportRow, ImportRun, ImportState, RowState
from hcrm.exchange.queries import marked_lines
from tests.support.adt import adt
from tests.support.builders import make_patient
from tests.support.hospital import Hospital
from tests.support.importing import Intake, csv_file

HEAD = ("病案号", "姓名", "性别", "出生日期", "身份证号", "手机", "住址", "联系人", "联系人电话")


def id_number(at: int = 1) -> str:
    body = f"11010119660307{at:03d}"
    return body + id_check_digit(body)


def known_patient(work: Work, *, number: str = "1001", name: str = "张三", source: str = "his") -> Patient:
    patient = make_patient(work, name=name)
    patient.provenance = {"name": [work.clock.now().isoformat(), source, 1]} | {
        field: [work.clock.now().isoformat(), source, 1] for field in ("sex", "birth_date")
    }
    work.add(
        PatientIdentifier(
            id=work.new_id(), patient_id=patient.id, kind=IdentifierKind.RECORD, authority="H1", type="MR",
            value=number, source=source, as_of=work.clock.now(), seq=1,
        )
    )  # fmt: skip
    return patient


def test_a_new_archive_has_everything_the_file_says(intake: Intake) -> None:
    run = intake.take_in(
        "patients",
        csv_file(
            HEAD,
            ("0100", "欧阳 丽", "女", "1966年3月7日", id_number(), "138 0013 8000", "中山路 1 号", "王五", "13900139000"),  # noqa: E501
        ),
    )  # fmt: skip

    assert (run.state, run.counts["new"], run.counts["written"]) == (ImportState.DONE, 1, 1)
    patient = intake.work(lambda work: work.one(Patient))
    assert (patient.name, patient.name_initials, patient.sex, patient.birth_date) == (
        "欧阳丽", "oyl", Sex.FEMALE, date(1966, 3, 7)
    )  # fmt: skip
    assert patient.provenance["name"][1] == BY_PEOPLE
    numbers = intake.work(lambda work: work.all(PatientIdentifier))
    assert {(row.kind, row.value) for row in numbers} == {
        (IdentifierKind.RECORD, "0100"), (IdentifierKind.CITIZEN, None)
    }  # fmt: skip
    phone = intake.work(lambda work: work.one(ContactPoint))
    assert intake.database.keys.open_text(phone.value_sealed) == "+8613800138000"
    assert intake.work(lambda work: work.one(RelatedPerson)).name == "王五"


@pytest.mark.parametrize("born", ["2030-01-01", "1850-01-01"])
def test_nobody_is_born_tomorrow_or_before_1900(intake: Intake, born: str) -> None:
    """As on the form."""
    head, good = ("病案号", "姓名", "出生日期"), ("2", "李四", "1950-01-01")
    run = intake.take_in("patients", csv_file(head, ("1", "张三", born), good))

    assert (run.counts["wrong"], run.counts["new"]) == (1, 1)


def test_a_number_whose_zeros_a_spreadsheet_dropped_makes_no_second_archive(intake: Intake) -> None:
    intake.work(lambda work: known_patient(work, number="00000036", name="罗素娥"))

    run = intake.check(
        "patients",
        csv_file(HEAD[:2], ("36", "罗素娥"), ("000036", "罗素娥"), ("036", "别人"), ("37", "罗素娥")),
    )

    assert run.counts == {"ambiguous": 2, "new": 2}
    assert "同名的人有 00000036" in intake.reasons(run.id)[2][0][1]


def test_nothing_is_written_before_somebody_has_seen_the_dry_run(intake: Intake) -> None:
    before = intake.dump()

    run = intake.check("patients", csv_file(HEAD[:2], ("1", "甲"), ("2", "乙")))

    assert (run.state, run.counts) == (ImportState.CHECKED, {"new": 2})
    assert intake.dump() == before


def test_a_known_patient_gets_what_is_missing_and_keeps_what_the_hospital_told(intake: Intake) -> None:
    intake.work(known_patient)

    run = intake.check(
        "patients",
        csv_file(
            HEAD[:6],
            ("1001", "张三", "男", "1966-03-07", "", "13800138000"),  # a phone more
            ("1001", "李四", "", "", "", ""),  # another name
            ("1002", "王五", "女", "", "", ""),
        ),
    )
    assert run.counts == {"changed": 1, "wrong": 1, "new": 1}

    other = intake.check("patients", csv_file(HEAD[:4], ("1001", "张三", "女", "1966-03-07")))
    assert intake.reasons(other.id) == {2: [["sex", "与医院系统传来的不同；医院系统的内容不能用文件改"]]}
    third = intake.check("patients", csv_file(HEAD[:2], ("1001", "李四")))
    assert third.counts == {"ambiguous": 1}
    assert intake.check("patients", csv_file(HEAD[:2], ("1001", "张三"))).counts == {"same": 1}


def test_revert_leaves_the_archive_as_before(intake: Intake) -> None:
    intake.work(known_patient)
    intake.work(lambda work: known_patient(work, number="1002", name="李四", source=BY_PEOPLE))
    before = intake.dump()

    run = intake.take_in(
        "patients",
        csv_file(
            HEAD,
            ("1001", "张三", "", "", id_number(1), "13800138001", "中山路 1 号", "王五", "13900139000"),
            ("1002", "李四", "女", "1970-01-01", "", "", "", "", ""),  # what people entered may be mended
            ("1003", "赵六", "男", "", id_number(3), "13800138003", "", "", ""),
        ),
    )
    assert run.counts["written"] == 3
    assert intake.dump() != before

    reverted = intake.revert(run.id)

    assert (reverted.state, reverted.counts["reverted"], reverted.counts["kept"]) == (
        ImportState.REVERTED,
        3,
        0,
    )
    assert intake.dump() == before


def test_two_thousand_rows_with_one_percent_errors(intake: Intake) -> None:
    lines = [
        (
            f"{at:05d}",
            "王小明",
            "男",
            "1966-02-30" if at % 100 == 0 else "1966-03-07",
            "",
            f"138{at:08d}",
            "中山路",
        )
        for at in range(1, 2001)
    ]
    before = intake.dump()

    run = intake.take_in("patients", csv_file(HEAD[:7], *lines))

    assert (run.counts["new"], run.counts["wrong"], run.counts["written"]) == (1980, 20, 1980)
    marked = intake.work(lambda work: list(marked_lines(work, run, intake.importers["patients"])))
    assert len(marked) == 21
    assert marked[1] == [*lines[99], "101", "出生日期", "出生日期：没有这一天"]
    again = intake.take_in(
        "patients", csv_file(marked[0], *[[*line[:3], "1966-03-08", *line[4:]] for line in marked[1:]])
    )
    assert again.counts["written"] == 20  # the marked file, mended, goes in by the same columns

    intake.revert(again.id)
    intake.revert(run.id)
    assert intake.dump() == before


def test_rows_that_speak_of_one_patient_twice_are_told_apart(intake: Intake) -> None:
    run = intake.check(
        "patients",
        csv_file(HEAD[:3], ("1", "甲", "男"), ("1", "甲", "男"), ("1", "甲", "女"), ("2", "乙", "")),
    )

    assert run.counts == {"new": 2, "repeated": 1, "wrong": 1}
    assert intake.reasons(run.id) == {
        3: [["", "与第 2 行内容相同，不再导入"]],
        4: [["", "与第 2 行说的是同一条，内容却不同，请核对后只留一行"]],
    }


def test_an_id_number_twice_in_a_file_is_told_before_anything_is_written(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "IMPORT_BATCH", 2)  # the second in the first's batch, the third in another
    run = intake.take_in(
        "patients", csv_file(HEAD[:5], *[(str(at), "甲", "", "", id_number()) for at in range(3)])
    )

    assert run.counts == {"new": 1, "ambiguous": 2, "written": 1, "moved": 0}
    problem = ["id_number", "与第 2 行相同，那一行说的是另一条，请先核对"]
    assert intake.reasons(run.id) == {3: [problem], 4: [problem]}


def test_an_id_number_of_another_archive_is_given_to_a_person(intake: Intake) -> None:
    intake.take_in("patients", csv_file(HEAD[:5], ("1", "甲", "", "", id_number())))

    run = intake.check(
        "patients", csv_file(HEAD[:5], ("2", "乙", "", "", id_number()), ("3", "丙", "", "", "110"))
    )

    rows = intake.rows(run.id)
    assert [rows[2].verdict, rows[3].verdict] == [Verdict.AMBIGUOUS, Verdict.WRONG]


def test_what_has_moved_since_the_dry_run_is_skipped_and_listed(intake: Intake) -> None:
    first = intake.check("patients", csv_file(HEAD[:2], ("1", "甲"), ("2", "乙")))
    second = intake.check("patients", csv_file(HEAD[:2], ("1", "甲"), ("2", "乙")))  # two people, one file
    assert intake.go(first.id).counts["written"] == 2

    run = intake.go(second.id)

    assert (run.counts["written"], run.counts["moved"]) == (0, 2)
    assert {row.state for row in intake.rows(run.id).values()} == {RowState.MOVED}
    assert intake.work(lambda work: len(work.all(Patient))) == 2


def test_a_row_somebody_changed_since_is_kept_and_listed(intake: Intake) -> None:
    run = intake.take_in("patients", csv_file(HEAD[:3], ("1", "甲", "男"), ("2", "乙", "男")))

    def rename(work: Work) -> None:
        work.one(Patient, Patient.name == "甲").name = "甲甲"

    intake.work(rename)
    reverted = intake.revert(run.id)

    assert (reverted.counts["reverted"], reverted.counts["kept"]) == (1, 1)
    kept = intake.rows(run.id)[2]
    assert (kept.state, kept.reason) == (RowState.KEPT, "导入之后有人改过，保留现在的内容")
    assert [row.name for row in intake.work(lambda work: work.all(Patient))] == ["甲甲"]


def test_an_archive_others_have_written_on_is_ended_and_not_removed(intake: Intake) -> None:
    run = intake.take_in("patients", csv_file(HEAD[:2], ("1", "甲")))

    def call(work: Work) -> None:
        patient = work.one(Patient)
        record_contact(work, patient_id=patient.id, channel=Channel.PHONE, result=ContactResult.REACHED)

    intake.work(call)
    reverted = intake.revert(run.id)

    assert (reverted.counts["ended"], reverted.counts["reverted"]) == (1, 0)
    assert intake.work(lambda work: work.one(Patient)).is_nullified


@pytest.mark.parametrize("survivor", ["甲", "乙"], ids=["the merged one", "the survivor"])
def test_a_merged_archive_is_kept_until_it_is_parted_and_then_ended_with_its_merge_on_record(
    intake: Intake, survivor: str
) -> None:
    intake.work(lambda work: known_patient(work, name="甲"))
    run = intake.take_in("patients", csv_file(HEAD[:6], ("7", "乙", "男", "", "", "13800138000")))

    def merge(work: Work) -> str:
        keys = {row.name: row.id for row in work.all(Patient)}
        other = keys["乙" if survivor == "甲" else "甲"]
        return merge_patients(work, survivor_id=keys[survivor], merged_id=other, source=BY_PEOPLE, seq=None)

    merge_id = intake.work(merge)
    intake.clock.move(minutes=5)
    assert intake.revert(run.id).counts["kept"] == 1
    assert intake.rows(run.id)[2].reason == "已与另一份档案合并；请先撤销合并，再撤销这次导入"

    intake.work(lambda work: part_merged(work, merge_id=merge_id, reason="合错了", chosen={}))
    reverted = intake.revert(run.id)

    row = intake.rows(run.id)[2]
    assert (reverted.counts["ended"], row.state) == (1, RowState.ENDED)
    assert row.reason == "曾与另一份档案合并又撤销，留有合并记录，不能删除，改为作废"
    ended = {one.name: one.is_nullified for one in intake.work(lambda work: work.all(Patient))}
    assert ended == {"甲": False, "乙": True}


@pytest.mark.parametrize("survivor", ["甲", "乙"])
def test_what_a_file_added_to_an_archive_is_taken_back_once_its_merge_is_undone(
    intake: Intake, survivor: str
) -> None:
    intake.work(lambda work: known_patient(work, name="甲"))
    other = intake.work(lambda work: known_patient(work, number="2", name="乙").id)
    run = intake.take_in("patients", csv_file(HEAD[:6], ("1001", "甲", "", "", "", "13800138000")))
    own = intake.work(lambda work: work.one(Patient, Patient.name == "甲").id)
    into, merged = (own, other) if survivor == "甲" else (other, own)
    merge_id = intake.work(
        lambda work: merge_patients(work, survivor_id=into, merged_id=merged, source=BY_PEOPLE, seq=None)
    )
    if survivor == "乙":
        intake.revert(run.id)
        assert intake.rows(run.id)[2].reason == "已与另一份档案合并；请先撤销合并，再撤销这次导入"

    intake.work(lambda work: part_merged(work, merge_id=merge_id, reason="合错了", chosen={}))

    assert intake.revert(run.id).counts["kept"] == 0
    assert intake.rows(run.id)[2].state is RowState.REVERTED
    assert intake.work(lambda work: work.all(ContactPoint)) == []


def test_a_process_that_dies_is_gone_on_from_where_it_was(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "IMPORT_BATCH", 3)
    content = csv_file(HEAD[:2], *[(str(at), "甲") for at in range(10)])
    run = intake.check("patients", content)
    intake.work(lambda work: acts.confirm_import(work, run_id=run.id))

    class Killed(BaseException):
        pass

    def die() -> bool:
        raise Killed

    with pytest.raises(Killed):
        intake.advance("first", rest=die)
    assert intake.run(run.id).progress == 3
    assert not intake.advance("second")  # the lease of the first still runs
    intake.clock.move(seconds=limits.IMPORT_LEASE_SECONDS + 1)
    while intake.advance("second"):
        pass

    assert (intake.run(run.id).state, intake.run(run.id).counts["written"]) == (ImportState.DONE, 10)
    assert intake.work(lambda work: len(work.all(Patient))) == 10


def test_an_import_is_stopped_gone_on_with_or_taken_back(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "IMPORT_BATCH", 3)
    before = intake.dump()
    run = intake.check("patients", csv_file(HEAD[:2], *[(str(at), "甲") for at in range(10)]))
    intake.work(lambda work: acts.confirm_import(work, run_id=run.id))
    intake.advance(rest=lambda: True)
    intake.work(lambda work: acts.stop_import(work, run_id=run.id))
    assert not intake.advance()
    assert intake.run(run.id).state is ImportState.STOPPED

    intake.work(lambda work: acts.resume_import(work, run_id=run.id))
    intake.advance(rest=lambda: True)
    intake.work(lambda work: acts.stop_import(work, run_id=run.id))
    assert intake.revert(run.id).counts["reverted"] == 6

    assert intake.dump() == before
    with pytest.raises(ConflictError):
        intake.work(lambda work: acts.resume_import(work, run_id=run.id))


def test_the_columns_of_a_heading_are_remembered(intake: Intake) -> None:
    content = csv_file(("编号", "谁", "备注"), ("1", "甲", "x"))
    first = intake.upload("patients", content)
    assert intake.run(first).places == {}
    with pytest.raises(HcrmError) as refusal:
        intake.choose(first)
    assert refusal.value.errors == {"column-record_no": "请选择文件中的列", "column-name": "请选择文件中的列"}

    intake.choose(first, {"record_no": 0, "name": 1})

    assert intake.run(intake.upload("patients", content)).places == {"record_no": 0, "name": 1}
    assert intake.run(intake.upload("patients", csv_file(("编号", "谁"), ("1", "甲")))).places == {}


def test_what_a_file_held_is_sealed_and_goes_after_its_time(intake: Intake) -> None:
    run = intake.take_in("patients", csv_file(HEAD[:2], ("1", "罕见的名"), ("", "没有号码")), "罕见的名.csv")
    with intake.database.main.connect() as connection:
        for table in (ImportRun.__table__, ImportRow.__table__):
            assert "罕见的名" not in json.dumps(
                [list(map(str, row)) for row in connection.execute(sa.select(table))]
            )
    assert intake.run(run.id).content_sealed is None  # its rows are read

    intake.clock.move(days=limits.IMPORT_KEEP_DAYS + 1)
    assert intake.work(acts.prune_imports) == 1

    assert intake.rows(run.id) == {}
    assert intake.run(run.id).counts["written"] == 1
    with pytest.raises(ConflictError):
        intake.work(lambda work: acts.revert_import(work, run_id=run.id))


def test_a_message_under_the_imported_number_finds_the_archive(intake: Intake, clock: FixedClock) -> None:
    with Hospital(intake.database, clock) as hospital:
        hospital.receive(
            adt("A01", c=1, p=100, name="李^四", v="V9")
        )  # whose kind of number is known from then on
        run = intake.take_in("patients", csv_file((*HEAD[:2], "手机"), ("200", "张三", "13800138000")))
        assert run.counts["written"] == 1
        hospital.receive(adt("A01", c=2, p=200, v="V1", phone="13912345678"))

    assert intake.work(lambda work: len(work.all(Patient))) == 2
    assert intake.revert(run.id).counts["kept"] == 1
