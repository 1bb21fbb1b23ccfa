"""Programs of ours in processes that may be killed: a listener, a worker.

Each is forked from a program that has everything imported, because importing takes longer than serving.
"""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

from hcrm.core import faults


def serve_each_line(
    serve: Callable[[str, str], None], warm: Callable[[str, str], None] | None = None
) -> None:
    """For each line of standard input (database, keys, fault) a child that serves; then how it ended.

    `warm` does once, before the first child, what every child would do anew.
    """
    for line in sys.stdin:
        url, key_file, fault = line.rstrip("\n").split("\t")
        if warm is not None:
            warm(url, key_file)
            warm = None
        child = os.fork()
        if not child:
            os.environ["HCRM_FAULT"] = fault
            importlib.reload(faults)
            serve(url, key_file)
            os._exit(0)
        print(*os.waitpid(child, 0), flush=True)  # noqa: T201  how it ended


class Forked:
    """One child after the other of `python -m <module>`, which calls `serve_each_line`."""

    def __init__(self, module: str) -> None:
        self._program = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.process = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, url: str, key_file: Path, fault: str = "") -> tuple[int, int]:
        """Process id and port. One still there (its test failed, and hypothesis tries again) is ended first."""
        assert self._program.stdin is not None
        if self.process:
            self._end()
        self._program.stdin.write(f"{url}\t{key_file}\t{fault}\n")
        self._program.stdin.flush()
        self.process, port = self._line()
        return self.process, port

    def ended(self) -> int:
        """The exit status of the one started last, once it is gone."""
        status = self._line()[1]
        self.process = 0
        return os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        """At once, in the middle of whatever it does."""
        assert self._end() == -signal.SIGKILL

    def close(self) -> None:
        if self.process:
            self._end()
        with self._program as program:
            program.terminate()

    def _end(self) -> int:
        with contextlib.suppress(ProcessLookupError):  # it may just have killed itself
            os.kill(self.process, signal.SIGKILL)
        return self.ended()

    def _line(self) -> tuple[int, int]:
        assert self._program.stdout is not None
        line = self._program.stdout.readline()
        numbers = line.split()
        assert len(numbers) == 2, line
        return int(numbers[0]), int(numbers[1])
