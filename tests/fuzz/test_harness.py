"""A bounded run of the coverage-guided fuzzer over framer and reader (A6)."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.database import missing
from tests.support.mutation import seeds

SECONDS = 60


@pytest.mark.proof("fuzz")
def test_a_minute_of_guided_fuzzing_finds_nothing_that_breaks_framer_or_reader(tmp_path: Path):
    if importlib.util.find_spec("atheris") is None:
        missing("atheris (locked for Linux on x86_64 with Python 3.11 and 3.12)")
    for number, raw in enumerate(seeds()):
        (tmp_path / f"{number}.hl7").write_bytes(b"\x0b" + raw[:4_000] + b"\x1c\r")

    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.harness", str(SECONDS), str(tmp_path), f"-artifact_prefix={tmp_path}/"],
        capture_output=True, text=True, timeout=SECONDS * 4, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
