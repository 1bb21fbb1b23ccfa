"""Whom the rows of a file speak of: the record number, and only where the name agrees. For every importer of people."""

from collections import defaultdict
from collections.abc import Sequence, Set

import sqlalchemy as sa

from hcrm.archive.batch import Row
from hcrm.archive.matching import PatientIndex
from hcrm.archive.models import IdentifierKind, Patient, PatientIdentifier
from hcrm.archive.queries import OWN_AUTHORITY
from hcrm.archive.records import IdentifierRecord
from hcrm.core.importing import Column, Finding, Given, Option, Problem, Verdict
from hcrm.core.text import clean_name, zero_filled
from hcrm.core.work import Work

_NUMBERS_LOOKED_AT = 1_000
RECORD_NO = Column(
    "record_no", "病案号", "医院给患者的号码，与姓名一起认人；请设为文本格式，保留前面的 0",
    ("病历号", "住院号", "患者编号", "病人ID", "就诊卡号", "门诊号", "MRN"), required=True, most=64,
)  # fmt: skip
NAME = Column(
    "name", "姓名", "须与档案中的姓名一致", ("患者姓名", "病人姓名", "名字"), required=True, most=100
)


def number_options(work: Work) -> Sequence[Option]:
    """Whose record numbers a file's are: the kinds that stand in the archive, the commonest of late first."""
    rows = work.execute(
        sa.select(PatientIdentifier.authority, PatientIdentifier.type)
        .where(PatientIdentifier.kind == IdentifierKind.RECORD)
        .order_by(PatientIdentifier.id.desc())
        .limit(_NUMBERS_LOOKED_AT)
    ).all()
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        counts[row.authority, row.type] += 1
    kinds = sorted(counts, key=lambda kind: -counts[kind]) or [("", "MR")]
    values = tuple((f"{authority}|{kind}", _number_title(authority, kind)) for authority, kind in kinds)
    return [
        Option(
            "number_kind",
            "病案号是哪一种号码",
            "档案里已有的几种，最常用的在前；新建的档案按它记号码",
            values,
        )
    ]


_TITLES = {
    "MR": "病案号", "MRN": "病案号", "PI": "患者编号", "PT": "外院的患者编号", "PN": "患者编号", "AN": "账号",
    "VN": "就诊号", "HC": "健康卡号", "": "患者编号",
}  # fmt: skip
"""Kinds of number in HL7 table 0203, as a clerk calls them."""


def _number_title(authority: str, kind: str) -> str:
    """A kind of number, and whose it is."""
    if authority == OWN_AUTHORITY:
        return "本系统建档时给的号码（H 开头）"
    title = _TITLES.get(kind, "号码")
    whose = "、".join(word for word in (authority, kind if kind not in _TITLES else "") if word)
    return f"{title}（{whose}）" if whose else title


class PeopleFound:
    """Whom the rows of a batch speak of, by record number and name. For every importer that only names people."""

    def __init__(self, work: Work, givens: Sequence[Given], authority: str = "", kind: str = "") -> None:
        self.index = PatientIndex(work)
        self._authority, self._kind = authority, kind
        self.index.gather(
            [
                IdentifierRecord(IdentifierKind.RECORD, authority, kind, given.text(RECORD_NO.code))
                for given in givens
            ]
        )
        self._by_value: dict[str, list[Row]] = defaultdict(list)
        for row in self.index.identifiers.by_id.values():
            if row["kind"] == IdentifierKind.RECORD and row["ended_at"] is None:
                self._by_value[row["value"]].append(row)
        unknown = {number for given in givens if (number := given.text(RECORD_NO.code)) not in self._by_value}
        self._without_zeros = self._names_without_zeros(work, unknown)

    @staticmethod
    def _names_without_zeros(work: Work, numbers: Set[str]) -> dict[tuple[str, str], str]:
        """Record numbers that differ by the zeros before them only, by their digits and whose they are."""
        written = sorted({each for number in numbers if number for each in zero_filled(number)})
        rows = work.execute(
            sa.select(PatientIdentifier.value, Patient.name)
            .join(Patient, Patient.id == PatientIdentifier.patient_id)
            .where(
                work.among(PatientIdentifier.value, written), PatientIdentifier.kind == IdentifierKind.RECORD,
                PatientIdentifier.ended_at.is_(None), ~Patient.is_nullified,
            )
        )  # fmt: skip
        return {(row.value.lstrip("0"), row.name): row.value for row in rows}

    def find(self, given: Given) -> tuple[Row | None, Finding | None]:
        """The patient, or why the row names nobody; neither where nobody bears the number."""
        rows = self._by_value.get(given.text(RECORD_NO.code), [])
        owners = {row["patient_id"] for row in rows}
        name = clean_name(given.text(NAME.code))
        if not owners:
            near = self._without_zeros.get((given.text(RECORD_NO.code).lstrip("0"), name))
            sentence = f"没有这个病案号，但同名的人有 {near}：前面的 0 可能被表格去掉了，请补上"
            return None, ambiguous(RECORD_NO.code, sentence) if near else None
        people = [self.index.patients.by_id[owner] for owner in sorted(owners)]
        named = [one for one in people if one["name"] in ("", name)]
        if len(named) > 1:
            own = {
                row["patient_id"]
                for row in rows
                if (row["authority"], row["type"]) == (self._authority, self._kind)
            }
            named = [one for one in named if one["id"] in own] or named
        if not named:
            return None, ambiguous(NAME.code, "档案中这个病案号属于另一姓名的人，请核对")
        if len(named) > 1:
            return None, ambiguous(RECORD_NO.code, "档案中有几个人用这个病案号，不知是哪一个")
        if named[0]["is_nullified"]:
            return None, Finding(Verdict.WRONG, problems=(Problem(RECORD_NO.code, "这份档案已作废"),))
        return named[0], None


def ambiguous(column: str, sentence: str) -> Finding:
    """A row that cannot be given to one person."""
    return Finding(Verdict.AMBIGUOUS, problems=(Problem(column, sentence),))
