"""接口 › 对账: the matrix, what each number opens, the keys, the sheet; who may press and see what."""

import io
import os
import re
from dataclasses import replace
from datetime import UTC, date, datetime

import openpyxl
import pytest
import sqlalchemy as sa

from hcrm.audit.models import AuditEvent
from hcrm.core.clock import FixedClock
from hcrm.core.sources import Sources
from hcrm.core.work import open_work
from hcrm.directory.models import Department
from hcrm.inbox.census_models import CensusRun, LineState, RunState
from hcrm.inbox.monitor import watch_interface
from hcrm.inbox.views import PARTS
from tests.support.adt import adt
from tests.support.census import ACTOR, ListFolder, Reconciling, listed, source_of
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.hospital import Hospital

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]
DAY = date(2026, 11, 21)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 11, 22, 2, tzinfo=UTC))


@pytest.fixture
def folder(tmp_path) -> ListFolder:
    return ListFolder(tmp_path)


@pytest.fixture
def office(database, clock, app, folder) -> Reconciling:
    """A source with a list, known to the console."""
    office = Reconciling(database, clock, source_of(folder.census(campus="本部")))
    app.extensions[PARTS] = replace(app.extensions[PARTS], sources=office.sources)
    return office


@pytest.fixture
def hospital(database, clock, office, folder):
    """V1 unknown to us, V2 with another time, V3 nobody's."""
    with Hospital(database, clock, sources=office.sources) as hospital:
        for number, event, when in ((2, "A01", "18100000"), (2, "A03", "21150000"), (3, "A01", "21080000")):
            at = f"202611{when}+0800"
            hospital.receive(
                adt(event, c=f"{event}{number}", v=f"V{number}", p=f"00012340{number}", o=at, m=at, r=at)
            )
        folder.put(DAY, [
            listed("V1", "21 07:00", "21 18:00", patient="000123401"),
            listed("V2", "18 10:00", "21 15:30", patient="000123402"),
        ])  # fmt: skip
        office.run()
        yield hospital


@pytest.fixture
def wang(make_person, browser_of):
    make_person("wang")
    return browser_of("wang")


@pytest.fixture
def admin(make_person, browser_of):
    make_person("admin", ("sysadmin",))
    return browser_of("admin")


def run_of(hospital) -> CensusRun:
    return max(hospital.all(CensusRun), key=lambda run: (run.day, run.number))


def line_of(office, hospital, visit_no: str):
    return next(line for line in office.lines(run_of(hospital)) if line.visit_no == visit_no)


def test_before_anything_is_configured_the_page_says_what_to_do(wang):
    assert "没有来源配置了名单" in wang.get("/interface/census").text


def test_a_source_that_was_never_compared_says_so(wang, office):
    assert "还没有对过账" in wang.get("/interface/census").text


def test_the_matrix_counts_by_campus_and_department_and_its_numbers_open_their_lines(wang, hospital):
    page = wang.get("/interface/census").text
    run = run_of(hospital)

    assert "2026-11-21" in page
    assert "本部" in page
    assert (
        f'href="/interface/census/{run.id}/lines?finding=missing&amp;movement=discharge&amp;run_id'
        not in page
    )
    lines = wang.get(
        f"/interface/census/{run.id}/lines?movement=admission&department=W1&finding=missing"
    ).text
    assert ">V1<" in lines
    assert ">V3<" not in lines
    extra = wang.get(f"/interface/census/{run.id}/lines?finding=extra").text
    assert ">V3<" in extra


def test_every_number_opens_its_stays_and_nought_opens_nothing(wang, admin, hospital):
    run, page = run_of(hospital), wang.get("/interface/census").text
    lines = [
        re.findall(r'<td class="num">(?:<a [^>]*href="([^"]+)">)?(\d+)', row)
        for row in re.findall("<tr>(.*?)</tr>", page, re.DOTALL)
        if "入院" in row
    ]

    assert [[number for _, number in line] for line in lines] == [["1", "1", "1", "1", "0"]] * 2  # row, total
    for line in lines:
        assert [bool(address) for address, _ in line] == [True, True, True, True, False]
    listed, ours = (wang.get(line[0].replace("&amp;", "&")).text for line in lines[1][:2])
    assert re.findall("V[0-9]", listed.partition("<tbody>")[2]) == ["V1"]
    assert re.findall("V[0-9]", ours.partition("<tbody>")[2]) == ["V3"]
    assert f'href="/interface/census/{run.id}/stays?side=listed"' in page  # 名单人次
    masked = admin.get(f"/interface/census/{run.id}/stays?side=ours").text
    assert ">V3<" not in masked
    assert "***" in masked


def test_stays_of_no_known_class_are_told_of(wang, hospital, office, folder):
    at = "20261121090000+0800"
    hospital.receive(adt("A01", c="x", v="V7", p=7, o=at, m=at, r=at, cls="Q9"))
    run = office.run()
    page = wang.get("/interface/census").text

    assert "档案中另有 1 人次就诊类别未知，未对账" in page
    assert ">V7<" in wang.get(f"/interface/census/{run.id}/stays?side=classless").text


def test_a_finding_opens_patient_and_messages(wang, hospital, office):
    line = line_of(office, hospital, "V2")
    page = wang.get(f"/interface/census/lines/{line.id}").text

    assert f"/patients/{line.patient_id}" in page
    assert "/interface/messages/2" in page
    assert "2026-11-21 15:30:00" in page
    assert "000123402" in page


def test_a_finding_calls_the_columns_of_the_list_by_our_words(wang, hospital, office, app):
    def heads() -> list[str]:
        page = wang.get(f"/interface/census/lines/{line_of(office, hospital, 'V1').id}").text
        row = page.partition("名单中的内容")[2].partition("</section>")[0]
        return re.findall("<dt>(.*?)</dt>", row)

    assert heads() == [
        "病案号", "出院时间", "科室", "就诊类别", "离院方式", "入院时间", "姓名", "就诊流水号",
    ]  # fmt: skip
    app.extensions[PARTS] = replace(app.extensions[PARTS], sources=Sources([]))
    assert "zyh" in heads()  # of a source whose file is gone nobody knows what its columns were


def test_record_numbers_and_rows_are_hidden_from_who_may_not_read_messages(admin, hospital, office):
    run, line = run_of(hospital), line_of(office, hospital, "V2")

    pages = [
        admin.get(f"/interface/census/{run.id}/lines").text,
        admin.get(f"/interface/census/lines/{line.id}").text,
    ]

    for page in pages:
        assert "***402" in page
        assert "000123402" not in page
        assert ">V2<" not in page
        assert f"/patients/{line.patient_id}" not in page
    assert "名单中的内容" not in pages[1]


@pytest.mark.parametrize(("who", "shown"), [("wang", "000123401"), ("admin", "***401")])
def test_the_sheet_is_masked_by_role_and_holds_no_formula(who, shown, request, hospital):
    browser = request.getfixturevalue(who)
    answer = browser.get(f"/interface/census/{run_of(hospital).id}/lines.xlsx")

    sheet = openpyxl.load_workbook(io.BytesIO(answer.data)).active
    rows = list(sheet.iter_rows(values_only=True))
    assert rows[1][:4] == ("类别", "差异", "就诊流水号", "病案号")
    assert {row[3] for row in rows[2:] if row[3].endswith("401")} == {shown}
    assert ("V1" in {row[2] for row in rows}) is (who == "wang")
    assert all(cell.data_type == "s" for row in sheet.iter_rows() for cell in row if cell.value is not None)
    assert any(row.action == "census.export" for row in hospital.all(AuditEvent))


def test_one_key_applies_all_after_what_will_change_was_shown(wang, admin, hospital, office):
    run = run_of(hospital)
    page = wang.get(f"/interface/census/{run.id}/apply").text
    assert "补录 2 人次" in page
    rows = re.findall("<tr>(.*?)</tr>", page.partition("<tbody>")[2], re.DOTALL)
    assert [re.search(">(V.)<", row)[1] for row in rows] == ["V1", "V1", "V2", "V2"]  # and nothing of V3
    assert "没有此次就诊 → <b>2026-11-21 07:00:00</b>" in page
    assert "2026-11-21 15:00:00 → <b>2026-11-21 15:30:00</b>" in rows[2]
    assert max(hospital.all(AuditEvent), key=lambda row: row.id).action == "census.list"
    assert ">V1<" not in admin.get(f"/interface/census/{run.id}/apply").text

    answer = wang.post(f"/interface/census/{run.id}/apply")

    assert answer.status_code == 303
    hospital.settle()
    assert office.run().findings == 1  # the extra one
    assert hospital.visit("V1").discharged_at is not None
    assert wang.post(f"/interface/census/{run.id}/apply").status_code == 409


def test_one_finding_is_applied_asked_for_and_explained(wang, hospital, office):
    unknown, other = line_of(office, hospital, "V1"), line_of(office, hospital, "V3")

    assert wang.post(f"/interface/census/lines/{unknown.id}/apply").status_code == 303
    time = line_of(office, hospital, "V2")
    assert wang.post(f"/interface/census/lines/{time.id}/request").status_code == 303
    assert line_of(office, hospital, "V2").state is LineState.REQUESTED
    assert wang.post(f"/interface/census/lines/{other.id}/explain", {"note": "HIS 已核实"}).status_code == 303

    assert {line.state for line in office.lines(run_of(hospital)) if line.visit_no == "V1"} == {
        LineState.APPLIED
    }
    explained = line_of(office, hospital, "V3")
    assert (explained.state, explained.note) == (LineState.EXPLAINED, "HIS 已核实")
    assert explained.acted_by_name


def test_what_the_his_does_not_have_it_is_not_asked_to_send_again(wang, hospital, office):
    extra, other = line_of(office, hospital, "V3"), line_of(office, hospital, "V2")
    page = wang.get(f"/interface/census/lines/{extra.id}").text

    assert "请在 HIS 中按就诊流水号核对" in page
    assert "不算差异" in page
    assert "标为已请求 HIS 补发" not in page
    assert "标为已请求 HIS 补发" in wang.get(f"/interface/census/lines/{other.id}").text
    assert "把缺少、不符的 4 条标为已请求 HIS 补发" in wang.get("/interface/census").text
    assert wang.post(f"/interface/census/lines/{extra.id}/request").status_code == 409


def test_departments_are_called_by_their_names(wang, hospital, office, database, clock, folder):
    folder.put(
        DAY, [listed("V2", "18 10:00", "21 15:00", patient="000123402", ks="W2"), listed("V3", "21 08:00")]
    )
    run = office.run()
    with open_work(database, actor=ACTOR, clock=clock) as work:
        work.session.execute(sa.update(Department).where(Department.code == "W1").values(name="心内科"))
    line = line_of(office, hospital, "V2")

    pages = [
        wang.get(f"/interface/census/{run.id}/{more}").text
        for more in ("lines", "apply", "stays?side=ours&movement=discharge&department=W2")
    ]

    assert all("心内科" in page for page in pages)
    assert "心内科（W1）" in wang.get(f"/interface/census/lines/{line.id}").text
    sheet = openpyxl.load_workbook(io.BytesIO(wang.get(f"/interface/census/{run.id}/lines.xlsx").data)).active
    assert "心内科（W1）" in {cell.value for row in sheet.iter_rows() for cell in row}


def test_a_stay_of_another_patient_says_so_and_offers_no_row(wang, hospital, office, folder):
    folder.put(DAY, [
        listed("V2", "18 10:00", "21 15:30", patient="000123499", lyfs=""),
        listed("V3", "21 08:00", patient="000123403"),
    ])  # fmt: skip
    run = office.run()
    lines = {line.field: line for line in office.lines(run)}

    pages = {field: wang.get(f"/interface/census/lines/{line.id}").text for field, line in lines.items()}

    assert pages.keys() == {"patient_no", "discharged_at"}
    assert "在档案中属于另一位患者。补录不能改变就诊属于谁" in pages["patient_no"]
    assert "请先处理它的病案号差异" in pages["discharged_at"]
    assert all("按名单补录此人次" not in page for page in pages.values())
    assert "按名单补录…" not in wang.get("/interface/census").text
    assert wang.post(f"/interface/census/lines/{lines['patient_no'].id}/apply").status_code == 409


def test_numbers_that_read_alike_are_masked_with_their_types_in_sight(admin, wang, hospital, office, folder):
    at = "20261121080000+0800"
    hospital.receive(adt("A01", c="x", v="V7", p="000123407^^^H1^PI", o=at, m=at, r=at))
    folder.put(DAY, [listed("V7", "21 08:00", patient="000123407")])
    run = office.run()

    path = f"/interface/census/{run.id}/lines?finding=differing"
    assert "000123407（MR，H1）" in wang.get(path).text
    assert "***407（PI，H1）" in admin.get(path).text
    assert "000123407" not in admin.get(path).text


def test_what_the_numbers_count_is_said(wang, hospital, office, folder):
    folder.put(DAY, [
        listed("V1", "21 07:00", "21 18:00", patient="000123401"), listed("V8", "15 10:00", patient="8"),
        listed("V2", "18 10:00", "21 15:00", patient="000123402"), listed("V9", "21 10:00", lb="O", patient="9"),
    ])  # fmt: skip
    office.run()

    page = wang.get("/interface/census").text

    assert "共 4 条差异，一人次可有几条" in page
    assert "未补录也未说明的" in page
    assert "名单中不计入的：1 人次不在这一天入院、出院或死亡，1 人次不属所对账的就诊类别。" in page


def test_a_list_that_has_just_come_is_said_to_have_come(wang, database, clock, app, folder):
    census = folder.census()
    census["file"]["still_seconds"] = 60
    office = Reconciling(database, clock, source_of(census))
    app.extensions[PARTS] = replace(app.extensions[PARTS], sources=office.sources)
    folder.put(DAY, [])
    moment = clock.now().timestamp()
    os.utime(folder.folder / "cy-20261121.xlsx", (moment, moment))
    office.run()

    page = wang.get("/interface/census").text

    assert "文件刚到" in page
    assert "名单没有按时送到" not in page


def test_a_suspect_list_is_said_and_believed_by_a_key(
    make_person, browser_of, hospital, office, folder, clock
):
    clock.move(days=1)  # another day: nothing is compared yet
    folder.put(date(2026, 11, 22), [])
    at = "20261122090000+0800"
    hospital.receive(adt("A01", c="x", v="V9", p=9, o=at, m=at, r=at))
    office.run()
    make_person("wang")
    wang = browser_of("wang")
    page = wang.get("/interface/census").text
    assert "名单可疑" in page
    run = run_of(hospital)

    assert wang.post(f"/interface/census/{run.id}/believe").status_code == 303
    office.tick()

    assert run_of(hospital).state is RunState.COMPLETE
    assert run_of(hospital).findings == 1


def test_an_incident_leads_to_its_day(wang, hospital, database, clock):
    with open_work(database, actor=ACTOR, clock=clock) as work:
        watch_interface(work)
    page = wang.get("/interface/incidents").text

    assert "对账有差异" in page
    assert "2026-11-21 的名单与档案有 3 人次不一致" in page
    assert "/interface/census?source=his&amp;day=2026-11-21" in page


def test_who_may_only_look_presses_nothing(make_person, browser_of, hospital, office):
    make_person("li", ("physician",))
    run, line = run_of(hospital), line_of(office, hospital, "V1")
    physician = browser_of("li")

    for path in (
        "/interface/census",
        f"/interface/census/{run.id}/lines",
        f"/interface/census/lines/{line.id}",
    ):
        assert physician.get(path).status_code in (403, 404)
    assert physician.post(f"/interface/census/{run.id}/apply").status_code in (403, 404)


@pytest.mark.parametrize("query", ["movement=nonsense", "finding=x", "state=x"])
def test_an_address_nobody_made_is_refused(wang, hospital, query):
    assert wang.get(f"/interface/census/{run_of(hospital).id}/lines?{query}").status_code == 422


def test_pages_of_what_is_not_there_are_not_found(wang, office):
    for path in (
        "/interface/census/none/lines",
        "/interface/census/lines/none",
        "/interface/census/none/apply",
    ):
        assert wang.get(path).status_code == 404
