"""What a field takes: typed text made the value that is kept, or refused in words."""

import re
from collections.abc import Collection, Sequence
from datetime import date
from decimal import Decimal

from hcrm.archive.fields.definition import CHOICES, YES_NO, FieldType, PatientField
from hcrm.core import limits
from hcrm.core.errors import HcrmError

_NUMBER = re.compile(r"[-+]?\d{1,12}(?:\.\d{1,6})?", re.ASCII)
_WIDE = str.maketrans("０１２３４５６７８９．－＋", "0123456789.-+")


def clean_values(field: PatientField, values: Sequence[str], standing: Collection[str] = ()) -> list[str]:
    """The values to keep, each once; empty ones are left out. HcrmError at the input `value` where one does not fit.

    `standing`: what the patient has already, which stays possible when its option is no longer offered.
    """
    given = [value for value in dict.fromkeys(value.strip() for value in values) if value]
    cleaned = [value if value in standing else _clean(field, value) for value in given]
    wanted = list(dict.fromkeys(cleaned))
    if len(wanted) > (limits.FIELD_VALUES if field.has_several else 1):
        most = limits.FIELD_VALUES if field.has_several else 1
        raise _refusal(f"“{field.title}”最多填 {most} 项")
    alone = [option.title for option in field.options if option.excludes_others and option.code in wanted]
    if alone and len(wanted) > 1:
        raise _refusal(f"选了“{alone[0]}”就不能再选别的")
    return wanted


def _clean(field: PatientField, value: str) -> str:
    match field.type:
        case FieldType.NUMBER:
            return _number(value)
        case FieldType.DATE:
            return _date(value)
        case FieldType.YES_NO:
            if value not in YES_NO:
                raise _refusal("请选“是”或“否”")
            return value
        case _ if field.type in CHOICES:
            if value not in {option.code for option in field.offered}:
                raise _refusal("请从列出的选项中选择")
            return value
    text = " ".join(value.split())
    if len(text) > limits.FIELD_TEXT:
        raise _refusal(f"最多 {limits.FIELD_TEXT} 个字")
    return text


def _number(value: str) -> str:
    digits = value.translate(_WIDE).replace(",", "").replace(" ", "")
    if not _NUMBER.fullmatch(digits):
        raise _refusal("请填数字，例如 36.5")
    number = Decimal(digits)
    text = format(number.normalize(), "f")
    return "0" if number == 0 else text


def _date(value: str) -> str:
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise _refusal("请填日期，例如 2026-11-22") from None


def _refusal(sentence: str) -> HcrmError:
    return HcrmError("field.value", sentence, field="value")
