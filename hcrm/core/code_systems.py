"""Which table a diagnosis code is of, by the name its sender gives it. Pure."""

from functools import lru_cache

from hcrm.core.text import half_width

_TCM_SYSTEMS = ("15657", "TCM", "中医", "ZYZD", "ZYBZ")
_ICD = ("ICD", "I10", "I9", "GBT14396")


@lru_cache(maxsize=256)
def is_tcm(system: str) -> bool:
    """Whether a code comes from a TCM table: its letters look like ICD-10 and mean something else (GB/T 15657)."""
    words = half_width(system).upper()
    return any(mark in words for mark in _TCM_SYSTEMS)


@lru_cache(maxsize=256)
def is_known_system(system: str) -> bool:
    """Whether the name says which table it is: ICD in one of its spellings, or TCM's."""
    plain = half_width(system).upper().replace("-", "").replace(" ", "").replace("/", "")
    return is_tcm(system) or plain.startswith(_ICD)
