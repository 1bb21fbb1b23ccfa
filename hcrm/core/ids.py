"""Keys: 32 hex characters that sort by the time they were made (RFC 9562 version 7 layout).

Time-ordered keys keep B-tree inserts at the right edge, which matters at a million patients.
"""

import os
import threading
import time

_lock = threading.Lock()
_millisecond = 0
_last = 0


def new_id() -> str:
    """A new key, greater than every key this process made before."""
    global _millisecond, _last
    now = time.time_ns() // 1_000_000
    with _lock:
        if now > _millisecond:
            _millisecond = now
            _last = now << 80 | 0x7 << 76 | int.from_bytes(os.urandom(9), "big") << 3
        else:
            _last += 1  # RFC 9562 section 6.2, method 2; also while the clock stands behind
        return f"{_last:032x}"
