"""Named points where a test may kill the process; nothing happens in production."""

import os
import signal

_POINT, _, _NTH = os.environ.get("HCRM_FAULT", "").partition(":")
_count = 0


def fault(point: str) -> None:
    """SIGKILL ourselves here when HCRM_FAULT names this point (`point` or `point:nth time`)."""
    global _count
    if point != _POINT:
        return
    _count += 1
    if _count >= int(_NTH or 1):
        os.kill(os.getpid(), signal.SIGKILL)
