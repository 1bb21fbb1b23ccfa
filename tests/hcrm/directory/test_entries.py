"""The directory changed by hand: history, conflicts, undo, wards, one person under two numbers."""

from datetime import date

import pytest
import sqlalchemy as sa

from hcrm.accounts.queries import actor_for
from hcrm.archive.visit_models import Encounter
from hcrm.core.errors import ConflictError, HcrmError, NotFoundError
from hcrm.core.inputs import read_input
from hcrm.core.paths import config_path
from hcrm.core.work import Work
from hcrm.directory.entries import (
    EntryConflict,
    change_entry,
    create_entry,
    list_changes,
    undo_change,
    values_of,
)
from hcrm.directory.kinds import KINDS
from hcrm.directory.models import Campus, Department, Region
from hcrm.directory.queries import counties_near, find_regions, region_by_name, region_names
from hcrm.directory.service import DepartmentEntry, load_regions, register_staff
from hcrm.directory.staff_merge import merge_staff, part_staff, preview_merge
from tests.support.builders import (
    make_account,
    make_department,
    make_practitioner,
    publish_form,
    publish_rules,
)
from tests.support.stays import instructions, issued_stay, protocols

__all__ = ["protocols"]

DEPARTMENT, CAMPUS, STAFF = KINDS["department"], KINDS["campus"], KINDS["practitioner"]


@pytest.fixture
def definitions(work: Work) -> None:
    publish_rules(work)
    publish_form(work)


def form(kind, row, **typed):
    values = {name: value for name, value in values_of(kind, row).items() if name in kind.fields}
    return read_input(
        kind.inputs, {name: "" if value is None else value for name, value in (values | typed).items()}
    )


def test_a_change_is_kept_with_who_before_and_after_and_is_taken_back(work: Work):
    row = make_department(work, name="心内科")
    row.is_verified = False
    base = values_of(DEPARTMENT, row)

    assert change_entry(work, DEPARTMENT, row.id, base=base, entered=form(DEPARTMENT, row, name="心血管内科"))
    (change,) = list_changes(work, DEPARTMENT, row.id)
    assert (change.before["name"], change.after["name"], change.actor_name) == (
        "心内科",
        "心血管内科",
        work.actor.name,
    )
    assert row.is_verified

    undo_change(work, DEPARTMENT, row.id, change.id)
    assert (row.name, row.is_verified) == ("心内科", False)
    with pytest.raises(ConflictError):
        undo_change(work, DEPARTMENT, row.id, change.id)


def test_two_people_who_change_the_same_field_are_both_shown_and_other_fields_are_joined(work: Work):
    row = make_department(work, name="心内科")
    base = values_of(DEPARTMENT, row)
    change_entry(work, DEPARTMENT, row.id, base=base, entered=form(DEPARTMENT, row, name="心血管内科"))

    mine = read_input(KINDS["department"].inputs, {"code": row.code, "name": "心脏中心", "is_active": "1"})
    with pytest.raises(EntryConflict) as refused:
        change_entry(work, DEPARTMENT, row.id, base=base, entered=mine)
    (clash,) = refused.value.clashes
    assert (clash.mine, clash.current, clash.original) == ("心脏中心", "心血管内科", "心内科")

    other = read_input(
        KINDS["department"].inputs,
        {"code": row.code, "name": "心内科", "specialty_code": "03.04", "is_active": "1"},
    )
    change_entry(work, DEPARTMENT, row.id, base=base, entered=other)
    assert (row.name, row.specialty_code) == ("心血管内科", "03.04")


@pytest.mark.parametrize(
    ("typed", "says"),
    [({"specialty_code": "99.99"}, "名录"), ({"campus_id": "none"}, "院区"), ({"name": ""}, "必填")],
)
def test_what_cannot_stand_is_refused_at_its_field(work: Work, typed, says):
    row = make_department(work)
    with pytest.raises(HcrmError) as refused:
        change_entry(
            work, DEPARTMENT, row.id, base=values_of(DEPARTMENT, row), entered=form(DEPARTMENT, row, **typed)
        )
    assert refused.value.field in typed
    assert says in str(getattr(refused.value, "errors", refused.value))


def test_a_code_is_given_once_and_never_changed(work: Work):
    key = create_entry(
        work, CAMPUS, read_input(CAMPUS.inputs, {"code": "E", "name": "东院区", "is_active": "1"})
    )
    with pytest.raises(HcrmError, match="已有"):
        create_entry(work, CAMPUS, read_input(CAMPUS.inputs, {"code": "E", "name": "又一个"}))
    row = work.get(Campus, key)
    change_entry(
        work, CAMPUS, key, base=values_of(CAMPUS, row), entered=form(CAMPUS, row, code="F", phone="0571-1")
    )
    assert (row.code, row.phone) == ("E", "0571-1")
    with pytest.raises(NotFoundError):
        change_entry(work, CAMPUS, "none", base={}, entered=form(CAMPUS, row))


def test_a_wards_follow_up_is_its_departments_whose_people_see_the_ward(work: Work, protocols):
    head = make_practitioner(work, name="赵主任")
    department = make_department(work, name="内科", head=head)
    ward = make_department(work, name="十二病区")
    change_entry(
        work,
        DEPARTMENT,
        ward.id,
        base=values_of(DEPARTMENT, ward),
        entered=form(DEPARTMENT, ward, parent_id=department.id),
    )

    stay = issued_stay(work, department=ward)
    (instruction,) = instructions(work)
    assert (instruction.department_id, instruction.assignee_id) == (department.id, head.id)
    assert work.get(Encounter, stay.id).department_id == ward.id
    with pytest.raises(HcrmError, match="病区只能"):
        change_entry(
            work, DEPARTMENT, department.id, base=values_of(DEPARTMENT, department),
            entered=form(DEPARTMENT, department, parent_id=ward.id),
        )  # fmt: skip


def test_one_person_under_two_numbers_becomes_one_and_two_again(work: Work, protocols):
    known, double = (
        make_practitioner(work, name="李大夫"),
        make_practitioner(work, name="李大夫", has_account=False),
    )
    department = make_department(work, head=double)
    stay = issued_stay(work, attending=double)
    preview = preview_merge(work, duplicate_id=double.id, into_code=known.code)
    assert preview.counts["主管的就诊"] == preview.counts["任科主任的科室"] == 1

    merge_staff(work, duplicate_id=double.id, into_code=known.code)
    work.session.expire_all()
    assert work.get(Encounter, stay.id).attending_id == known.id
    assert work.get(Department, department.id).head_id == known.id
    with pytest.raises(ConflictError):
        merge_staff(work, duplicate_id=double.id, into_code=known.code)
    with pytest.raises(HcrmError, match="另一条"):
        merge_staff(work, duplicate_id=known.id, into_code=known.code)
    (merged, *_) = list_changes(work, KINDS["practitioner"], double.id)
    with pytest.raises(ConflictError):  # by halves: the stays would stay with the other
        undo_change(work, KINDS["practitioner"], double.id, merged.id)

    part_staff(work, duplicate_id=double.id)
    work.session.expire_all()
    assert work.get(Encounter, stay.id).attending_id == double.id
    assert work.get(Department, department.id).head_id == double.id
    with pytest.raises(ConflictError):
        part_staff(work, duplicate_id=double.id)


def test_a_corrected_region_outlives_the_next_load_of_the_file_and_old_codes_resolve(work: Work):
    load_regions(work, config_path("regions.csv"))
    region = KINDS["region"]
    row = work.get(Region, "330106")
    change_entry(
        work, region, "330106", base=values_of(region, row),
        entered=form(region, row, name="西湖新区", valid_to="2030-12-31"),
    )  # fmt: skip
    load_regions(work, config_path("regions.csv"))
    work.session.expire_all()

    assert work.get(Region, "330106").valid_to == date(2030, 12, 31)
    assert region_names(work, ["330106"]) == {"330106": "浙江省杭州市西湖新区"}


def test_a_region_counts_from_its_first_day_to_its_last(work: Work):
    load_regions(work, config_path("regions.csv"))  # 22 November 2026 here
    dates = {
        "330106": (None, date(2026, 11, 22)),
        "330105": (None, date(2026, 11, 21)),
        "330108": (date(2026, 11, 23), None),
    }
    for code, (first, last) in dates.items():
        row = work.get(Region, code)
        row.valid_from, row.valid_to = first, last
    work.session.flush()

    assert [region_by_name(work, code) for code in dates] == ["330106", None, None]
    near = " ".join(counties_near(work, "330000"))
    assert "西湖区" in near
    assert "拱墅区" not in near
    assert "滨江区" not in near
    assert [row.Region.code for row in find_regions(work, words="3301", only_ended=True)] == ["330105"]


def test_a_region_is_added_with_its_level_kept_in_the_history_and_outlives_the_file(work: Work):
    load_regions(work, config_path("regions.csv"))
    region = KINDS["region"]

    key = create_entry(
        work, region,
        read_input(
            region.inputs,
            {"code": "330199", "name": "东新区", "parent_code": "330100", "valid_from": "2027-01-01"},
        ),
    )  # fmt: skip

    row = work.get(Region, key)
    assert (row.code, row.level, row.valid_from) == ("330199", "county", date(2027, 1, 1))
    assert region_names(work, [key]) == {"330199": "浙江省杭州市东新区"}
    (made,) = list_changes(work, region, key)
    assert made.action == "create"
    change_entry(work, region, key, base=values_of(region, row), entered=form(region, row, name="东新"))
    undo_change(work, region, key, list_changes(work, region, key)[0].id)
    load_regions(work, config_path("regions.csv"))
    work.session.expire_all()
    assert work.get(Region, key).name == "东新区"


@pytest.mark.parametrize(
    ("typed", "field", "words"),
    [({"code": "330106", "parent_code": "330100"}, "code", "已有"),
     ({"code": "3301990", "parent_code": "330100"}, "code", "六位数字"),
     ({"code": "330199"}, "parent_code", "所属市"),
     ({"code": "330199", "parent_code": "330106"}, "parent_code", "所属市"),
     ({"code": "339900", "parent_code": "330100"}, "parent_code", "省级"),
     ({"code": "990000", "parent_code": "330000"}, "parent_code", "留空"),
     ({"code": "330199", "parent_code": "330100", "valid_from": "2027-01-02", "valid_to": "2027-01-01"}, "valid_to",
      "早于")],
)  # fmt: skip
def test_a_region_that_cannot_be_is_refused_at_its_field(work: Work, typed, field, words):
    load_regions(work, config_path("regions.csv"))

    with pytest.raises(HcrmError) as refusal:
        create_entry(work, KINDS["region"], read_input(KINDS["region"].inputs, {"name": "东新区", **typed}))

    assert words in form_errors_of(refusal.value)[field]


def form_errors_of(error: HcrmError) -> dict[str, str]:
    return dict(getattr(error, "errors", None) or {error.field: error.message})


def test_a_file_says_what_it_changed_and_what_it_changed_can_be_taken_back(work: Work):
    row = make_department(work, name="内一")
    report = register_staff(
        work,
        departments=[DepartmentEntry(row.code, "内一科", "03"), DepartmentEntry("NEW", "新科", "")],
        practitioners=[],
    )
    assert (report.new, report.changed, report.same) == (1, 1, 0)
    work.session.expire_all()
    (change,) = list_changes(work, DEPARTMENT, row.id)
    assert change.action == "load"

    undo_change(work, DEPARTMENT, row.id, change.id)
    assert work.get(Department, row.id).name == "内一"
    again = register_staff(work, departments=[DepartmentEntry("NEW", "新科", "")], practitioners=[])
    assert (again.new, again.changed, again.same) == (0, 0, 1)


def test_whoever_belongs_to_a_department_sees_its_wards(work: Work):
    department, other = make_department(work), make_department(work)
    ward = make_department(work)
    ward.parent_id = department.id
    work.session.flush()
    from hcrm.accounts.models import Role

    role = work.scalar(sa.select(Role).where(Role.name == "physician")) or Role(
        id=work.new_id(), name="physician", label="医师"
    )
    account = make_account(work, department=department, roles=[role])

    assert actor_for(work, account).department_ids == {department.id, ward.id}
    assert other.id not in actor_for(work, account).department_ids
