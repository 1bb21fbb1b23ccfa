"""Lists taken out: purpose, approval, masks, bounds, and a file only its asker gets."""

import csv
import io
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcrm.accounts.models import Account
from hcrm.archive.terms import (
    PatientMark,
)
from hcrm.archive.test_patients.service import mark_test_patient
from hcrm.audit.models import AuditEvent, AuditSubject
from hcrm.contact_log.models import Channel, ContactResult
from hcrm.contact_log.service import record_contact
from hcrm.core import limits
from hcrm.core.clock import local_time
from hcrm.core.errors import ConflictError, HcrmError, InvalidInput, NotFoundError
from hcrm.core.work import Work
from hcrm.core.workbook import write_csv, write_xlsx
from hcrm.exchange import exports as acts
from hcrm.exchange.export_models import ExportState
from tests.hcrm.exchange.export_office import Office, office, patient
from tests.support.builders import make_department, make_encounter, make_practitioner
from tests.support.console import Browser

__all__ = ["office"]


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
