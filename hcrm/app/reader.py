"""The process that reads messages ahead of the worker: keys, sources and mappers, no database."""

import signal
from collections.abc import Sequence
from functools import cache

from hcrm.app.wiring import MAPPERS
from hcrm.archive.records import Mapped
from hcrm.core.crypto import KeyRing
from hcrm.core.logs import set_up_logging
from hcrm.core.runtime import open_keys, open_sources
from hcrm.core.settings import load_settings
from hcrm.core.sources import Sources
from hcrm.inbox.ahead import SealedMessage
from hcrm.inbox.take_up import read_plain


def start() -> None:
    """Once, before the first batch. Ctrl-C is the worker's business: it ends us when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_up_logging()
    _opened()


def read(messages: Sequence[SealedMessage]) -> list[Mapped]:
    """What each says, by the reader of its format. One that cannot be opened fails them all: it is not its fault."""
    keys, sources = _opened()
    opened = [(one.seq, one.format, keys.open(one.raw), one.received_at) for one in messages]
    return [read_plain(MAPPERS, sources, *one) for one in opened]


@cache
def _opened() -> tuple[KeyRing, Sources]:
    settings = load_settings()
    return open_keys(settings), open_sources(settings)
