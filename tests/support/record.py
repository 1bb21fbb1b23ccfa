"""A patient of the ward with everything a message may tell of somebody."""

from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from hcrm.archive.models import Address, Allergy, IdentifierKind, Patient, PatientIdentifier, RelatedPerson
from hcrm.core.work import Work
from hcrm.directory.models import Region
from tests.support.builders import SOURCE
from tests.support.console import Browser
from tests.support.station import Ward

TABS = (
    "timeline",
    "profile",
    "visits",
    "diagnoses",
    "procedures",
    "results",
    "medications",
    "documents",
    "appointments",
    "charges",
    "allergies",
    "followups",
    "contacts",
    "people",
    "notes",
    "history",
    "chain",
)
ID_NUMBER = "110101195903071518"
PLACE = "中山北路 100 号 3 幢 501 室"


def page(browser: Browser, patient: str, tab: str | None = None) -> TestResponse:
    """The patient's page, on one of its tabs."""
    return browser.get(f"/patients/{patient}" + (f"?tab={tab}" if tab else ""))


@pytest.fixture
def patient(ward: Ward, write: Callable[[Callable[[Work], Any]], Any]) -> str:
    """张建国 with everything a message may tell of somebody; the id."""
    return write(fill_record)


def fill_record(work: Work) -> str:
    patient = work.one(Patient, Patient.name == "张建国")
    now = work.clock.now()
    stamp = {"patient_id": patient.id, "source": SOURCE, "as_of": now, "seq": 7}
    patient.provenance = {"name": [now.isoformat(), SOURCE, 7]}
    work.insert(
        Region,
        [{"code": "330000", "name": "浙江省", "parent_code": None, "level": "province"},
         {"code": "330100", "name": "杭州市", "parent_code": "330000", "level": "city"},
         {"code": "330106", "name": "西湖区", "parent_code": "330100", "level": "county"}],
    )  # fmt: skip
    work.add(
        PatientIdentifier(
            id=work.new_id(),
            kind=IdentifierKind.CITIZEN,
            authority="",
            type="NI",
            value_sealed=work.keys.seal_text(ID_NUMBER),
            value_index="i",
            last4_index="l",
            **stamp,
        )
    )
    work.add(
        PatientIdentifier(
            id=work.new_id(), kind=IdentifierKind.RECORD, authority="H1", type="MR", value="00481516", **stamp
        )
    )
    work.add(
        Address(
            id=work.new_id(),
            use="home",
            rank=1,
            region_code="330106",
            text_sealed=work.keys.seal_text(PLACE),
            **stamp,
        )
    )
    work.add(
        RelatedPerson(
            id=work.new_id(),
            rank=1,
            name="王芳",
            relation="妻",
            phone_sealed=work.keys.seal_text("13912345678"),
            phone_index="p",
            phone_last4_index="4",
            **stamp,
        )
    )
    work.add(
        Allergy(
            id=work.new_id(),
            rank=1,
            kind="DA",
            code="",
            text="青霉素",
            severity="SV",
            reaction="皮疹",
            **stamp,
        )
    )
    return patient.id
