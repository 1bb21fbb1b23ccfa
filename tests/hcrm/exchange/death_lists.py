"""Death lists for tests: their columns, whom they name, a folder they come in, a turn of taking them in."""

import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from hcrm.archive.death_list.models import (
    DeathListEntry,
    DeathListRun,
)
from hcrm.archive.death_list.state import (
    death_list_policy,
)
from hcrm.archive.imports.death_list import death_importer
from hcrm.archive.models import DeceasedState, IdentifierKind, Patient, PatientIdentifier
from hcrm.archive.reach.consent import Barrier, may_contact
from hcrm.archive.reach_models import ContactMeans, ContactPurpose
from hcrm.core.actor import system_actor
from hcrm.core.clock import day_bounds, local_date
from hcrm.core.work import Work
from hcrm.exchange.death_list import apply_lists
from hcrm.exchange.models import ImportRun
from hcrm.exchange.queries import marked_lines
from tests.hcrm.exchange.test_patients_import import id_number, known_patient
from tests.support.importing import Intake

HEAD = ("姓名", "身份证号", "病案号", "出生日期", "死亡日期")
DAY = "2026-11-20"
ZHANG = ("张三", id_number(), "", "", DAY)
WANG = ("王五", id_number(7), "", "", DAY)


def person(work: Work, *, number: str = "1001", name: str = "张三", at: int = 1) -> Patient:
    """Somebody with a record number and an ID number."""
    patient = known_patient(work, number=number, name=name)
    add_id_number(work, patient, at)
    return patient


def add_id_number(work: Work, patient: Patient, at: int) -> None:
    work.add(
        PatientIdentifier(
            id=work.new_id(), patient_id=patient.id, kind=IdentifierKind.CITIZEN, authority="", type="",
            value_sealed=work.keys.seal_text(id_number(at)), value_index=work.keys.blind("id", id_number(at)),
            last4_index="x", source="his", as_of=work.clock.now(), seq=1,
        )
    )  # fmt: skip


@pytest.fixture
def zhang(intake: Intake) -> str:
    return intake.work(lambda work: person(work).id)


def state_of(intake: Intake, patient_id: str) -> DeceasedState:
    return intake.work(lambda work: work.get(Patient, patient_id).deceased)


def entries(intake: Intake) -> dict[str, DeathListEntry]:
    return {one.name: one for one in intake.work(lambda work: work.all(DeathListEntry))}


@pytest.fixture
def configured(monkeypatch) -> Iterator[Callable[..., None]]:
    """Settings of the death list, read anew."""

    def configure(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"HCRM_DEATH_LIST__{name.upper()}", value)
        death_list_policy.cache_clear()

    yield configure
    death_list_policy.cache_clear()


@pytest.fixture
def folder(tmp_path, configured) -> Path:
    path = tmp_path / "deaths"
    path.mkdir()
    configured(folder=str(path), required="true")
    return path


def put(intake: Intake, folder: Path, content: bytes, *, name: str = "a.csv", age: float = 3600) -> None:
    path = folder / name
    path.write_bytes(content)
    stamp = intake.clock.now().timestamp() - age
    os.utime(path, (stamp, stamp))


def tick(intake: Intake, *, by_hand: bool = False) -> list[DeathListRun]:
    return apply_lists(
        intake.database, actor=system_actor("death_list.apply"), clock=intake.clock, importer=death_importer(),
        by_hand=by_hand,
    )  # fmt: skip


def die(*_values: object, **_names: object) -> None:
    raise KeyboardInterrupt


def evening_before(intake: Intake) -> datetime:
    """An hour after six in the evening of the day before."""
    midnight, _ = day_bounds(local_date(intake.clock.now()))
    return midnight - timedelta(hours=5)


def marked_of(work: Work, run_id: str, intake: Intake) -> list[list[str]]:
    return list(marked_lines(work, work.get(ImportRun, run_id), intake.importers["death_list"]))


def gate(intake: Intake, patient_id: str, means: ContactMeans = ContactMeans.SMS) -> Barrier | None:
    ask = {"purpose": ContactPurpose.CARE, "channel": means}
    return intake.work(lambda work: may_contact(work, patient_ids=[patient_id], **ask))[patient_id]
