"""Group members and do-not-call lists from a file."""

import pytest

from hcrm.archive.fields.models import PatientTag
from hcrm.archive.merge.service import merge_patients
from hcrm.archive.models import ContactPoint, Patient
from hcrm.archive.reach.contact_stop import end_contact
from hcrm.archive.reach_models import ContactStop
from hcrm.archive.terms import StopKind
from hcrm.core import limits
from hcrm.core.db import Database
from hcrm.core.events import Event
from hcrm.core.work import Work
from tests.hcrm.exchange.test_patients_import import known_patient
from tests.support.builders import make_patient
from tests.support.importing import Intake, csv_file
from tests.support.interleaved import just_before_our_lock


def test_members_of_a_group_get_its_name_as_a_tag(intake: Intake) -> None:
    intake.work(known_patient)
    before = intake.dump()
    heads = ("病案号", "姓名", "单位名称")

    lines = ("1001", "张三", "某某纺织厂"), ("1001", "李四", "某某纺织厂二分厂")
    run = intake.take_in("groups", csv_file(heads, *lines))

    assert [run.counts[word] for word in ("new", "ambiguous", "written")] == [1, 1, 1]
    tag = intake.work(lambda work: work.one(PatientTag))
    assert (tag.tag, tag.actor_name) == ("某某纺织厂", f"{intake.actor.name}（历史导入）")
    assert intake.check("groups", csv_file(heads, ("1001", "张三", "某某纺织厂"))).counts == {"same": 1}
    intake.revert(run.id)
    assert intake.dump() == before


def family(work: Work) -> None:
    """Two people with one number."""
    for number, name in (("1001", "张三"), ("1002", "张小三")):
        patient = known_patient(work, number=number, name=name)
        phone = "+8613800138000"
        work.add(
            ContactPoint(
                id=work.new_id(), patient_id=patient.id, system="phone", use="mobile", rank=1,
                value_sealed=work.keys.seal_text(phone), value_index=work.keys.blind("phone", phone),
                last4_index="x", source="his", as_of=work.clock.now(), seq=1,
            )
        )  # fmt: skip


def test_who_is_merged_while_the_list_is_taken_in_is_handed_back_and_no_tombstone_stopped(
    intake: Intake, database: Database
) -> None:
    intake.work(family)
    survivor = intake.work(lambda work: make_patient(work).id)
    merged = intake.work(lambda work: work.one(Patient, Patient.name == "张小三").id)

    def merge() -> None:
        intake.work(
            lambda work: merge_patients(
                work, survivor_id=survivor, merged_id=merged, source="people", seq=None
            )
        )

    run = intake.check("do_not_call", csv_file(("手机号", "原因"), ("138 0013 8000", "本人要求")))
    with just_before_our_lock(database, merge, of="patient "):
        intake.go(run.id)

    assert intake.work(lambda work: work.all(ContactStop)) == []
    assert intake.run(run.id).counts["moved"] == 1


def test_a_number_nobody_may_call_stops_everybody_who_has_it(intake: Intake) -> None:
    intake.work(family)
    before = intake.dump()
    content = csv_file(
        ("手机号", "原因"), ("138 0013 8000", "本人要求"), ("13900139000", "本人要求"), ("12", "错")
    )

    run = intake.take_in("do_not_call", content)

    assert [run.counts.get(word, 0) for word in ("new", "ambiguous", "wrong", "written")] == [2, 0, 1, 2]
    stops = intake.work(lambda work: work.all(ContactStop))
    assert {stop.kind for stop in stops} == {StopKind.DO_NOT_CONTACT}
    assert len({stop.patient_id for stop in stops}) == 2
    begun = run.started_at.isoformat()
    facts = intake.work(lambda work: [row.kind for row in work.all(Event)])
    assert facts.count("ContactStopped") == 2
    intake.revert(run.id)
    assert intake.dump() == before
    restored = intake.work(lambda work: [row for row in work.all(Event) if row.kind == "ContactRestored"])
    assert len(restored) == 2
    assert {row.payload["noted_at"] for row in restored} == {
        begun
    }  # what was missed since then is issued anew


def test_what_a_person_asked_themselves_stays_when_the_list_is_taken_back(intake: Intake) -> None:
    intake.work(family)
    run = intake.take_in("do_not_call", csv_file(("手机号", "原因"), ("138 0013 8000", "名单")))
    asked = intake.work(lambda work: work.one(Patient, Patient.name == "张三").id)
    own = intake.work(
        lambda work: end_contact(work, patient_id=asked, kind=StopKind.DO_NOT_CONTACT, reason="本人来电")
    )

    intake.revert(run.id)

    assert intake.work(lambda work: [stop.id for stop in work.all(ContactStop)]) == [own]
    facts = intake.work(lambda work: work.all(Event))
    restored = [row.payload["patient_id"] for row in facts if row.kind == "ContactRestored"]
    assert len(restored) == 1
    assert asked not in restored


def test_a_row_with_record_number_and_name_stops_that_person_only(intake: Intake) -> None:
    intake.work(family)
    before = intake.dump()
    heads = ("病案号", "姓名", "电话", "原因")

    run = intake.take_in(
        "do_not_call",
        csv_file(
            heads, ("1001", "张三", "13800138000", "本人要求"), ("1002", "张三", "", "错了人"),
            ("1003", "", "", "缺姓名"),
            ("9", "某人", "", "没有这个人"), ("", "张三", "", "没有号码"),
        ),
    )  # fmt: skip

    assert [run.counts[word] for word in ("new", "ambiguous", "wrong", "written")] == [1, 2, 2, 1]
    assert {number: found[0][1] for number, found in intake.reasons(run.id).items()} == {
        3: "档案中这个病案号属于另一姓名的人，请核对", 4: "填了病案号，就必须填姓名", 5: "档案中没有这个病案号",
        6: "请填写病案号和姓名，或者电话",
    }  # fmt: skip
    stop = intake.work(lambda work: work.one(ContactStop))
    assert intake.work(lambda work: work.get(Patient, stop.patient_id)).name == "张三"
    intake.revert(run.id)
    assert intake.dump() == before


def test_no_file_gives_a_patient_more_tags_than_people_may(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PATIENT_TAGS", 1)
    intake.work(known_patient)
    heads = ("病案号", "姓名", "单位名称")
    intake.take_in("groups", csv_file(heads, ("1001", "张三", "一厂")))

    run = intake.check("groups", csv_file(heads, ("1001", "张三", "二厂"), ("1001", "张三", "一厂")))

    assert run.counts == {"wrong": 1, "same": 1}
    assert intake.reasons(run.id) == {2: [["group", "这位患者已有 1 个标签，不能再加"]]}
