"""What a list taken out holds: the segment that was approved, of its day, and no number nobody may call."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa

from hcrm.archive.death import record_death
from hcrm.archive.models import ContactPoint, Patient
from hcrm.archive.reach.consent_records import record_consents
from hcrm.archive.reach.contact_stop import end_contact
from hcrm.archive.reach.disclosure import set_disclosure
from hcrm.archive.reach.numbers import add_number, end_number
from hcrm.archive.reach_models import BarredNumber
from hcrm.archive.terms import (
    ConsentDecision,
    ContactMeans,
    ContactPurpose,
    DisclosureState,
    Sex,
    StopKind,
)
from hcrm.core import limits
from hcrm.core.clock import local_time
from hcrm.core.segment import Operator
from hcrm.core.work import Work
from hcrm.exchange.export_models import ExportPurpose
from hcrm.segments.filters import Group, Line, SegmentFilter
from hcrm.segments.profile import refresh_profiles
from hcrm.segments.service import SegmentInput, change_segment, create_segment, end_segment
from tests.hcrm.exchange.export_office import Office, office, patient
from tests.support.builders import make_encounter
from tests.support.console import Browser

__all__ = ["office"]


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


def everybody(work: Work) -> str:
    refresh_profiles(work, work.scalars(sa.select(Patient.id)))
    return create_segment(work, entered=SegmentInput(name="全部", filter=SegmentFilter())).id


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
