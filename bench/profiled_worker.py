"""Drain an inbox in-process under cProfile and print where the time went: `python -m bench.profiled_worker URL`."""

import cProfile
import io
import pstats
import sys
import time

from hcrm.app import wiring
from hcrm.core.actor import system_actor
from hcrm.core.clock import SystemClock
from hcrm.core.delivery import deliver_events
from hcrm.core.runtime import open_database, open_sources
from hcrm.core.settings import load_settings
from hcrm.inbox.service import process_messages

_TOP = 15


def main(url: str) -> None:
    """What the worker's process does, without waiting."""
    settings = load_settings(db={"url": url})
    database, sources, clock = open_database(settings), open_sources(settings), SystemClock()
    intake, handlers = wiring.intake(sources, clock), wiring.handlers(settings, sources)
    actor = system_actor("bench")
    profile = cProfile.Profile()
    began = time.perf_counter()
    profile.enable()
    while process_messages(database, intake) + deliver_events(database, handlers, clock, actor):
        pass
    profile.disable()
    seconds = time.perf_counter() - began
    text = io.StringIO()
    stats = pstats.Stats(profile, stream=text)
    stats.strip_dirs().sort_stats("cumulative").print_stats(
        "process_messages|_apply|absorb|map_message|deliver|classify|issue|write|executemany|commit"
    )
    print(f"{seconds:.1f} s under the profiler; functions of the way, by cumulative time:")
    print("\n".join(text.getvalue().splitlines()[7 : 7 + _TOP + 15]))
    text.truncate(0)
    stats.sort_stats("tottime").print_stats(_TOP)
    print("by own time:")
    print("\n".join(text.getvalue().splitlines()[-_TOP - 4 :]))


if __name__ == "__main__":
    main(sys.argv[1])
