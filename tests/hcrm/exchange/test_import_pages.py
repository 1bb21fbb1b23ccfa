"""The pages of imports, through the real application."""

import io
import re
from collections.abc import Callable

from flask import Flask
from werkzeug.test import TestResponse

from hcrm.archive.models import PatientIdentifier
from hcrm.archive.queries import OWN_AUTHORITY
from hcrm.core import limits
from hcrm.core.work import Work
from hcrm.exchange.models import ImportRun
from tests.hcrm.exchange.test_patients_import import known_patient
from tests.support.console import Browser, MakePerson
from tests.support.importing import Intake, csv_file, sheet_file

Open = Callable[..., Browser]


def sent(content: bytes, name: str = "名单.csv", kind: str = "patients") -> dict[str, object]:
    return {"kind": kind, "file": (io.BytesIO(content), name)}


def test_a_file_goes_from_the_upload_to_the_revert(
    browser_of: Open, make_person: MakePerson, intake: Intake
) -> None:
    make_person()
    browser = browser_of("wang")
    assert "还没有导入过文件" in browser.get("/import").text
    assert "病案号和姓名都一致才算同一个人" in browser.get("/import/new").text

    answer = browser.post(
        "/import/new", sent(csv_file(("病案号", "姓名"), ("1", "=HYPERLINK(1)"), ("", "没有号码")))
    )
    assert answer.status_code == 303
    page = browser.get(answer.location)
    assert re.search(r'name="column-record_no".*?value="0" selected', page.text, re.DOTALL)
    run_id = answer.location.split("/")[2]
    refused = browser.post(f"/import/{run_id}/columns", {"option-number_kind": "|MR", "column-name": "1"})
    assert (refused.status_code, "请选择文件中的列" in refused.text) == (422, True)
    fields = {"option-number_kind": "|MR", "column-record_no": "0", "column-name": "1"}
    assert browser.post(f"/import/{run_id}/columns", fields).status_code == 303
    assert "hx-trigger" in browser.get(f"/import/{run_id}").text  # at work
    while intake.advance():
        pass
    shown = browser.get(f"/import/{run_id}").text
    assert "导入 1 行" in shown
    assert "病案号：此项必填" in shown
    browser.post(f"/import/{run_id}/run")
    while intake.advance():
        pass
    done = browser.get(f"/import/{run_id}").text
    assert "已写入 1 行" in done
    assert "这期间可以撤销，可以下载未导入的行" in done
    marked = browser.get(f"/import/{run_id}/errors.csv").data.decode("utf-8-sig")
    assert marked.splitlines()[1].split(",") == ["", "没有号码", "3", "病案号", "病案号：此项必填"]
    assert browser.get(f"/import/{run_id}/errors.xlsx").data.startswith(b"PK")
    browser.post(f"/import/{run_id}/revert")
    while intake.advance():
        pass
    gone = browser.get(f"/import/{run_id}").text
    assert "已撤销 1 行" in gone
    assert "可以撤销" not in gone
    assert "文件" in browser.get("/import").text

    again = browser.post("/import/new", sent(csv_file(("病案号", "姓名"), ("1", "甲"))))
    second = browser.post("/import/new", sent(csv_file(("病案号", "姓名"), ("1", "甲"))))
    assert "同一个文件已由" not in browser.get(again.location).text
    assert "同一个文件已由" in browser.get(second.location).text


def test_a_page_that_watches_a_file_is_loaded_anew_when_the_work_is_done(
    browser_of: Open, make_person: MakePerson, intake: Intake
) -> None:
    """The rows, and the file of rows that were refused, stand outside the part that is asked again."""
    make_person()
    browser = browser_of("wang")
    answer = browser.post("/import/new", sent(csv_file(("病案号", "姓名"), ("1", "甲"))))
    run_id = answer.location.split("/")[2]
    fields = {"option-number_kind": "|MR", "column-record_no": "0", "column-name": "1"}
    browser.post(f"/import/{run_id}/columns", fields)
    asked = {"HX-Request": "true", "X-Refresh": "1"}

    assert "HX-Refresh" not in browser.get(f"/import/{run_id}", headers=asked).headers  # at work
    while intake.advance():
        pass
    assert browser.get(f"/import/{run_id}", headers=asked).headers["HX-Refresh"] == "true"
    assert "HX-Refresh" not in browser.get(f"/import/{run_id}").headers


def test_a_refused_file_says_why_and_keeps_nothing(
    browser_of: Open, make_person: MakePerson, intake: Intake
) -> None:
    make_person()
    browser = browser_of("wang")
    browser.get("/import/new")

    answer = browser.post("/import/new", sent(b"%PDF-1.7 ...", "a.xlsx"))

    assert (answer.status_code, "这不是表格，而是PDF 文档" in answer.text) == (422, True)
    assert "请选择文件" in browser.post("/import/new", {"kind": "patients"}).text
    assert intake.work(lambda work: work.all(ImportRun)) == []


def post_large(browser: Browser, size: int) -> TestResponse:
    """A request that says it is of that size; nobody reads it."""
    return browser.client.post(
        "/import/new", data=b"--x--", content_type="multipart/form-data; boundary=x",
        environ_overrides={"CONTENT_LENGTH": str(size)},
    )  # fmt: skip


def test_a_file_larger_than_any_other_request_is_taken_and_a_huge_one_is_not(
    app: Flask, browser_of: Open, make_person: MakePerson
) -> None:
    make_person()
    browser = browser_of("wang")
    browser.get("/import/new")
    app.config["MAX_CONTENT_LENGTH"] = 1_000
    lines = [("病案号", "姓名"), *((str(at), "甲" * 90) for at in range(100))]

    assert browser.post("/import/new", sent(csv_file(*lines))).status_code == 303
    huge = post_large(browser, limits.MAX_UPLOAD_BYTES + 100_000)
    assert huge.status_code == 413


def test_a_file_over_the_limit_is_told_its_size_and_the_limit_at_the_field(
    browser_of: Open, make_person: MakePerson
) -> None:
    make_person()
    browser = browser_of("wang")
    assert "最大 10 MB" in browser.get("/import/new").text

    answer = post_large(browser, 60 * 1024 * 1024 + 600)  # the file and what the form holds beside it

    assert (answer.status_code, 'id="error-file"' in answer.text) == (413, True)
    assert "文件有 60.0 MB，最大 10 MB，请拆成几个文件" in answer.text


def test_a_request_over_the_limit_tells_nobody_else_about_the_form(
    browser_of: Open, make_person: MakePerson
) -> None:
    make_person("li", roles=("physician",))
    browser = browser_of("li")
    browser.get("/patients")

    answer = post_large(browser, 11 * 1024 * 1024)

    assert (answer.status_code, "导入什么" in answer.text) == (413, False)
    assert "提交的内容有 11.0 MB，最大 10 MB。" in answer.text


def test_who_may_not_import_is_refused(browser_of: Open, make_person: MakePerson) -> None:
    make_person("li", roles=("physician",))
    browser = browser_of("li")

    assert browser.get("/import").status_code == 403
    assert browser.post("/import/new", sent(sheet_file(("病案号", "姓名"), ("1", "甲")))).status_code == 403


def test_kinds_of_number_are_offered_in_a_clerks_words_and_only_where_there_is_a_choice(
    browser_of: Open, make_person: MakePerson, intake: Intake
) -> None:
    make_person()
    browser = browser_of("wang")
    browser.get("/import/new")
    content = csv_file(("病案号", "姓名"), ("1001", "张三"))
    intake.work(known_patient)
    alone = browser.get(browser.post("/import/new", sent(content)).location).text
    assert 'type="hidden" name="option-number_kind" value="H1|MR"' in alone
    assert "病案号是哪一种号码" not in alone

    def another(work: Work) -> None:
        known = known_patient(work, number="2", name="李四")
        row = work.one(PatientIdentifier, PatientIdentifier.patient_id == known.id)
        row.authority, row.type = OWN_AUTHORITY, "MR"

    intake.work(another)
    several = browser.get(browser.post("/import/new", sent(content)).location).text
    assert "病案号是哪一种号码" in several
    assert "病案号（H1）" in several
    assert "本系统建档时给的号码（H 开头）" in several
    assert ">H1、MR<" not in several
