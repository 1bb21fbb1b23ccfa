"""Acts of messages upon visits as a whole: two that are one, and those that are another patient's (B35, B38).

A merged visit stays as a cancelled row that names the other; its number finds that visit from then on. A moved visit
takes along everything that is written for it and its patient.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.absorb.patient import PatientSide
from hcrm.archive.absorb.visit import VisitSide
from hcrm.archive.arrivals import Arrival, held, parked, visit_key
from hcrm.archive.batch import Row, is_older, stamp
from hcrm.archive.events import DischargeCancelled, VisitMoved
from hcrm.archive.merge.service import columns_to
from hcrm.archive.models import DeceasedState, Patient, TimelineEntry
from hcrm.archive.records import AbsorbOutcome, ActRecord, EncounterRecord, OutcomeState, VisitNumber
from hcrm.archive.visit_models import Diagnosis, DischargeWay, Encounter, EncounterStatus, Procedure
from hcrm.audit.service import record_audit
from hcrm.core.db import table_of
from hcrm.core.work import Work


def merge_visits(
    work: Work, act: ActRecord, arrival: Arrival, _subject: str | None, _other: str | None
) -> AbsorbOutcome:
    """A42: the visit of `other_number` is the visit of `number`."""
    change, stays_no, gone_no = arrival.change, act.number, act.other_number
    if stays_no is None or gone_no is None:
        return parked("no_visit_number", "PV1-19" if stays_no is None else "MRG-5", change)
    if stays_no == gone_no:
        return AbsorbOutcome(OutcomeState.IGNORED, reason="merge_self", detail="MRG-5")
    stays, gone = _visit(work, stays_no), _visit(work, gone_no)
    if stays is None:
        return held(visit_key(work, stays_no), "PV1-19", change)
    if gone is not None and gone["id"] == stays["id"]:
        if _number(work, stays_no) == stays["id"]:
            return _applied(stays, "already_merged")
        return parked("merge_cycle", "MRG-5", change, patient_id=stays["patient_id"])
    if gone is None:
        _keep_number(work, gone_no, stays, arrival)
        return _applied(stays)
    if gone["patient_id"] != stays["patient_id"]:
        return parked("visit_of_other_patient", "MRG-5", change, patient_id=stays["patient_id"])
    _unite(work, stays, gone, stays_no)
    return _applied(stays)


def merge_accounts(
    work: Work, act: ActRecord, arrival: Arrival, subject: str | None, other: str | None
) -> AbsorbOutcome:
    """A35: what lay on the account of `other_number` lies on that of `number`; visits stay visits."""
    change, into, gone = arrival.change, act.number, act.other_number
    if into is None or gone is None:
        return parked("no_visit_number", "PID-18" if into is None else "MRG-3", change)
    if _visit(work, gone) is not None:  # the account is all the number that visit has
        return merge_visits(work, act, arrival, subject, other)
    rows = _on_account(work, gone)
    if not rows:
        if _on_account(work, into):
            return _applied(_on_account(work, into)[0])
        return held(visit_key(work, gone), "MRG-3", change)
    told = {"account_no": stamp(change.told_at, change.source, arrival.seq)}
    work.update_rows(
        Encounter,
        [
            {"id": row["id"], "account_no": into.number, "provenance": {**row["provenance"], **told},
             "updated_at": work.clock.now()}
            for row in rows
            if not is_older(change.told_at, arrival.seq, row["provenance"].get("account_no"))
        ],
    )  # fmt: skip
    return _applied(rows[0])


def move_visit(
    work: Work, act: ActRecord, arrival: Arrival, subject: str | None, other: str | None
) -> AbsorbOutcome:
    """A45: the visit is not `other`'s but `subject`'s."""
    number = act.other_number or act.number
    if number is None:
        return parked("no_visit_number", "MRG-5", arrival.change)
    if subject is None or other is None:
        return parked("no_merge_number", "MRG-1", arrival.change)
    visit = _visit(work, number)
    if visit is None:
        return held(visit_key(work, number), "MRG-5", arrival.change)
    return _move(work, visit, subject, other, arrival)


def move_account(
    work: Work, act: ActRecord, arrival: Arrival, subject: str | None, other: str | None
) -> AbsorbOutcome:
    """A44: all visits on the account are not `other`'s but `subject`'s."""
    number = act.other_number or act.number
    if number is None:
        return parked("no_visit_number", "MRG-3", arrival.change)
    if subject is None or other is None:
        return parked("no_merge_number", "MRG-1", arrival.change)
    own = _visit(work, number)
    rows = _on_account(work, number) or ([own] if own else [])
    if not rows:
        return held(visit_key(work, number), "MRG-3", arrival.change)
    for row in rows:
        outcome = _move(work, row, subject, other, arrival)
        if outcome.state is not OutcomeState.APPLIED:
            return outcome
    return outcome


# ── moving ──────────────────────────────────────────────────────────────────


def was_moved_from(visit: Row, patient_id: str | None) -> bool:
    """Whether the visit was once thought to be that patient's: what they say of it is meant for it."""
    return any(patient_id == former for _, former, _ in visit["provenance"].get("moves", ()))


def _move(work: Work, visit: Row, to_id: str, from_id: str, arrival: Arrival) -> AbsorbOutcome:
    change = arrival.change
    moves = visit["provenance"].get("moves", [])
    this = [change.told_at.isoformat(), from_id, to_id]
    if this in moves:
        return _applied(visit)
    if visit["patient_id"] not in (from_id, to_id):
        return parked("visit_of_other_patient", "MRG-5", change, patient_id=to_id)
    now = work.clock.now()
    # Noted even where the visit was told under its new owner first: what the former one's number still says is meant.
    work.update_rows(
        Encounter,
        [
            {"id": visit["id"], "patient_id": to_id, "updated_at": now,
             "provenance": {**visit["provenance"], "moves": [*moves, this]}}
        ],
    )  # fmt: skip
    if visit["patient_id"] == to_id:
        return _applied(visit)
    _move_dependents(work, visit["id"], to_id, from_id)
    work.insert(
        TimelineEntry,
        [
            {"id": work.new_id(), "patient_id": patient_id, "happened_at": now, "kind": "merge", "title": title,
             "subject_type": "encounter", "subject_id": visit["id"], "encounter_id": stay}
            for patient_id, title, stay in (
                (to_id, "一次就诊由其他档案改归本档案", visit["id"]), (from_id, "一次就诊改归其他档案", None))
        ],
    )  # fmt: skip
    record_audit(
        work, action="encounter.move", patients=[to_id, from_id], subject_type="encounter",
        subject_id=visit["id"], detail={"source": change.source},
    )  # fmt: skip
    _move_death(work, visit, to_id, from_id, arrival)
    work.emit(VisitMoved(encounter_id=visit["id"], from_patient_id=from_id, to_patient_id=to_id))
    return AbsorbOutcome(OutcomeState.APPLIED, patient_id=to_id, encounter_id=visit["id"])


def _move_dependents(work: Work, encounter_id: str, to_id: str, from_id: str) -> None:
    """Every row that is about this visit and that patient, by the foreign keys of the schema."""
    for patient in columns_to("patient.id"):
        if patient.table.name == "encounter":
            continue
        for encounter in columns_to("encounter.id", patient.table):
            work.execute(
                sa.update(patient.table)
                .where(encounter == encounter_id, patient == from_id)
                .values({patient.name: to_id})
                .execution_options(synchronize_session=False)
            )


def _move_death(work: Work, visit: Row, to_id: str, from_id: str, arrival: Arrival) -> None:
    """A stay that ended in death was another's: the one has died, of the other a person decides."""
    if (visit["status"], visit["discharge_way"]) != (EncounterStatus.FINISHED, DischargeWay.DIED):
        return
    side = PatientSide(work)
    side.patients.load(Patient.id.in_([to_id, from_id]))
    for patient_id, told, at in (
        (to_id, DeceasedState.DECEASED, visit["discharged_at"]), (from_id, DeceasedState.ALIVE, None)
    ):  # fmt: skip
        side.tell_death(side.patients.by_id[patient_id], told, at, arrival.change, arrival.seq)
    side.write()


# ── merging ─────────────────────────────────────────────────────────────────


def _unite(work: Work, stays: Row, gone: Row, number: VisitNumber) -> None:
    """Let everything of the one hang on the other, and see what the joined log amounts to."""
    now = work.clock.now()
    values = _newer_fields(stays, gone)
    for model, name in ((Diagnosis, "diagnoses"), (Procedure, "procedures")):
        table = table_of(model)
        loser = stays if name in values["provenance"] and _is_newer(gone, stays, name) else gone
        if name in stays["provenance"] or loser is stays:
            work.execute(
                sa.update(table)
                .where(table.c.encounter_id == loser["id"], table.c.ended_at.is_(None))
                .values(ended_at=now)
                .execution_options(synchronize_session=False)
            )
    for column in columns_to("encounter.id"):
        if not _is_unique_by(column):  # what a visit has only one of stays with the row it describes
            work.execute(
                sa.update(column.table)
                .where(column == gone["id"])
                .values({column.name: stays["id"]})
                .execution_options(synchronize_session=False)
            )
    work.update_rows(Encounter, [{"id": stays["id"], "updated_at": now, **values}])
    work.update_rows(
        Encounter,
        [
            {"id": gone["id"], "merged_into_id": stays["id"], "status": EncounterStatus.CANCELLED,
             "discharge_id": None, "updated_at": now}
        ],
    )  # fmt: skip
    side = VisitSide(work)
    side.gather([EncounterRecord(number.authority, number.number)], set())
    side.refold(stays["id"])
    side.write()
    if gone["discharge_id"] and side.encounters.by_id[stays["id"]]["discharge_id"] != gone["discharge_id"]:
        work.emit(DischargeCancelled(encounter_id=stays["id"], trigger_id=gone["discharge_id"]))
    record_audit(
        work, action="encounter.merge", patients=[stays["patient_id"]], subject_type="encounter",
        subject_id=stays["id"], detail={"merged": gone["id"]},
    )  # fmt: skip


def _newer_fields(stays: Row, gone: Row) -> dict[str, Any]:
    """What was told later of the visit that goes than of the one that stays, by each field's own clock."""
    known = dict(stays["provenance"])
    values: dict[str, Any] = {}
    for name in (
        "attending_id", "class_text", "account_no", "payment_type", "discharge_way", "diagnoses", "procedures",
    ):  # fmt: skip
        if not _is_newer(gone, stays, name):
            continue
        known[name] = gone["provenance"][name]
        if name in gone:
            values[name] = gone[name]
        if name == "discharge_way":
            values["discharge_way_text"] = gone["discharge_way_text"]
    return {**values, "provenance": known}


def _is_newer(gone: Row, stays: Row, name: str) -> bool:
    told = gone["provenance"].get(name)
    return told is not None and not is_older(
        datetime.fromisoformat(told[0]), told[2], stays["provenance"].get(name)
    )


def _is_unique_by(column: sa.Column[Any]) -> bool:
    table = column.table
    unique = [item.columns for item in table.constraints if isinstance(item, sa.UniqueConstraint)]
    unique += [index.columns for index in table.indexes if index.unique]
    return any(column.name in columns for columns in unique)


def _keep_number(work: Work, number: VisitNumber, stays: Row, arrival: Arrival) -> None:
    """A number nobody knew yet, that finds this visit from now on."""
    side = VisitSide(work)
    record = EncounterRecord(number.authority, number.number)
    row = side.create(stays["patient_id"], record, arrival.change)
    side.encounters.change(row, merged_into_id=stays["id"], status=EncounterStatus.CANCELLED)
    side.encounters.write()


# ── finding ─────────────────────────────────────────────────────────────────


def _visit(work: Work, number: VisitNumber) -> Row | None:
    """The visit a number finds, through merges; locked."""
    table = table_of(Encounter)
    row = work.execute(
        sa.select(table)
        .where(table.c.visit_no == number.number, table.c.authority == number.authority)
        .with_for_update()
    ).mappings().first()  # fmt: skip
    while row is not None and row["merged_into_id"]:
        row = work.execute(
            sa.select(table).where(table.c.id == row["merged_into_id"]).with_for_update()
        ).mappings().first()  # fmt: skip
    return dict(row) if row else None


def _number(work: Work, number: VisitNumber) -> str | None:
    """Id of the row that bears the number itself."""
    found: str | None = work.scalar(
        sa.select(Encounter.id).where(
            Encounter.visit_no == number.number, Encounter.authority == number.authority
        )
    )
    return found


def _on_account(work: Work, number: VisitNumber) -> list[Row]:
    table = table_of(Encounter)
    rows = work.execute(
        sa.select(table)
        .where(
            table.c.account_no == number.number,
            table.c.authority == number.authority,
            table.c.merged_into_id.is_(None),
        )
        .order_by(table.c.id)
        .with_for_update()
    ).mappings()
    return [dict(row) for row in rows]


def _applied(visit: Row, *flags: str) -> AbsorbOutcome:
    return AbsorbOutcome(
        OutcomeState.APPLIED, flags=flags, patient_id=visit["patient_id"], encounter_id=visit["id"]
    )
