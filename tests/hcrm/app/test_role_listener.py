"""The listener is small: what it never uses it does not load."""

import subprocess
import sys

UNUSED = ("flask", "alembic", "hcrm.archive", "hcrm.accounts", "hcrm.web", "apscheduler")
PROGRAM = """
import sys
import hcrm.app.role, hcrm.app.role_listener
print(*[name for name in sys.argv[1:] if name in sys.modules])
"""


def test_the_listener_loads_nothing_it_never_uses() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *UNUSED], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == []
