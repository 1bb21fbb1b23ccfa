"""Follow-ups and complaints of former times: their own author and date, and nothing follows from them."""

from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module

import sqlalchemy as sa

from hcrm.archive.models import DeceasedState, Patient, TimelineEntry
from hcrm.contact_log.by_hand import log_by_hand
from hcrm.contact_log.inputs import ContactInput
from hcrm.contact_log.models import Channel, ContactEntry, ContactResult
from hcrm.core.events import Event
from hcrm.core.segment import Operator
from hcrm.core.work import Work
from hcrm.exchange.queries import marked_lines
from hcrm.segments.filters import Group, Line, SegmentFilter
from hcrm.segments.profile import refresh_profiles
from hcrm.segments.queries import count_patients
from tests.hcrm.exchange.test_patients_import import known_patient
from tests.support.builders import make_department, make_encounter
from tests.support.console import Browser, MakePerson
from tests.support.importing import Intake, csv_file

HEAD = ("住院号", "姓名", "随访日期", "随访人", "随访结果", "伤口愈合得怎么样？", "还疼吗？")
LINE = ("1001", "张三", "2019年3月1日 下午2:30", "退休的王医师", "家属接听", "很好", "有一点")


def test_a_past_follow_up_keeps_author_date_and_questions(intake: Intake) -> None:
    intake.work(known_patient)

    run = intake.take_in("follow_ups", csv_file(HEAD, LINE))

    assert run.counts["written"] == 1
    entry = intake.work(lambda work: work.one(ContactEntry))
    assert (entry.happened_at, entry.actor_name, entry.result, entry.channel) == (
        datetime(2019, 3, 1, 6, 30, tzinfo=UTC), "退休的王医师", ContactResult.RELATIVE, Channel.PHONE
    )  # fmt: skip
    assert entry.logged_at.year == 2026  # when the file was read
    assert entry.note == "伤口愈合得怎么样？：很好\n还疼吗？：有一点"
    line = intake.work(lambda work: work.one(TimelineEntry))
    assert (line.title, line.happened_at) == ("历史导入：随访，接通，家属", entry.happened_at)


def test_nothing_follows_from_what_happened_elsewhere(intake: Intake) -> None:
    intake.work(known_patient)
    with intake.database.main.connect() as connection:
        before = connection.scalar(sa.select(sa.func.count()).select_from(Event))

    intake.take_in("follow_ups", csv_file(HEAD, (*LINE[:4], "死亡", "高热 40 度", "")))
    intake.take_in(
        "complaints",
        csv_file(
            ("病案号", "姓名", "日期", "接待人", "事由"), ("1001", "张三", "2020-1-1", "李", "等候过长")
        ),
    )

    words = next(column.words for column in intake.importers["follow_ups"].columns if column.code == "result")
    every = [(*LINE[:2], f"2019-4-{day}", "王", word, "", "") for day, word in enumerate(words, start=1)]
    assert intake.take_in("follow_ups", csv_file(HEAD, *every)).counts["written"] == len(words)
    intake.take_in("groups", csv_file(("病案号", "姓名", "单位"), ("1001", "张三", "某厂")))

    dump = intake.dump()
    assert {row.deceased for row in intake.work(lambda work: work.all(Patient))} == {DeceasedState.ALIVE}
    assert {name for name, rows in dump.items() if rows} & {
        "instruction", "alert", "review", "contact_stop", "death_report", "outbound_message"
    } == set()  # fmt: skip
    entries = intake.work(lambda work: work.all(ContactEntry))
    assert {entry.result for entry in entries} >= {ContactResult.DECEASED, ContactResult.REFUSED}
    assert {entry.other_side for entry in entries} == {None}  # nobody said with whom
    with intake.database.main.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(Event)) == before
    titles = {row.title for row in intake.work(lambda work: work.all(TimelineEntry))}
    assert {"历史导入：随访，得知已故", "历史导入：投诉，等候过长"} < titles
    assert all(title.startswith("历史导入：") for title in titles)


def test_a_complaint_is_read_by_who_reads_complaints_and_by_nobody_else_who_sees_the_patient(
    intake: Intake, make_person: MakePerson, browser_of: Callable[..., Browser]
) -> None:
    def admit(work: Work) -> tuple[str, str]:
        patient, ward = known_patient(work), make_department(work, name="骨科")
        make_encounter(work, patient=patient, department=ward)
        refresh_profiles(work, [patient.id])
        return patient.id, ward.code

    patient_id, ward = intake.work(admit)
    heads = ("病案号", "姓名", "日期", "接待人", "事由", "内容")
    line = ("1001", "张三", "2026-11-20", "李", "态度恶劣", "说到精神科的王医师")
    intake.take_in("complaints", csv_file(heads, line))
    (complaint,) = intake.work(lambda work: work.all(ContactEntry))
    entered = ContactInput.model_validate(
        {"record_id": "0" * 32, "channel": "phone", "result": "reached", "direction": "in", "note": "其实是赵医师",
         "corrects_id": complaint.id}
    )  # fmt: skip
    for _ in range(2):  # a doubled click comes to the same
        intake.work(lambda work: log_by_hand(work, patient=work.get(Patient, patient_id), entered=entered))
    assert len(intake.work(lambda work: work.all(ContactEntry))) == 2

    words = ("态度恶劣", "王医师", "赵医师")
    pages = (f"/patients/{patient_id}", f"/patients/{patient_id}?tab=contacts", "/contacts?since=2026-11-01")
    for place, (role, reads, log, correction) in enumerate(
        (
            ("service_centre", True, 200, 200),
            ("medical_office", True, 200, 403),
            ("department_head", False, 200, 404),
            ("physician", False, 403, 404),
            ("agent", False, 403, 404),
        )
    ):
        make_person(f"p{place}", [role], department_code=ward)
        browser = browser_of(f"p{place}")
        answers = [browser.get(page) for page in pages]
        assert [one.status_code for one in answers] == [200, 200, log], role
        shown = "".join(one.text for one in answers)
        assert [word in shown for word in words] == [reads] * 3, role
        correcting = browser.get(f"/patients/{patient_id}/contacts/new?corrects={complaint.id}")
        assert correcting.status_code == correction, role

    def counted(work: Work) -> int | None:
        question = Line(field="contact.any", operator=Operator.YES)
        return count_patients(work, SegmentFilter(groups=(Group(lines=(question,)),)))

    assert intake.work(counted) == 0


def test_the_same_list_twice_does_nothing_twice_and_reverts_whole(intake: Intake) -> None:
    intake.work(known_patient)
    before = intake.dump()
    content = csv_file(
        HEAD,
        LINE,
        LINE,
        ("9999", "李四", *LINE[2:]),
        ("1001", "李四", *LINE[2:]),
        ("1001", "张三", "2099-1-1", "王", "", "", ""),
        ("1001", "张三", "1966-1-1", "王", "", "", ""),
    )

    run = intake.take_in("follow_ups", content)

    assert run.counts == {
        "new": 1, "repeated": 1, "ambiguous": 2, "wrong": 2, "written": 1, "moved": 0
    }  # fmt: skip
    assert intake.check("follow_ups", csv_file(HEAD, LINE)).counts == {"same": 1}
    marked = intake.work(lambda work: list(marked_lines(work, run, intake.importers["follow_ups"])))
    assert [line[-1] for line in marked[1:]] == [
        "与第 2 行内容相同，不再导入",
        "住院号：档案中没有这个病案号，请核对（表格可能去掉了前面的 0）；确未建档的先建档",
        "姓名：档案中这个病案号属于另一姓名的人，请核对", "随访日期：这个日期还没有到",
        "随访日期：不能早于 1970 年，请核对年份",
    ]  # fmt: skip
    intake.revert(run.id)
    assert intake.dump() == before


def test_complaints_taken_in_before_they_had_a_kind_of_their_own_get_it(intake: Intake) -> None:
    intake.work(known_patient)
    heads = ("病案号", "姓名", "日期", "接待人", "事由", "内容")
    intake.take_in("complaints", csv_file(heads, ("1001", "张三", "2026-11-20", "李", "态度恶劣", "")))
    intake.take_in("follow_ups", csv_file(HEAD, LINE))
    apart = import_module("hcrm.migrations.versions.20261123_1280_past_complaints").APART

    def migrate(work: Work) -> list[str]:
        ours = TimelineEntry.subject_type == "contact_entry"
        work.execute(sa.update(TimelineEntry).where(ours).values(kind="contact"))
        work.execute(sa.text(apart))
        return sorted(work.scalars(sa.select(TimelineEntry.kind).where(ours)))

    assert intake.work(migrate) == ["complaint", "contact"]
