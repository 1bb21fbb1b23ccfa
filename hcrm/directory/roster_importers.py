"""Duty rosters and doctors' schedules as files: each row named by department and staff as the directory knows them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from hcrm.core.importing import (
    CellKind,
    Change,
    Column,
    Finding,
    Given,
    Importer,
    Problem,
    Setting,
    Verdict,
    Writes,
)
from hcrm.core.text import clean_name
from hcrm.core.work import Row, Work
from hcrm.directory.entries import EntryKind, change_row, plain
from hcrm.directory.models import Campus, Department, DirectoryChange, Practitioner
from hcrm.directory.roster_kinds import DUTY, MOST_PATIENTS, SCHEDULE, SHIFT_LENGTH, checked_phone, lock_staff
from hcrm.directory.roster_models import ClinicType, Session

_USUAL = {"白班": ("08:00", "17:30"), "夜班": ("17:30", "08:00"), "全天": ("08:00", "08:00")}
"""Times of shifts that a file only names."""
_YES = {
    "是": True,
    "否": False,
    "停": True,
    "停诊": True,
    "取消": True,
    "1": True,
    "0": False,
    "正常": False,
    "出诊": False,
}
_SESSIONS = {
    "上午": Session.MORNING, "下午": Session.AFTERNOON, "晚上": Session.EVENING, "早": Session.MORNING,
    "晚间": Session.EVENING, "夜间": Session.EVENING, "am": Session.MORNING, "pm": Session.AFTERNOON,
}  # fmt: skip
_TYPES = {
    "普通": ClinicType.GENERAL, "专家": ClinicType.EXPERT, "专病": ClinicType.DISEASE, "特需": ClinicType.SPECIAL,
    "其他": ClinicType.OTHER, "普通门诊": ClinicType.GENERAL, "专家门诊": ClinicType.EXPERT, "名医": ClinicType.EXPERT,
    "专病门诊": ClinicType.DISEASE, "特需门诊": ClinicType.SPECIAL, "国际": ClinicType.SPECIAL,
}  # fmt: skip
_DAY = Column(
    "day",
    "日期",
    "2026-11-23、2026/11/23、20261123 都可以",
    ("值班日期", "出诊日期"),
    kind=CellKind.DAY,
    required=True,
)
_CAMPUS = Column("campus", "院区", "名称或编码；不分院区的可以空着", ("院区名称",), most=64)
_CODE = Column("code", "工号", "人员的工号；有重名时必填", ("人员编码", "医师工号", "职工号"), most=64)
_NAME = Column(
    "name", "姓名", "没有工号时按姓名找", ("值班人", "值班人员", "医师", "医生", "医师姓名"), most=64
)
_DUTY_COLUMNS = (
    _DAY,
    Column("department", "科室", "名称或编码；院区总值班可以空着", ("科室名称", "值班科室"), most=64),
    _CAMPUS,
    Column("shift", "班次", "例如 白班、夜班", ("班别", "值班类型"), required=True, most=SHIFT_LENGTH),
    Column("starts", "开始", "08:00；白班、夜班、全天可以空着", ("开始时间", "上班时间"), kind=CellKind.CLOCK),
    Column("ends", "结束", "17:30；早于或等于开始的算到第二天", ("结束时间", "下班时间"), kind=CellKind.CLOCK),
    _CODE,
    _NAME,
    Column("phone", "值班电话", "手机、座机或短号", ("电话", "联系电话", "手机"), most=40),
    Column("off", "取消", "是：这一班取消；空着：有效", kind=CellKind.WORD, words=_YES),
)  # fmt: skip
_SCHEDULE_COLUMNS = (
    _DAY,
    Column("department", "科室", "名称或编码", ("科室名称", "出诊科室"), required=True, most=64),
    _CAMPUS,
    Column(
        "session", "时段", "上午、下午、晚上", ("午别", "班次", "时间段"), kind=CellKind.WORD, words=_SESSIONS,
        required=True,
    ),
    _CODE,
    _NAME,
    Column(
        "clinic_type", "号别", "普通、专家、专病、特需、其他；空着为普通", ("门诊类型", "类型"), kind=CellKind.WORD,
        words=_TYPES,
    ),
    Column("capacity", "号数", "整数", ("限号", "号源数", "放号数"), required=True, most=4),
    Column("off", "停诊", "是：停诊；空着：出诊", ("是否停诊", "状态"), kind=CellKind.WORD, words=_YES),
    Column("note", "说明", "例如停诊原因", ("备注",), most=200),
)  # fmt: skip


class _Names:
    """The directory by code and by name, as the rows of a batch call it."""

    def __init__(self, work: Work) -> None:
        self.departments = self._by_word(work, Department, Department.campus_id)
        self.campuses = self._by_word(work, Campus, Campus.id)
        self.staff_codes, self.staff_names = self._staff(work)

    @staticmethod
    def _by_word(work: Work, model: Any, more: Any) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = defaultdict(list)
        rows = work.execute(
            sa.select(model.id, model.code, model.name, more.label("more")).where(model.is_active)
        ).all()
        for row in rows:
            for word in dict.fromkeys((row.code, clean_name(row.name))):
                found[word].append(row)
        return found

    @staticmethod
    def _staff(work: Work) -> tuple[dict[str, Any], dict[str, list[Any]]]:
        rows = work.execute(
            sa.select(
                Practitioner.id, Practitioner.code, Practitioner.name, Practitioner.department_id
            ).where(Practitioner.is_active, Practitioner.merged_into_id.is_(None))
        ).all()
        by_name: dict[str, list[Any]] = defaultdict(list)
        for row in rows:
            by_name[clean_name(row.name)].append(row)
        return {row.code: row for row in rows}, by_name

    def place(
        self, found: Mapping[str, list[Any]], given: Given, column: str, word: str
    ) -> tuple[Any, list[Problem]]:
        """The entry a cell names, or what is wrong."""
        text = clean_name(given.text(column))
        if not text:
            return None, []
        rows = {row.id: row for row in found.get(text, ())}
        if len(rows) == 1:
            return next(iter(rows.values())), []
        sentence = f"目录里没有这个{word}" if not rows else f"有几个{word}叫这个名字，请填编码"
        return None, [Problem(column, sentence)]

    def person(self, given: Given, department_id: str | None) -> tuple[Any, list[Problem]]:
        """The member of the staff a row names: by number, else by name, of that department where several share it."""
        code, name = given.text("code"), clean_name(given.text("name"))
        if code:
            row = self.staff_codes.get(code)
            if row is None:
                return None, [Problem("code", "目录里没有这个工号，或已停用")]
            if name and clean_name(row.name) != name:
                return None, [Problem("name", "与这个工号的姓名不同，请核对")]
            return row, []
        if not name:
            return None, [Problem("code", "请填写工号或姓名")]
        rows = self.staff_names.get(name, [])
        own = [row for row in rows if row.department_id == department_id]
        rows = own if len(rows) > 1 and len(own) == 1 else rows
        if len(rows) == 1:
            return rows[0], []
        return None, [Problem("name", "目录里没有这个人，或已停用" if not rows else "有几位同名，请填工号")]


class _RosterBatch:
    """Rows of a roster or a schedule."""

    def __init__(
        self, work: Work, givens: Sequence[Given], _setting: Setting, *, kind: EntryKind,
        read: Callable[[Given], tuple[dict[str, Any], list[Problem]]], same: Sequence[str],
    ) -> None:  # fmt: skip
        self.work, self.kind, self.same = work, kind, same
        self.names = _Names(work)
        self.values: list[dict[str, Any]] = []
        self.whose: dict[int, str] = {}  # where and who, by row
        judged = [self._read(given, read) for given in givens]
        lock_staff(work, {values["practitioner_id"] for values, problems in judged if not problems})
        self.standing = self._standing({values["day"] for values, _ in judged if "day" in values})
        self.seen: dict[tuple[Any, ...], int] = {}
        self.findings: Sequence[Finding] = [
            self._judge(given.number, values, problems)
            for given, (values, problems) in zip(givens, judged, strict=True)
        ]

    def _read(
        self, given: Given, read: Callable[[Given], tuple[dict[str, Any], list[Problem]]]
    ) -> tuple[dict[str, Any], list[Problem]]:
        department, problems = self.names.place(self.names.departments, given, "department", "科室")
        campus, more = self.names.place(self.names.campuses, given, "campus", "院区")
        person, wrong = self.names.person(given, department.id if department else None)
        values, faults = read(given)
        problems = [*problems, *more, *wrong, *faults]
        if department is None and campus is None and not problems:
            problems.append(Problem("department", "请填写科室；院区总值班请填写院区"))
        if department and campus and department.more and department.more != campus.id:
            problems.append(Problem("campus", "这个科室不在这个院区"))
        values |= {
            "day": given.values["day"], "department_id": department.id if department else None,
            "campus_id": campus.id if campus else None, "practitioner_id": person.id if person else None,
        }  # fmt: skip
        self.values.append(values)
        self.whose[given.number] = "，".join(one.name for one in (department or campus, person) if one)
        return values, problems

    def _standing(self, days: Iterable[Any]) -> dict[tuple[Any, ...], Row]:
        table = self.kind.model.__table__
        rows = self.work.execute(sa.select(table).where(table.c.day.in_(sorted(days)))).mappings()
        return {tuple(row[name] for name in self.same): dict(row) for row in rows}

    def _key(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(values[name] for name in self.same)

    def _judge(self, number: int, values: Mapping[str, Any], problems: Sequence[Problem]) -> Finding:
        if problems:
            return Finding(Verdict.WRONG, problems=tuple(problems))
        first = self.seen.setdefault(self._key(values), number)
        if first != number:
            words = f"与第 {first} 行是同一人的同一班次，不再导入"
            return Finding(Verdict.REPEATED, problems=(Problem("", words),))
        row = self.standing.get(self._key(values))
        marks = tuple(str(plain(values[name])) for name in self.kind.fields)
        if row is None:
            change = Change(self.kind.label, "", f"{self.whose[number]}，{self._shown(values)}")
            return Finding(Verdict.NEW, None, (change,), marks=marks)
        changes = tuple(
            Change(label, self._word(row[name]), self._word(values[name]))
            for name, label in self.kind.fields.items()
            if row[name] != values[name]
        )
        if not changes:
            return Finding(Verdict.SAME, None, marks=marks)
        return Finding(
            Verdict.CHANGED, None, (Change(self.kind.label, "", self.whose[number]), *changes), marks=marks
        )

    def _shown(self, values: Mapping[str, Any]) -> str:
        names = ("day", "shift", "starts", "ends", "session", "clinic_type", "capacity")
        return " ".join(self._word(values[name]) for name in names if name in values)

    def _word(self, value: Any) -> str:
        if isinstance(value, bool):
            return "是" if value else "否"
        return "" if value is None else str(getattr(value, "label", value))

    def write(self, at: int, writes: Writes) -> str | None:
        """One entry, and its line in the history; nobody is a patient."""
        values = self.values[at]
        row = self.standing.get(self._key(values))
        if row is None:
            key = writes.insert(self.kind.model, **values, created_at=self.work.clock.now())
            before = None
        else:
            key, before = row["id"], {name: plain(row[name]) for name in self.kind.kept}
            writes.change(self.kind.model, row, **values)
        after = {name: plain(values[name]) for name in self.kind.kept}
        change = change_row(self.work, self.kind.code, key, "load", before, after)
        writes.insert(DirectoryChange, **{name: value for name, value in change.items() if name != "id"})
        return None


def _duty_values(given: Given) -> tuple[dict[str, Any], list[Problem]]:
    problems: list[Problem] = []
    shift = given.text("shift")
    usual = _USUAL.get(shift, ("", ""))
    starts, ends = given.text("starts") or usual[0], given.text("ends") or usual[1]
    problems += [
        Problem(column, "此项必填；只有白班、夜班、全天可以不填时间")
        for column, value in (("starts", starts), ("ends", ends))
        if not value
    ]
    phone = given.text("phone") or None
    try:
        checked_phone(phone)
    except ValueError as error:
        problems.append(Problem("phone", str(error)))
    values = {
        "shift": shift,
        "starts": starts,
        "ends": ends,
        "phone": phone,
        "is_active": not given.get("off"),
    }
    return values, problems


def _schedule_values(given: Given) -> tuple[dict[str, Any], list[Problem]]:
    text = given.text("capacity")
    is_number = text.isascii() and text.isdigit() and int(text) <= MOST_PATIENTS
    problems = [] if is_number else [Problem("capacity", f"应为 0 到 {MOST_PATIENTS} 的整数")]
    values = {
        "session": given.get("session"), "clinic_type": given.get("clinic_type") or ClinicType.GENERAL,
        "capacity": int(text) if is_number else 0, "is_stopped": bool(given.get("off")),
        "note": given.text("note") or None,
    }  # fmt: skip
    return values, problems


def _key(given: Given, *, columns: Sequence[str]) -> str:
    """The same person at the same place and time."""
    words = [str(plain(given.get(code)) or "") for code in columns]
    return "|".join((*words, given.text("code") or clean_name(given.text("name"))))


_DUTY_KEY = ("day", "shift", "department_id", "campus_id", "practitioner_id")
_SCHEDULE_KEY = ("day", "session", "department_id", "campus_id", "practitioner_id")


def duty_importer() -> Importer:
    """A duty roster."""
    return Importer(
        kind="duty_roster", title="值班表",
        about="科室、人员须在目录中；同一天、同一班次的同一人更新，其余新增，文件里没有的不动。",
        columns=_DUTY_COLUMNS, judge=partial(_RosterBatch, kind=DUTY, read=_duty_values, same=_DUTY_KEY),
        key=partial(_key, columns=("day", "department", "campus", "shift")),
    )  # fmt: skip


def schedule_importer() -> Importer:
    """Doctors' schedules."""
    return Importer(
        kind="doctor_schedule", title="医师出诊表",
        about="科室、医师须在目录中；同一医师同一半天更新（包括停诊），其余新增，文件里没有的不动。",
        columns=_SCHEDULE_COLUMNS,
        judge=partial(_RosterBatch, kind=SCHEDULE, read=_schedule_values, same=_SCHEDULE_KEY),
        key=partial(_key, columns=("day", "department", "campus", "session")),
    )  # fmt: skip
