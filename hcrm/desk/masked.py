"""Values of a patient as pages show them: masked, and with where they come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.reach_models import KnownNumber, NumberState
from hcrm.archive.terms import DeceasedState, Sex
from hcrm.core.work import Work
from hcrm.inbox.words import source_titles

FIELD_LABELS = {
    "name": "姓名",
    "sex": "性别",
    "birth_date": "出生日期",
    "marital_status": "婚姻",
    "deceased": "在世情况",
}
"""The patient's own columns that know where they come from, as people call them."""
MARITAL_WORDS = {
    "S": "未婚", "M": "已婚", "W": "丧偶", "D": "离婚", "10": "未婚", "20": "已婚", "30": "丧偶", "40": "离婚",
    "21": "初婚", "22": "再婚", "23": "复婚", "90": "未说明",
}  # fmt: skip
"""HL7 table 0002 and GB/T 2261.2."""
_SOURCES = {"default": "HIS", "console": "人工登记", "followup": "随访登记", "import": "历史导入"}
_WORDS: Mapping[str, Mapping[str, str]] = {
    "sex": {one.value: one.label for one in Sex},
    "deceased": {one.value: one.label for one in DeceasedState},
    "marital_status": MARITAL_WORDS,
}


def field_words(name: str, value: Any) -> str:
    """A value of one of those columns, or of its history, as people read it."""
    return "未填" if value is None else _WORDS.get(name, {}).get(str(value), str(value))


def source_name(code: str) -> str:
    """A source as a clerk reads it: its title. Whoever speaks without being registered is the HIS."""
    return _SOURCES.get(code) or source_titles().get(code, code)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from: as-of, source, inbox sequence."""

    as_of: datetime
    source: str
    seq: int
    said: str = ""  # whose word it is and who entered it, of what people entered

    @property
    def is_entered(self) -> bool:
        """Whether people entered it here, so that they may change it."""
        return bool(self.said)

    @property
    def words(self) -> str:
        """The source as people read it."""
        return self.said or source_name(self.source)


@dataclass(frozen=True, slots=True)
class MaskedValue:
    """A value that reaches or identifies a person. `kind` and `id` are what `reveal_value` is asked with."""

    kind: str  # contact, identifier, address, related
    id: str
    label: str
    text: str  # masked
    origin: Origin
    is_verified: bool = False
    not_dialled: str = ""  # why, of a number nobody calls from here
    known: KnownNumber | None = None  # what people said of it
    sharing: int = 0  # other patients with the same number
    index: str = ""  # a number's blind index, by which people's words of it are found
    is_barred: bool = False  # it stands on a list of numbers nobody may call

    @property
    def state(self) -> str:
        """Whether it reaches whom it should."""
        return self._state.value

    @property
    def state_label(self) -> str:
        """The same for the page."""
        return self._state.label

    @property
    def _state(self) -> NumberState:
        if self.known is not None:
            return self.known.state
        return NumberState.VERIFIED if self.is_verified else NumberState.UNVERIFIED

    @property
    def relation(self) -> str:
        """The owner's relation to the patient."""
        return self.known.relation if self.known else ""

    @property
    def owner_name(self) -> str:
        """The owner's name."""
        return self.known.owner_name if self.known else ""

    @property
    def owner(self) -> str:
        """Whose number it is, as far as people said."""
        return f"{self.relation} {self.owner_name}".strip()

    @property
    def note(self) -> str:
        """What else was said."""
        return self.known.note if self.known else ""

    @property
    def rank(self) -> int:
        """The order people gave it; 0: none."""
        return self.known.rank if self.known else 0

    @property
    def said_by(self) -> str:
        """Who said so last."""
        return self.known.state_by if self.known else ""

    @property
    def said_at(self) -> datetime | None:
        """When."""
        return self.known.state_at if self.known else None


def live_rows(work: Work, model: Any, patient_id: str, order: Any) -> Sequence[Any]:
    """The patient's rows of a table that were not replaced."""
    return work.scalars(
        sa.select(model)
        .where(model.patient_id == patient_id, model.ended_at.is_(None))
        .order_by(order, model.id)
    )


def origin_of(row: Any) -> Origin:
    """Where a row comes from."""
    informant = getattr(row, "informant", None)
    said = f"{informant.label}，{row.actor_name}" if informant is not None else ""
    return Origin(row.as_of, row.source, row.seq, said)
