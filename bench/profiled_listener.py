"""The listener's own process under cProfile until SIGTERM, then where its time went: `… profiled_listener HOST:PORT`.

Only the loop's thread is profiled: framing, header, ACK and the socket. The commits run in a thread of their own.
"""

import cProfile
import io
import pstats
import sys
import time

from hcrm.app.role import run_role

_WAY = (
    "data_received|feed|receive|read_header|make_ack|sha256|split_batch|check_header|submit|_answer|write|select|"
    "_run_once|send"
)


def main(address: str) -> None:
    """Serve, then print."""
    profile = cProfile.Profile()
    profile.enable()
    run_role("listener", address)
    profile.disable()
    text = io.StringIO()
    stats = pstats.Stats(profile, stream=text).strip_dirs()
    stats.sort_stats("cumulative").print_stats(rf"\b({_WAY})\b", 18)
    print(f"the listener's process used {time.process_time():.1f} s of CPU, its start included; its loop:")
    print("\n".join(text.getvalue().splitlines()[8:]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
