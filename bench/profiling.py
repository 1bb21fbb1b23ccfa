"""Section `profile`: where the time goes, of the listener while it stores and of the worker while it applies."""

import subprocess
import sys
from pathlib import Path

from bench import ours
from bench.report import Section
from bench.setting import Setting
from bench.variants import ROOT

COUNT = 3000


def measure_profile(setting: Setting, frames: Path) -> Section:
    """Fill an inbox through a listener under cProfile, stop it, and let a worker under cProfile drain it."""
    section = Section("profile")
    with setting.room("profile") as folder, ours.empty_place(setting, folder) as place:
        with ours.profiled_listener(place) as server:
            sent = setting.client.send(
                port=server.port, frames=frames, connections=32, count=COUNT, seconds=60
            )
            server.stop()
            listening = server.log.read_text(errors="replace")
        command = [sys.executable, "-m", "bench.profiled_worker", place.url]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            raise RuntimeError("\n".join(done.stderr.strip().splitlines()[-3:]))
    section.lines = [
        f"What the listener does with {sent.acked} messages at 32 connections",
        listening[listening.find("the listener's process") :].rstrip(),
        "",
        f"What the worker does with {COUNT} new discharges (cProfile slows it down)",
        done.stdout.rstrip(),
    ]
    section.data = {"listener": listening, "worker": done.stdout}
    return section
