"""A real MariaDB for tests of foreign views: started once a session, from Debian's package `mariadb-server`."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support.database import missing

_PATIENCE = 60.0
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"  # where Debian keeps servers, out of a plain user's way


class MariaDb:
    """A server on loopback with a database `his`; `reader` may only read, with the password `Reader-2026`."""

    def __init__(self) -> None:
        found = [shutil.which(name, path=_PATH) for name in ("mariadb-install-db", "mariadbd")]
        if None in found:
            missing("MariaDB (Debian: mariadb-server)")
        self._folder = Path(tempfile.mkdtemp(prefix="hcrm-mariadb-"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        user = self._own_user()
        subprocess.run(
            [str(found[0]), "--no-defaults", f"--datadir={self._folder}/data", *user, "--skip-test-db",
             "--auth-root-authentication-method=normal"],
            check=True, capture_output=True,
        )  # fmt: skip
        self._process = subprocess.Popen(
            [str(found[1]), "--no-defaults", f"--datadir={self._folder}/data", *user, "--bind-address=127.0.0.1",
             f"--port={self.port}", f"--socket={self._folder}/s", f"--pid-file={self._folder}/pid",
             "--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve", "--character-set-server=utf8mb4"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._wait()
        self.run(
            "CREATE DATABASE his CHARACTER SET utf8mb4",
            "CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'Reader-2026'",
            "GRANT SELECT ON his.* TO reader@'127.0.0.1'",
            database="mysql",
        )

    def run(self, *statements: str, database: str = "his") -> None:
        """As the hospital's own administrator."""
        import pymysql

        connection = pymysql.connect(
            host="127.0.0.1", port=self.port, user="root", database=database, autocommit=True
        )
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()

    @property
    def url(self) -> str:
        """As the source's file names it."""
        return f"mysql://reader@127.0.0.1:{self.port}/his"

    def stop(self) -> None:
        """End the server and forget its data."""
        self._process.terminate()
        self._process.wait(30)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _own_user(self) -> list[str]:
        """Run by root, the server wants another user, who must own the folder."""
        if os.geteuid() != 0:
            return []
        shutil.chown(self._folder, "mysql", "mysql")
        return ["--user=mysql"]

    def _wait(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    return
            except OSError:
                time.sleep(0.1)
        missing("MariaDB: it does not start")
