"""Reading a sample in a charset its source's file does not name (yet): pure."""

from typing import Final

from adapters.his.outline import Hl7Outline
from hcrm.core.local_habits import OWN
from hcrm.core.sources import Source, Sources

_USUAL: Final = ("utf-8", "gb18030", "big5")
"""What a sender of Chinese may have meant, the strictest first."""


def only(source: Source, charset: str) -> Sources:
    """Everybody read as that source, in that charset, whatever the message says."""
    changed = {"code": "default", "sender": "", "charset": charset, "charset_order": (OWN,)}
    return Sources([source.model_copy(update=changed)])


def fitting_charset(raw: bytes, source: Source) -> str:
    """The first usual charset the whole message can be read in; empty where none fits."""
    return next((each for each in _USUAL if Hl7Outline().read(raw, only(source, each)).codec is not None), "")
