"""The sheet of a patient (患者简表): what one takes along on paper, on one or two pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hcrm.archive.models import Patient
from hcrm.core.work import Work
from hcrm.desk.clinical_tabs import Order, list_medications
from hcrm.desk.patient import PatientCard, load_card
from hcrm.desk.reach import Reach, load_reach
from hcrm.desk.record_tabs import VisitDiagnoses, diagnoses_of, list_procedures, list_visits

SHEET_ROWS = 15
"""Visits, operations and drugs on the sheet, the latest."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """Everything on it."""

    card: PatientCard
    reach: Reach
    visits: Sequence[Any]
    diagnoses: Mapping[str, VisitDiagnoses]
    procedures: Sequence[Any]
    orders: Sequence[Order]  # whose course is not over


def load_sheet(work: Work, patient: Patient) -> Sheet:
    """In the actor's scope, masked as the page is. The view came through `archive.queries.get_patient`."""
    visits = list_visits(work, patient_id=patient.id, size=SHEET_ROWS).items
    orders = list_medications(work, patient_id=patient.id).items
    return Sheet(
        card=load_card(work, patient),
        reach=load_reach(work, patient),
        visits=visits,
        diagnoses=diagnoses_of(work, [row.Encounter.id for row in visits]),
        procedures=list_procedures(work, patient_id=patient.id).items[:SHEET_ROWS],
        orders=[one for one in orders if one.row.status == "active" and not one.is_over][:SHEET_ROWS],
    )
