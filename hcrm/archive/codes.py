"""Codes of diagnoses and operations in comparable form, and which of them are TCM's own."""

from functools import lru_cache

from hcrm.core.code_systems import is_tcm as is_tcm
from hcrm.core.text import half_width

_NOT_IN_A_CODE = str.maketrans("", "", ".．。· \t\u3000*†‡")


@lru_cache(maxsize=65536)
def normal_codes(raw: str) -> tuple[str, ...]:
    """The codes of one field in comparable form: half width, upper case, no dots or blanks, dual codes split.

    Hospitals write one disease as `I10.x00`, `i10`, `Ｉ１０．ｘ００`, or with its manifestation as `A01.001+K77.0*`
    (GB/T 14396, national clinical and insurance versions).
    """
    parts = half_width(raw).upper().split("+")
    return tuple(code for part in parts if (code := part.strip().translate(_NOT_IN_A_CODE)))
