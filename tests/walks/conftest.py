"""A running HCRM for journeys: its own processes, its own sockets, started as the README says."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.his.client import MllpClient
from hcrm.accounts.passwords import hash_password
from hcrm.accounts.service import add_account
from hcrm.app.install import install
from hcrm.core.actor import system_actor
from hcrm.core.crypto import make_key_file
from hcrm.core.runtime import open_database
from hcrm.core.settings import load_settings
from hcrm.core.work import open_work
from hcrm.directory.service import DepartmentEntry, PractitionerEntry, register_staff

PASSWORD = "walk-through-2026"
HCRM = (sys.executable, "-m", "hcrm.cli.main")


@dataclass(frozen=True)
class Running:
    """An installation that runs: where its console and its listener are."""

    url: str
    environment: dict[str, str]
    http: str
    mllp_port: int
    process: "subprocess.Popen[bytes]"

    def send(self, raw: bytes) -> bytes:
        with MllpClient("127.0.0.1", self.mllp_port) as client:
            return client.send(raw)

    def settle(self) -> dict[str, Any]:
        """What `hcrm inbox wait` prints; it must come to rest."""
        done = subprocess.run(
            [*HCRM, "inbox", "wait", "--timeout", "60"], env=self.environment, capture_output=True, check=True
        )
        return dict(json.loads(done.stdout))


@pytest.fixture
def running(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """Installed, staffed (a physician, a service centre), serving all roles."""
    make_key_file(tmp_path / "keys.json")
    monkeypatch.setenv("HCRM_KEY_FILE", str(tmp_path / "keys.json"))
    monkeypatch.setenv("HCRM_DB__URL", database_url)
    settings = load_settings()
    install(settings)
    database = open_database(settings)
    digest = hash_password(PASSWORD)
    with open_work(database, actor=system_actor("test")) as work:
        register_staff(
            work,
            departments=[DepartmentEntry("K01", "心血管内科", "03.04")],
            practitioners=[PractitionerEntry("1001", "沈怀仁", "主任医师", "K01")],
        )
        add_account(
            work, username="1001", password_hash=digest, role_names=["physician"], practitioner_code="1001"
        )
        add_account(work, username="service", password_hash=digest, role_names=["service_centre"])
    database.dispose()
    http_port, mllp_port = free_port(), free_port()
    environment = {**os.environ}
    process = subprocess.Popen(
        [*HCRM, "serve", "--http", f"127.0.0.1:{http_port}", "--mllp", f"127.0.0.1:{mllp_port}"],
        env=environment,
    )
    try:
        wait_for_port(http_port, process)
        wait_for_port(mllp_port, process)
        yield Running(database_url, environment, f"http://127.0.0.1:{http_port}", mllp_port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
    assert code == 0  # every role stopped in order


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: "subprocess.Popen[bytes]", seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on {port}")
