"""Section `profile`: where the worker's time goes while it applies messages that wait in the inbox."""

import shutil
import subprocess
import sys
from pathlib import Path

from bench import ours
from bench.report import Section
from bench.setting import Setting
from bench.variants import ROOT

COUNT = 3000


def measure_profile(setting: Setting, frames: Path) -> Section:
    """Fill an inbox through the listener, stop it, and let a worker in one process drain it under cProfile."""
    section = Section("profile")
    with setting.room("profile") as folder:
        shutil.copytree(ours.prepare_template(setting), folder, dirs_exist_ok=True)
        with ours.serve(folder, "listener") as server:
            setting.client.send(port=server.port, frames=frames, connections=32, count=COUNT, seconds=60)
        command = [sys.executable, "-m", "bench.profiled_worker", ours.url(folder)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            raise RuntimeError("\n".join(done.stderr.strip().splitlines()[-3:]))
    section.lines = [
        f"What the worker does with {COUNT} new discharges (cProfile slows it down)",
        done.stdout.rstrip(),
    ]
    section.data = {"text": done.stdout}
    return section
