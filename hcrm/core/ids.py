"""Keys: 32 hex characters that sort by the time they were made (RFC 9562 version 7 layout).

Time-ordered keys keep B-tree inserts at the right edge, which matters at a million patients.
"""

import os
import threading
import time

_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """A new key, greater than every key this process made before."""
    global _last
    with _lock:
        value = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | int.from_bytes(os.urandom(9), "big")
        # Within one millisecond the random part decides; never step back.
        _last = value = max(value, _last + 1)
    return f"{value:032x}"
