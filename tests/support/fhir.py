"""The FHIR interface under Flask's test client, over an archive that was told what messages tell it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from hcrm.accounts.service import create_token
from hcrm.archive import records as r
from hcrm.archive.arrivals import Arrival
from hcrm.archive.models import DeceasedState, IdentifierKind, Sex
from hcrm.archive.service import absorb_records
from hcrm.archive.terms import ActKind
from hcrm.archive.visit_models import DischargeWay, Encounter, EncounterClass, VisitEvent, VisitEventKind
from hcrm.centre.models import Instruction
from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.work import Work, open_work
from hcrm.directory.models import Practitioner
from hcrm.forms.models import Response, ResponseState
from tests.support.builders import make_instruction, publish_form

BASE = "/fhir/R4B"
AUTHORITY = "院本部 HIS"
RECORD_SYSTEM = "urn:hcrm:id:%E9%99%A2%E6%9C%AC%E9%83%A8%20HIS"
VISIT_SYSTEM = "urn:hcrm:visit:%E9%99%A2%E6%9C%AC%E9%83%A8%20HIS"
CITIZEN_SYSTEM = "urn:oid:2.16.156.10011.1.3"
ID_NUMBER = "110101196603072814"
STROKE = r.DiagnosisRecord("I63.900", "脑梗死", "ICD-10", "F", is_main=True)


def person(mrn: str, **values: Any) -> r.PatientRecord:
    """A patient as a message tells of them; `id_number` adds a citizen ID."""
    identifiers = [r.IdentifierRecord(IdentifierKind.RECORD, AUTHORITY, "MR", mrn)]
    if id_number := values.pop("id_number", None):
        identifiers.append(r.IdentifierRecord(IdentifierKind.CITIZEN, "", "NI", id_number))
    given = {"name": "张建国", "sex": Sex.MALE, "birth_date": date(1966, 3, 7), **values}
    return r.PatientRecord(identifiers=tuple(identifiers), **given)


def visit(number: str, **values: Any) -> r.EncounterRecord:
    """A stay in the department of internal medicine."""
    given = {
        "encounter_class": EncounterClass.INPATIENT, "department": r.DepartmentRecord("0301", "内科"),
        "attending": r.PractitionerRecord("1001", "李大夫"), **values,
    }  # fmt: skip
    return r.EncounterRecord(authority=AUTHORITY, visit_no=number, **given)


@dataclass
class Hospital:
    """Tells the archive what messages tell it, a minute apart, through the absorption itself."""

    database: Database
    clock: FixedClock
    seq: int = 0
    patients: dict[str, str] = field(default_factory=dict)  # record number: id
    visits: dict[str, str] = field(default_factory=dict)  # visit number: id

    def tell(
        self,
        patient: r.PatientRecord | None = None,
        encounter: r.EncounterRecord | None = None,
        kind: VisitEventKind | None = None,
        **values: Any,
    ) -> r.AbsorbOutcome:
        """One message."""
        self.clock.move(minutes=1)
        now = self.clock.now()
        event = r.VisitEventRecord(kind, now) if kind else None
        change = r.Change("test", now, now, patient=patient, encounter=encounter, event=event)
        return self.absorb([replace(change, **values)])[0]

    def absorb(self, changes: Sequence[r.Change]) -> list[r.AbsorbOutcome]:
        """Messages in one batch."""
        arrivals = [Arrival(self.seq + number, change) for number, change in enumerate(changes, start=1)]
        self.seq += len(arrivals)
        with self.work() as work:
            outcomes = absorb_records(work, arrivals=arrivals)
        for change, outcome in zip(changes, outcomes, strict=True):
            assert outcome.state is r.OutcomeState.APPLIED, outcome
            if change.patient and outcome.patient_id:
                self.patients[change.patient.identifiers[0].value] = outcome.patient_id
            if change.encounter and change.encounter.visit_no and outcome.encounter_id:
                self.visits[change.encounter.visit_no] = outcome.encounter_id
        return outcomes

    def admit(self, mrn: str, number: str, **values: Any) -> r.AbsorbOutcome:
        """ADT^A01; `patient` replaces the person of that record number."""
        patient = values.pop("patient", None) or person(mrn)
        return self.tell(patient, visit(number, **values), VisitEventKind.ADMIT)

    def discharge(self, mrn: str, number: str, **values: Any) -> r.AbsorbOutcome:
        """ADT^A03 with a discharge by order."""
        values = {"discharge_way": DischargeWay.BY_ORDER, **values}
        patient = values.pop("patient", None) or person(mrn)
        return self.tell(patient, visit(number, **values), VisitEventKind.DISCHARGE)

    def cancel_discharge(self, mrn: str, number: str) -> r.AbsorbOutcome:
        """ADT^A13."""
        return self.tell(person(mrn), visit(number), VisitEventKind.CANCEL_DISCHARGE)

    def merge(self, survivor: str, retired: str) -> r.AbsorbOutcome:
        """ADT^A40."""
        into, gone = person(survivor).identifiers, person(retired).identifiers
        return self.tell(person(survivor), acts=(r.ActRecord(ActKind.MERGE_PATIENTS, into, gone),))

    def die(self, mrn: str, at: datetime | None = None) -> r.AbsorbOutcome:
        """An update with PID-30."""
        return self.tell(person(mrn, deceased=DeceasedState.DECEASED, deceased_at=at))

    def many(self, count: int, **values: Any) -> list[str]:
        """Admitted patients M1, M2 … in one batch; their ids."""
        self.clock.move(minutes=1)
        now = self.clock.now()
        first = self.seq + 1
        changes = [
            r.Change(
                "test", now, now,
                patient=person(f"M{number}", name=f"张{number}", **values),
                encounter=visit(f"MV{number}", diagnoses=(STROKE,)),
                event=r.VisitEventRecord(VisitEventKind.ADMIT, now - timedelta(days=1)),
            )
            for number in range(first, first + count)
        ]  # fmt: skip
        return [str(outcome.patient_id) for outcome in self.absorb(changes)]

    def work(self) -> Any:
        """A writing work of the system."""
        return open_work(self.database, actor=system_actor("test"), clock=self.clock)


class FhirClient:
    """A machine client with its token."""

    def __init__(self, client: FlaskClient, token: str) -> None:
        self._client = client
        self.headers = {"Authorization": f"Bearer {token}"}

    def open(self, path: str, *, method: str = "GET", **options: Any) -> TestResponse:
        """An answer of whatever status; `path` below the base."""
        options["headers"] = {**self.headers, **options.get("headers", {})}
        return self._client.open(f"{BASE}/{path}", method=method, **options)

    def read(self, path: str, **options: Any) -> dict[str, Any]:
        """The resource of a 200."""
        answer = self.open(path, **options)
        assert answer.status_code == 200, answer.text
        return answer.get_json()

    def search(self, kind: str, *pairs: tuple[str, str], **parameters: str) -> dict[str, Any]:
        """A Bundle; parameters by keyword or as pairs."""
        return self.read(kind, query_string=[*pairs, *parameters.items()])

    def ids(self, kind: str, *pairs: tuple[str, str], **parameters: str) -> list[str]:
        """The ids on the first page of a search."""
        return ids_of(self.search(kind, *pairs, **parameters))

    def refusal(self, path: str, status: int, **options: Any) -> dict[str, Any]:
        """The OperationOutcome of that status."""
        answer = self.open(path, **options)
        assert answer.status_code == status, answer.text
        outcome = answer.get_json()
        assert outcome["resourceType"] == "OperationOutcome"
        return outcome

    def crawl(self, kind: str, *, between: Callable[[], None] = lambda: None, **parameters: str) -> list[str]:
        """Every id by the next links; `between` runs after each page."""
        bundle, found = self.search(kind, **parameters), []
        while True:
            found += ids_of(bundle)
            address = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
            if address is None:
                return found
            between()
            bundle = self.read(address.partition(f"{BASE}/")[2])


def ids_of(bundle: dict[str, Any]) -> list[str]:
    return [entry["resource"]["id"] for entry in bundle.get("entry", [])]


def make_task(hospital: Hospital, number: str = "V1", **values: Any) -> str:
    """An instruction for a visit of the archive, as if its last event had been the discharge."""
    with hospital.work() as work:
        publish_form(work)
        encounter = work.get(Encounter, hospital.visits[number])
        events = sa.select(sa.func.max(VisitEvent.id)).where(VisitEvent.encounter_id == encounter.id)
        assignee = work.one(Practitioner, Practitioner.code == "1001")
        given = {"trigger_id": work.scalar(events), "assignee": assignee, **values}
        return make_instruction(work, encounter=encounter, **given).id


def make_response(
    hospital: Hospital, task: str, answers: dict[str, Any], state: ResponseState = ResponseState.SUBMITTED
) -> str:
    """What was answered to an instruction."""
    with hospital.work() as work:
        instruction = work.get(Instruction, task)
        now = work.clock.now()
        response = Response(
            id=work.new_id(), patient_id=instruction.patient_id, encounter_id=instruction.encounter_id,
            subject_type="instruction", subject_id=task, form_code="test.call", form_version=1, state=state,
            answers=answers, note=None, author_id="a", author_name="李大夫", saved_at=now,
            submitted_at=now if state is ResponseState.SUBMITTED else None,
        )  # fmt: skip
        work.add(response)
        return response.id


def token_of(work: Work, *scopes: str) -> str:
    return create_token(work, name="-".join(scopes), scopes=scopes)


@pytest.fixture
def hospital(database: Database, clock: FixedClock) -> Hospital:
    return Hospital(database, clock)


@pytest.fixture
def fhir(app: Flask, hospital: Hospital) -> FhirClient:
    """A client that may read."""
    with hospital.work() as work:
        token = token_of(work, "fhir.read")
    return FhirClient(app.test_client(), token)


@pytest.fixture
def town(hospital: Hospital) -> Hospital:
    """Three patients who differ in everything one can search by."""
    hospital.tell(
        person(
            "M1", id_number=ID_NUMBER, contacts=(r.ContactRecord("phone", "mobile", "13800138000"),)
        )
    )  # fmt: skip
    hospital.tell(person("M2", name="张建军", birth_date=date(1980, 5, 3)))
    hospital.tell(person("100%", name="Smith John", birth_date=None))
    return hospital
