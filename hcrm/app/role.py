"""A child process of `hcrm serve`: `python -m hcrm.app.role worker`."""

import sys

from hcrm.app.processes import run_role
from hcrm.core.errors import HcrmError

if __name__ == "__main__":
    try:
        run_role(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
    except HcrmError as error:
        sys.exit(f"hcrm: {error.message}")
