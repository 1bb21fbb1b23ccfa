"""Imports whose process is killed, which two people take back, or whose patients live on before the revert."""

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import count
from pathlib import Path

import pytest

from hcrm.archive.merge.service import merge_patients
from hcrm.archive.models import Patient
from hcrm.archive.visit_models import Encounter
from hcrm.core import limits
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.errors import ConflictError
from hcrm.core.installation import ensure_key_mark
from hcrm.core.work import Work
from hcrm.exchange import imports as acts
from hcrm.exchange.models import ImportState, RowState
from hcrm.exchange.progress import advance_imports
from hcrm.exchange.revert import CHANGED_SINCE, MERGED
from tests.support.adt import adt
from tests.support.hospital import Hospital
from tests.support.importing import Intake, csv_file

HEAD = ("病案号", "姓名", "手机")
LINES = [(f"N{at}", "甲", f"138001380{at:02d}") for at in range(10)]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IMPORT_BATCH", 3)


def work_until_killed(intake: Intake, url: str, *, nth: int) -> None:
    """In a process of its own, killed in its nth transaction when all but the commit is done."""
    intake.database.dispose()  # no connection is shared with the child
    child = os.fork()
    if not child:
        try:
            patients, turns = intake.importers["patients"], count(1)
            real = patients.follow

            def follow(work: Work, patient_ids: Sequence[str], since: datetime) -> None:
                assert real is not None
                real(work, patient_ids, since)
                if next(turns) == nth:
                    os.kill(os.getpid(), signal.SIGKILL)

            own = Database(url, intake.database.keys)
            deadly = {**intake.importers, "patients": replace(patients, follow=follow)}
            while advance_imports(own, intake.clock, deadly, owner="killed"):
                pass
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.usefixtures("small_batches")
def test_processes_killed_in_the_middle_of_a_batch_are_gone_on_from_writing_and_taking_back(
    intake: Intake, clock: FixedClock, database_url: str
) -> None:
    before = intake.dump()
    run_id = intake.check("patients", csv_file(HEAD, *LINES)).id
    intake.work(lambda work: acts.confirm_import(work, run_id=run_id))

    work_until_killed(intake, database_url, nth=2)
    assert (intake.run(run_id).progress, intake.work(lambda work: len(work.all(Patient)))) == (3, 3)
    assert not intake.advance()  # its lease still runs
    clock.move(seconds=limits.IMPORT_LEASE_SECONDS + 1)
    while intake.advance():
        pass
    assert intake.run(run_id).counts["written"] == 10
    assert intake.work(lambda work: len(work.all(Patient))) == 10

    intake.work(lambda work: acts.revert_import(work, run_id=run_id))
    work_until_killed(intake, database_url, nth=2)
    assert (intake.run(run_id).progress, intake.work(lambda work: len(work.all(Patient)))) == (3, 7)
    clock.move(seconds=limits.IMPORT_LEASE_SECONDS + 1)
    while intake.advance():
        pass
    run = intake.run(run_id)
    assert (run.state, run.counts["reverted"], run.counts["kept"]) == (ImportState.REVERTED, 10, 0)
    assert intake.dump() == before


def test_a_revert_by_the_command_in_a_process_of_its_own(
    intake: Intake, database_url: str, tmp_path: Path
) -> None:
    intake.work(ensure_key_mark)
    before = intake.dump()
    run_id = intake.take_in("patients", csv_file(HEAD, *LINES)).id
    keys = tmp_path / "command.key"
    data, index = (base64.b64encode(bytes(part)).decode() for part in (range(32), range(32, 64)))
    keys.write_text(json.dumps({"current": "k1", "data": {"k1": data}, "index": index}))
    command = [sys.executable, "-m", "hcrm.cli.main", "import", "revert", run_id, "--db", database_url]

    done = subprocess.run(
        command, env=os.environ | {"HCRM_KEY_FILE": str(keys)}, capture_output=True, text=True, check=False
    )

    assert (done.returncode, "已撤销 10" in done.stdout) == (0, True), done.stderr[-500:]
    assert intake.dump() == before


@pytest.mark.usefixtures("small_batches")
def test_two_people_who_take_one_import_back_at_once_take_it_back_once(intake: Intake) -> None:
    before = intake.dump()
    run_id = intake.take_in("patients", csv_file(HEAD, *LINES)).id
    intake.work(lambda work: acts.revert_import(work, run_id=run_id))
    intake.advance(rest=lambda: True)

    with pytest.raises(ConflictError, match="正在处理"):
        intake.work(lambda work: acts.revert_import(work, run_id=run_id))
    while intake.advance():
        pass

    assert intake.run(run_id).counts["reverted"] == 10
    again = intake.revert(run_id)
    assert (again.counts["reverted"], again.counts["kept"]) == (0, 0)
    assert intake.dump() == before


def test_patients_who_have_visits_or_were_merged_since_are_kept_or_ended_and_told(
    intake: Intake, clock: FixedClock
) -> None:
    with Hospital(intake.database, clock) as hospital:
        hospital.receive(adt("A01", c=1, p=100, name="李^四", v="V9"))  # whose kind of number is known
        run = intake.take_in(
            "patients",
            csv_file(HEAD, ("200", "张三", "13800138000"), ("201", "王五", ""), ("202", "王五", "")),
        )
        hospital.receive(adt("A01", c=2, p=200, v="V1", phone="13912345678"))

    def merge(work: Work) -> None:
        first, second = (row.id for row in work.all(Patient, Patient.name == "王五"))
        merge_patients(work, survivor_id=first, merged_id=second, source="test", seq=1)

    intake.work(merge)
    reverted = intake.revert(run.id)

    assert [reverted.counts[word] for word in ("reverted", "kept", "ended")] == [0, 3, 0]
    rows = intake.rows(run.id)
    told = {number: (row.state, row.reason) for number, row in rows.items()}
    assert told == {
        2: (RowState.KEPT, CHANGED_SINCE), 3: (RowState.KEPT, MERGED), 4: (RowState.KEPT, MERGED)
    }  # fmt: skip
    assert len(intake.work(lambda work: work.all(Encounter, Encounter.patient_id == rows[2].patient_id))) == 1
