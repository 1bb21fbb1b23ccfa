"""What was typed into the search box, read: as a number, as part of a name, as the beginning of its spelling."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from hcrm.archive.models import ContactPoint, IdentifierKind, PatientIdentifier, RelatedPerson
from hcrm.archive.names.tokens import fold_name, parts_of
from hcrm.archive.visit_models import Encounter
from hcrm.core import limits
from hcrm.core.errors import HcrmError
from hcrm.core.labels import LabelledEnum
from hcrm.core.text import clean_id_number, clean_phone, half_width, without_unseen, zero_filled
from hcrm.core.work import Work

_ID_NUMBER = re.compile(r"\d{17}[\dX]", re.ASCII)
_LAST_OF_ID = re.compile(r"\d{3}[\dX]", re.ASCII)
_LAST_OF_PHONE = re.compile(r"\d{4}", re.ASCII)
_LETTERS = re.compile(r"[a-z0-9]+", re.ASCII)
_TONES = re.compile(
    "[\N{COMBINING MACRON}\N{COMBINING ACUTE ACCENT}\N{COMBINING CARON}\N{COMBINING GRAVE ACCENT}]"
)
_NUMBER_LIKE = re.compile(r"[\x21-\x7e]+")
_SHORTEST_PHONE = 7


class Way(LabelledEnum):
    """By what a patient was found (检索依据)."""

    NAME = "name", "姓名"
    SPELLING = "spelling", "拼音"
    RECORD = "record_no", "病案号"
    VISIT = "visit_no", "就诊号"
    ID_NUMBER = "id", "身份证号"
    LAST_OF_ID = "id4", "身份证号后四位"
    PHONE = "phone", "电话"
    LAST_OF_PHONE = "phone4", "电话后四位"
    RELATIVE = "relative_phone", "亲属电话"
    LAST_OF_RELATIVE = "relative_phone4", "亲属电话后四位"


@dataclass(frozen=True, slots=True)
class Words:
    """The words, cleaned for each way they may be meant."""

    typed: str  # blanks made single, half width
    folded: str  # as names are compared

    @property
    def parts(self) -> list[str]:
        """Tokens that every name holding these words has; empty where they are letters and digits alone."""
        return parts_of(self.folded) if self.folded else []

    @property
    def spelling(self) -> str:
        """The beginning of a spelling, its tones left out; empty where no letter or something else is in them."""
        letters = _TONES.sub(
            "", unicodedata.normalize("NFD", self.folded).replace("u\N{COMBINING DIAERESIS}", "v")
        )
        return letters if _LETTERS.fullmatch(letters) and not letters.isdigit() else ""


def read_words(text: str) -> Words:
    """The words of a search. More than a name or number can have is refused: cutting would look for something else."""
    typed = " ".join(half_width(without_unseen(text.replace("\x00", ""))).split())
    if len(typed) > limits.SEARCH_WORDS:
        raise HcrmError(
            "search.too_long", f"搜索内容最多 {limits.SEARCH_WORDS} 个字，请只输入姓名、号码或拼音", field="q"
        )
    words = Words(typed, fold_name(typed))
    if typed and not words.folded:
        raise HcrmError("search.nothing", "请输入姓名、号码或拼音，单独的间隔号不能搜索", field="q")
    return words


def owners_by_number(work: Work, words: Words) -> dict[Way, sa.Select[Any]]:
    """Whose number the words may be: keys of patients, by the kind of number. Empty for what no number looks like."""
    return dict(_owners(work, words))


def _owners(work: Work, words: Words) -> Iterator[tuple[Way, sa.Select[Any]]]:
    compact = words.typed.replace(" ", "")
    if not _NUMBER_LIKE.fullmatch(compact):
        return
    is_record = PatientIdentifier.kind == IdentifierKind.RECORD
    numbers = zero_filled(compact)
    yield (
        Way.RECORD,
        sa.select(PatientIdentifier.patient_id).where(PatientIdentifier.value.in_(numbers), is_record),
    )
    yield Way.VISIT, sa.select(Encounter.patient_id).where(Encounter.visit_no.in_(numbers))
    blind, id_number = work.keys.blind, clean_id_number(words.typed)
    if _ID_NUMBER.fullmatch(id_number):
        yield Way.ID_NUMBER, _owner(PatientIdentifier, "value_index", blind("id", id_number))
    if _LAST_OF_ID.fullmatch(id_number):
        yield Way.LAST_OF_ID, _owner(PatientIdentifier, "last4_index", blind("id4", id_number))
    if _LAST_OF_PHONE.fullmatch(compact):
        index = blind("phone4", compact)
        yield Way.LAST_OF_PHONE, _owner(ContactPoint, "last4_index", index)
        yield Way.LAST_OF_RELATIVE, _owner(RelatedPerson, "phone_last4_index", index)
    phone = clean_phone(words.typed)
    if len(phone) >= _SHORTEST_PHONE and not re.search(r"[a-z]", words.folded):
        index = blind("phone", phone)
        yield Way.PHONE, _owner(ContactPoint, "value_index", index)
        yield Way.RELATIVE, _owner(RelatedPerson, "phone_index", index)


def _owner(model: Any, column: str, index: str) -> sa.Select[Any]:
    return sa.select(model.patient_id).where(getattr(model, column) == index)
