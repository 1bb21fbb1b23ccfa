"""Lists taken out: purpose, approval, masks, bounds, and a file only its asker gets."""

import csv
import io
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import openpyxl
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from hcrm.accounts.models import Account
from hcrm.accounts.queries import actor_for
from hcrm.app.wiring import exportables
from hcrm.archive.consent_records import record_consents
from hcrm.archive.contact_stop import end_contact
from hcrm.archive.death import record_death
from hcrm.archive.disclosure import set_disclosure
from hcrm.archive.models import ContactPoint, Patient
from hcrm.archive.reach_models import BarredNumber
from hcrm.archive.reach_numbers import add_number, end_number
from hcrm.archive.terms import (
    ConsentDecision,
    ContactMeans,
    ContactPurpose,
    DisclosureState,
    PatientMark,
    Sex,
    StopKind,
)
from hcrm.archive.test_patients import mark_test_patient
from hcrm.audit.models import AuditEvent, AuditSubject
from hcrm.contact_log.models import Channel, ContactResult
from hcrm.contact_log.service import record_contact
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock, local_time
from hcrm.core.db import Database
from hcrm.core.errors import ConflictError, HcrmError, InvalidInput, NotFoundError
from hcrm.core.segment import Operator
from hcrm.core.work import Work, open_work
from hcrm.core.workbook import write_csv, write_xlsx
from hcrm.exchange import exports as acts
from hcrm.exchange.export_models import ExportPurpose, ExportRequest, ExportState
from hcrm.exchange.exports import Wish
from hcrm.segments.filters import Group, Line, SegmentFilter
from hcrm.segments.profile import refresh_profiles
from hcrm.segments.service import SegmentInput, change_segment, create_segment, end_segment
from tests.support.builders import make_department, make_encounter, make_patient, make_practitioner
from tests.support.console import Browser, MakePerson

COLUMNS = ("name", "record_no", "phone")


class Office:
    """People with accounts, and the machine that writes their files."""

    def __init__(self, database: Database, clock: FixedClock, make_person: MakePerson) -> None:
        self.database, self.clock, self.make_person = database, clock, make_person

    def as_person(self, account: Account, act: Callable[[Work], Any]) -> Any:
        with open_work(self.database, actor=self.actor(account), clock=self.clock) as work:
            return act(work)

    def actor(self, account: Account) -> Any:
        with open_work(self.database, actor=system_actor("test"), clock=self.clock, write=False) as work:
            return actor_for(work, work.get(Account, account.id))

    def ask(self, account: Account, **changes: Any) -> ExportRequest:
        wish = Wish(
            **{
                "kind": "patients", "asked": {}, "columns": COLUMNS, "file_form": "csv",
                "purpose": ExportPurpose.REPORT,
                "purpose_text": "季度上报", "is_clear": False, "clear_reason": "", **changes,
            }
        )  # fmt: skip
        return self.as_person(
            account, lambda work: acts.request_export(work, exportables=exportables(), wish=wish)
        )

    def approve(self, account: Account, request: ExportRequest) -> ExportRequest:
        return self.as_person(
            account, lambda work: acts.decide_export(work, request_id=request.id, is_approved=True, note="")
        )

    def build(self) -> None:
        while acts.build_exports(self.database, self.clock, exportables()):
            pass

    def fetch(self, account: Account, request: ExportRequest) -> bytes:
        return self.as_person(account, lambda work: acts.fetch_export(work, request_id=request.id))[1]

    def lines(self, account: Account, request: ExportRequest) -> list[list[str]]:
        return list(csv.reader(io.StringIO(self.fetch(account, request).decode("utf-8-sig"))))

    def standing(self, request: ExportRequest) -> ExportRequest:
        with open_work(self.database, actor=system_actor("test"), clock=self.clock) as work:
            return work.get(ExportRequest, request.id)


@pytest.fixture
def office(database: Database, clock: FixedClock, make_person: MakePerson) -> Office:
    return Office(database, clock, make_person)


def patient(work: Work, name: str = "张三", phone: str = "+8613800138000") -> Patient:
    made = make_patient(work, name=name)
    keys = work.keys
    work.add(
        ContactPoint(
            id=work.new_id(), patient_id=made.id, system="phone", use="mobile", rank=1,
            value_sealed=keys.seal_text(phone), value_index=keys.blind("phone", phone),
            last4_index=keys.blind("phone4", phone[-4:]), source="his", as_of=work.clock.now(), seq=1,
        )
    )  # fmt: skip
    return made


def test_a_short_list_is_written_at_once_with_masks_and_who_took_it_out(office: Office) -> None:
    wang = office.make_person("wang")
    office.as_person(wang, lambda work: [patient(work, "张三"), patient(work, "=HYPERLINK(1)")])
    test_one = office.as_person(wang, lambda work: patient(work, "测试患者"))
    office.as_person(
        wang,
        lambda work: mark_test_patient(work, patient_id=test_one.id, mark=PatientMark.TEST, reason="演示"),
    )

    request = office.ask(wang)
    assert request.state is ExportState.QUEUED
    office.build()

    mark, heads, *lines = office.lines(wang, request)
    assert "季度上报" in mark[0]
    assert mark[0].startswith(wang.display_name)
    assert heads == ["姓名", "病案号", "电话"]
    assert sorted(lines) == [["'=HYPERLINK(1)", "", "138****8000"], ["张三", "", "138****8000"]]
    found = office.standing(request)
    assert (found.rows, found.downloads, found.state) == (2, 1, ExportState.READY)
    read = office.as_person(wang, lambda work: work.one(AuditEvent, AuditEvent.action == "export.read"))
    subjects = office.as_person(wang, lambda work: work.all(AuditSubject, AuditSubject.audit_id == read.id))
    assert len(subjects) == 2


def test_a_long_list_waits_for_somebody_else(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EXPORT_FREE_ROWS", 1)
    wang, li = office.make_person("wang"), office.make_person("li")
    office.as_person(wang, lambda work: [patient(work), patient(work)])
    request = office.ask(wang)
    office.build()
    assert office.standing(request).state is ExportState.WAITING

    with pytest.raises(HcrmError, match="另一个人"):
        office.approve(wang, request)
    assert office.as_person(li, lambda work: [one.id for one in acts.list_waiting(work)]) == [request.id]
    office.approve(li, request)
    office.build()

    assert len(office.lines(wang, request)) == 4
    with pytest.raises(ConflictError):
        office.approve(li, request)
    with pytest.raises(NotFoundError):
        office.fetch(li, request)  # who approves does not get the file


def test_a_list_that_has_grown_since_is_another_one(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EXPORT_FREE_ROWS", 1)
    wang = office.make_person("wang")
    office.as_person(wang, patient)
    request = office.ask(wang)
    office.as_person(wang, lambda work: [patient(work), patient(work)])

    office.build()

    found = office.standing(request)
    assert (found.state, found.content_sealed) == (ExportState.FAILED, None)
    assert "重新申请" in (found.error or "")


def test_small_lists_add_up_until_a_day_has_passed(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EXPORT_FREE_ROWS", 3)
    wang, li = office.make_person("wang"), office.make_person("li")
    office.as_person(wang, lambda work: [patient(work), patient(work)])

    assert office.ask(wang).state is ExportState.QUEUED
    office.build()
    second = office.ask(wang)
    assert second.state is ExportState.WAITING
    assert office.ask(li).state is ExportState.QUEUED  # each person's own
    office.approve(li, second)
    office.build()
    assert office.standing(second).state is ExportState.READY

    office.clock.move(hours=limits.EXPORT_FREE_HOURS, seconds=1)
    assert office.ask(wang).state is ExportState.QUEUED


def test_one_practitioner_with_two_accounts_is_one_person(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EXPORT_FREE_ROWS", 0)
    wang, second = office.make_person("wang"), office.make_person("wang2")
    staff = office.as_person(wang, lambda work: make_practitioner(work).id)

    def bind(work: Work) -> None:
        patient(work)
        for account in (wang, second):
            work.get(Account, account.id).practitioner_id = staff

    office.as_person(wang, bind)
    with pytest.raises(HcrmError, match="另一个人"):
        office.approve(second, office.ask(wang))


def test_the_free_rows_are_those_of_a_person_whatever_account_asks(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EXPORT_FREE_ROWS", 3)
    wang, second, other = (office.make_person(name) for name in ("wang", "wang2", "other"))
    staff = office.as_person(wang, lambda work: make_practitioner(work).id)

    def bind(work: Work) -> None:
        patient(work, "一")
        patient(work, "二")
        for account in (wang, second):
            work.get(Account, account.id).practitioner_id = staff

    office.as_person(wang, bind)
    assert office.ask(wang).state is ExportState.QUEUED
    assert office.as_person(second, lambda work: acts.free_rows_left(work, second.id)) == 1
    assert office.ask(second).state is ExportState.WAITING
    assert office.ask(other).state is ExportState.QUEUED  # somebody without a staff number is nobody else


@pytest.mark.parametrize("is_approved", [False, True])
def test_the_bound_of_the_role_is_asked_again_when_the_file_is_written(
    office: Office, monkeypatch: pytest.MonkeyPatch, is_approved: bool
) -> None:
    monkeypatch.setattr(limits, "EXPORT_FREE_ROWS", 0 if is_approved else 500)
    wang = office.make_person("wang")
    office.as_person(wang, lambda work: [patient(work) for _ in range(10)])
    monkeypatch.setattr(acts, "most_rows", lambda _actor: 10)
    request = office.ask(wang)
    if is_approved:
        office.approve(office.make_person("li"), request)
    office.as_person(
        wang, patient
    )  # within the tenth an approved list may grow, beyond what the role lets out

    office.build()

    found = office.standing(request)
    assert (found.state, found.content_sealed) == (ExportState.FAILED, None)
    assert "最多导出 10 行" in (found.error or "")


def test_a_file_holds_the_segment_that_was_approved_whatever_became_of_it(
    office: Office, monkeypatch: pytest.MonkeyPatch, browser_of: Callable[..., Browser]
) -> None:
    monkeypatch.setattr(limits, "EXPORT_FREE_ROWS", 1)
    wang, li = office.make_person("wang"), office.make_person("li")

    def begin(work: Work) -> tuple[str, int]:
        for name, sex in (("甲一", Sex.MALE), ("甲二", Sex.MALE), ("乙一", Sex.FEMALE), ("乙二", Sex.FEMALE)):
            patient(work, name).sex = sex
        work.session.flush()
        refresh_profiles(work, work.scalars(sa.select(Patient.id)))
        made = create_segment(work, entered=of_sex("male"))
        return made.id, made.version

    def of_sex(sex: str) -> SegmentInput:
        line = Line(field="patient.sex", operator=Operator.IN, values=(sex,))
        return SegmentInput(name="男患者回访", filter=SegmentFilter(groups=(Group(lines=(line,)),)))

    segment_id, version = office.as_person(wang, begin)
    asked = {"segment": segment_id, "filter": "{}"}  # a filter of one's own is not taken
    request, later = (office.ask(wang, kind="segment", asked=asked) for _ in range(2))
    office.as_person(
        wang,
        lambda work: change_segment(work, segment_id=segment_id, version=version, entered=of_sex("female")),
    )
    shown = browser_of("li").get(f"/export/{request.id}").text
    assert "第 1 版" in shown
    assert "“男”" in shown
    office.approve(li, request)
    office.build()
    assert sorted(line[0] for line in office.lines(wang, request)[2:]) == ["甲一", "甲二"]

    office.approve(li, later)
    office.as_person(wang, lambda work: end_segment(work, segment_id=segment_id))
    office.build()
    assert "已删除" in (office.standing(later).error or "")


def test_a_file_of_today_holds_the_day_it_was_asked_on(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EXPORT_FREE_ROWS", 0)
    wang, li = office.make_person("wang"), office.make_person("li")

    def leave(name: str) -> None:
        office.as_person(
            wang,
            lambda work: make_encounter(work, patient=patient(work, name), discharged_at=work.clock.now()).id,
        )

    leave("甲今")
    request = office.ask(wang, asked={"discharged": "today"})
    office.clock.move(days=1)
    leave("乙明")
    office.approve(li, request)
    office.build()

    assert [line[0] for line in office.lines(wang, request)[2:]] == ["甲今"]
    assert "出院" in "".join(office.standing(request).described)


def test_a_file_of_a_segment_counts_its_days_from_the_day_it_was_asked_on(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EXPORT_FREE_ROWS", 0)
    wang, li = office.make_person("wang"), office.make_person("li")

    def begin(work: Work) -> str:
        made = [patient(work, name).id for name in ("甲一", "乙二")]
        for key, days in zip(made, (9, 11), strict=True):
            at = work.clock.now() - timedelta(days=days)
            make_encounter(work, patient=work.get(Patient, key), discharged_at=at)
        refresh_profiles(work, made)
        line = Line(field="patient.last_discharged", operator=Operator.WITHIN_DAYS, values=("10",))
        entered = SegmentInput(name="近十天", filter=SegmentFilter(groups=(Group(lines=(line,)),)))
        return create_segment(work, entered=entered).id

    request = office.ask(wang, kind="segment", asked={"segment": office.as_person(wang, begin)})
    asked_on = local_time(office.clock.now()).date()
    office.clock.move(days=3)
    office.approve(li, request)
    office.build()

    assert [line[0] for line in office.lines(wang, request)[2:]] == ["甲一"]
    assert asked_on.isoformat() in "".join(office.standing(request).described)


def make_uncallable(work: Work) -> None:
    """People of whom each is not called for a reason of their own, and two who are."""
    people = {
        name: patient(work, name, f"+861380013810{place}")
        for place, name in enumerate(("亡", "止", "停", "换号", "拒", "名单", "可联系"))
    }
    patient(work, "境外", "+14155552671")
    record_death(work, patient_id=people["亡"].id, told_by="家属")
    end_contact(work, patient_id=people["止"].id, kind=StopKind.TERMINATED, reason="来电要求")
    numbers = {row.patient_id: row for row in work.all(ContactPoint)}
    add_number(work, patient_id=people["换号"].id, number="13900139000")
    for name in ("停", "换号"):
        key = people[name].id
        end_number(work, patient_id=key, kind="contact", key=numbers[key].id, reason="空号")
    refusal = {(ContactPurpose.CARE, ContactMeans.CALL): ConsentDecision.REFUSED}
    record_consents(work, patient_id=people["拒"].id, decisions=refusal, evidence="电话告知")
    now, listed = work.clock.now(), numbers[people["名单"].id]
    work.add(
        BarredNumber(
            id=work.new_id(), value_sealed=listed.value_sealed, value_index=listed.value_index, reason="名单",
            source="test", created_at=now, actor_id="a", actor_name="甲", ended_at=None, ended_reason=None,
            ended_by=None,
        )
    )  # fmt: skip
    set_disclosure(
        work, patient_id=people["换号"].id, state=DisclosureState.CONFIDENTIAL, contact_name="李红",
        contact_relation="女儿",
    )  # fmt: skip


@pytest.mark.parametrize("is_clear", [False, True])
@pytest.mark.parametrize("kind", ["patients", "segment"])
def test_a_number_nobody_may_call_leaves_no_house_and_the_file_says_why(
    office: Office, is_clear: bool, kind: str
) -> None:
    wang, li = office.make_person("wang"), office.make_person("li")
    office.as_person(wang, make_uncallable)
    asked = {"segment": office.as_person(wang, everybody)} if kind == "segment" else {}
    columns = ("name", "phone", "deceased", "contact_ended", "disclosure", "not_called")

    def lines(purpose: ExportPurpose) -> list[list[str]]:
        request = office.ask(
            wang, kind=kind, asked=asked, columns=columns, purpose=purpose, is_clear=is_clear,
            clear_reason="电话回访" if is_clear else "",
        )  # fmt: skip
        if is_clear:
            office.approve(li, request)
        office.build()
        found = office.standing(request)
        assert found.rows == len(office.lines(wang, request)) - 2
        assert ("6 人未列出" in "".join(found.described)) is (purpose is ExportPurpose.FOLLOW_UP)
        return office.lines(wang, request)

    mark, heads, *rows = lines(ExportPurpose.REPORT)
    assert heads == ["姓名", "电话", "在世", "终止联系", "知情", "不能拨打的原因"]
    said = {name: tuple(rest) for name, *rest in rows}
    called = {"换号": "13900139000", "可联系": "13800138106"}
    shown = {
        name: number if is_clear else f"{number[:3]}****{number[-4:]}" for name, number in called.items()
    }
    assert {name: phone for name, (phone, *_) in said.items() if phone} == shown
    assert {name: why for name, (*_, why) in said.items()} == {
        "亡": "患者已故", "止": "已终止联系", "停": "已停用", "拒": "已拒绝", "名单": "在请勿联系名单上",
        "境外": "境外号码", "换号": "", "可联系": "",
    }  # fmt: skip
    assert (said["亡"][1], said["止"][2], said["换号"][3]) == (
        "已故",
        "终止联系",
        "家属要求保密，联系 女儿 李红",
    )

    mark, heads, *rows = lines(ExportPurpose.FOLLOW_UP)
    assert {row[0]: row[1] for row in rows} == shown
    assert "6 人未列出" in mark[0]


def everybody(work: Work) -> str:
    refresh_profiles(work, work.scalars(sa.select(Patient.id)))
    return create_segment(work, entered=SegmentInput(name="全部", filter=SegmentFilter())).id


def test_numbers_in_full_need_their_own_right_and_a_reason(office: Office) -> None:
    wang, head = office.make_person("wang"), office.make_person("head", roles=("department_head",))
    office.as_person(wang, patient)

    with pytest.raises(InvalidInput) as refusal:
        office.ask(wang, is_clear=True)
    assert refusal.value.errors == {"clear_reason": "请写明为什么需要完整号码"}
    with pytest.raises(InvalidInput) as refusal:
        office.ask(head, is_clear=True, clear_reason="想看")
    assert refusal.value.errors["is_clear"] == "您的角色不能导出完整号码"

    with pytest.raises(InvalidInput) as refusal:
        office.ask(wang, is_clear=True, clear_reason="寄随访信", columns=("name",))
    assert "不必选" in refusal.value.errors["is_clear"]

    request = office.ask(wang, is_clear=True, clear_reason="寄随访信", file_form="xlsx")
    office.build()
    assert office.standing(request).state is ExportState.WAITING  # one row, and yet
    office.approve(office.make_person("li"), request)
    office.build()
    book = openpyxl.load_workbook(io.BytesIO(office.fetch(wang, request)))
    assert [cell.value for cell in book.active[3]] == ["张三", None, "13800138000"]
    assert "季度上报" in book.properties.description


def test_the_file_holds_what_its_asker_may_see_when_it_is_written(office: Office) -> None:
    def two_departments(work: Work) -> Any:
        own, other = make_department(work), make_department(work)
        make_encounter(work, patient=patient(work, "本科"), department=own)
        make_encounter(work, patient=patient(work, "他科"), department=other)
        return own

    wang = office.make_person("wang")
    own = office.as_person(wang, two_departments)
    head = office.make_person("head", roles=("department_head",), department_code=own.code)
    request = office.ask(head)
    office.build()
    assert [line[0] for line in office.lines(head, request)[2:]] == ["本科"]

    later = office.ask(head)

    def close(work: Work) -> None:
        work.get(Account, head.id).active = False

    office.as_person(wang, close)
    office.build()
    assert office.standing(later).state is ExportState.FAILED


def test_a_role_bounds_its_files_and_an_empty_list_is_none(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    wang = office.make_person("wang")
    with pytest.raises(InvalidInput) as refusal:
        office.ask(wang, columns=())
    assert refusal.value.errors == {"columns": "请至少选一列", "form": "名单是空的"}
    office.as_person(wang, lambda work: [patient(work), patient(work)])
    monkeypatch.setattr(acts, "most_rows", lambda _actor: 1)
    with pytest.raises(InvalidInput) as refusal:
        office.ask(wang)
    assert "一次最多导出 1 行" in refusal.value.errors["form"]


def test_a_file_goes_after_its_time(office: Office) -> None:
    wang = office.make_person("wang")
    office.as_person(wang, patient)
    request = office.ask(wang)
    office.build()
    sealed = office.standing(request).content_sealed
    assert sealed is not None
    assert "张三".encode() not in sealed

    office.clock.move(hours=limits.EXPORT_KEEP_HOURS + 1)
    with pytest.raises(ConflictError):
        office.fetch(wang, request)
    assert office.as_person(wang, acts.prune_exports) == 1
    assert office.standing(request).content_sealed is None


def test_the_pages_of_an_export(office: Office, browser_of: Callable[..., Browser]) -> None:
    wang = office.make_person("wang")
    office.as_person(wang, patient)
    browser = browser_of("wang")
    assert "/export/new?list=patients" in browser.get("/patients").text.replace("&amp;", "&")
    assert "还没有导出过" in browser.get("/export").text
    assert "现有 1 行" in browser.get("/export/new?list=patients").text
    refused = browser.post("/export/new", {"list": "patients", "columns": "name", "file_form": "csv"})
    assert (refused.status_code, "请写明用来做什么" in refused.text) == (422, True)

    answer = browser.post(
        "/export/new",
        {
            "list": "patients",
            "columns": ["name"],
            "file_form": "csv",
            "purpose": "research",
            "purpose_text": "课题",
        },
    )
    assert answer.status_code == 303
    assert "正在生成" in browser.get(answer.location).text
    office.build()
    assert "下载" in browser.get(answer.location).text
    file = browser.get(f"{answer.location}/file")
    assert file.headers["Content-Disposition"].startswith("attachment")
    assert "课题" in file.data.decode("utf-8-sig")
    office.make_person("li")
    assert browser_of("li").get(f"{answer.location}/file").status_code == 404


cells = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])), min_size=1, max_size=3
)


@given(st.lists(cells, min_size=1, max_size=3))
def test_no_file_holds_what_a_program_would_run(lines: Sequence[Sequence[str]]) -> None:
    for line in csv.reader(io.StringIO(write_csv(lines).decode("utf-8-sig"), newline="")):
        assert all(not cell or cell[0] not in "=+-@\t\r" for cell in line)
    book = openpyxl.load_workbook(io.BytesIO(write_xlsx("x", lines)))
    assert all(cell.data_type != "f" for row in book.active for cell in row)


def test_the_contact_log_leaves_like_every_list(office: Office) -> None:
    wang = office.make_person("wang")
    at = office.clock.now()

    def log(work: Work) -> None:
        for name, note, days in (
            ("张三", "=cmd|x!A1 \n第二行", 1),
            ("李四", "很好", 40),
            ("测试", "演示", 1),
        ):
            made = patient(work, name)
            record_contact(
                work, patient_id=made.id, channel=Channel.PHONE, result=ContactResult.REACHED, note=note,
                happened_at=at - timedelta(days=days),
            )  # fmt: skip
            if name == "测试":
                mark_test_patient(work, patient_id=made.id, mark=PatientMark.TEST, reason="演示")

    office.as_person(wang, log)
    request = office.ask(
        wang, kind="contacts", asked={"since": "2026-11-01", "until": "2026-11-22", "channel": "phone"},
        columns=("name", "happened_at", "logged_at", "channel", "note"),
    )  # fmt: skip
    office.build()

    assert request.title == "联系记录 2026-11-01 至 2026-11-22、电话"
    assert office.lines(wang, request)[1:] == [
        ["姓名", "时间", "登记时间", "渠道", "内容"],
        [
            "张三",
            *(f"{local_time(one):%Y-%m-%d %H:%M}" for one in (at - timedelta(days=1), at)),
            "电话",
            "'=cmd|x!A1 \n第二行",
        ],
    ]
    physician = office.make_person("zhou", ("physician",))
    with pytest.raises(HcrmError):
        office.ask(physician, kind="contacts", columns=("name",))
