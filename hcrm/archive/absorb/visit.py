"""The visit's side of absorbing: the event log, what it folds to, fields by their own clock, lists."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.batch import Row, Rows, is_older, stamp, values_in
from hcrm.archive.events import DischargeCancelled, EncounterDischarged, EncounterRevised
from hcrm.archive.models import TimelineEntry
from hcrm.archive.records import (
    Change,
    DepartmentRecord,
    EncounterRecord,
    PractitionerRecord,
    VisitEventRecord,
)
from hcrm.archive.visit import LoggedEvent, VisitState, fold
from hcrm.archive.visit_models import (
    Diagnosis,
    DischargeWay,
    Encounter,
    EncounterClass,
    EncounterStatus,
    Procedure,
    VisitEvent,
    VisitEventKind,
)
from hcrm.core.work import Work
from hcrm.directory.models import Campus, Department, Practitioner

CLOSED = (EncounterStatus.FINISHED, EncounterStatus.CANCELLED)
_REVISING = frozenset(
    {"diagnoses", "procedures", "department_id", "discharge_way", "attending_id", "discharged_at"}
)
VisitKey = tuple[str, str]


class VisitSide:
    """Encounters, their logs and lists, for one batch."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.encounters = Rows(work, Encounter, "patient_id")
        self.events = Rows(work, VisitEvent, "encounter_id")
        self.diagnoses = Rows(work, Diagnosis, "encounter_id")
        self.procedures = Rows(work, Procedure, "encounter_id")
        self.timeline = Rows(work, TimelineEntry, "patient_id")
        self.departments = Rows(work, Department, "code")
        self._campuses: dict[str, str] = {}
        self.practitioners = Rows(work, Practitioner, "code")
        self._by_key: dict[VisitKey, Row] = {}
        self._before: dict[str, str | None] = {}
        self._revised: dict[str, set[str]] = {}

    def gather(self, records: list[EncounterRecord], patient_ids: set[str]) -> None:
        """Load the visits named, all of patients who have one without a number, and the directory entries."""
        numbers = {record.visit_no for record in records if record.visit_no}
        found = self.encounters.load(values_in(Encounter.visit_no, numbers)) if numbers else []
        if patient_ids:
            found += self.encounters.load(values_in(Encounter.patient_id, patient_ids))
        into = {row["merged_into_id"] for row in found} - {None}
        while into:
            met = self.encounters.load(values_in(Encounter.id, into))
            found += met
            into = {row["merged_into_id"] for row in met} - {None}
        for row in found:
            self._note(row)
        events: list[Row] = []
        if found:
            ids = [row["id"] for row in found]
            events = self.events.load(VisitEvent.encounter_id.in_(ids))
            self.diagnoses.load(Diagnosis.encounter_id.in_(ids), Diagnosis.ended_at.is_(None))
            self.procedures.load(Procedure.encounter_id.in_(ids), Procedure.ended_at.is_(None))
        codes = {record.department.code for record in records if record.department}
        codes |= {row["data"]["department"] for row in events if "department" in row["data"]}
        self.departments.load(values_in(Department.code, codes))
        named = {record.department.campus for record in records if record.department} - {""}
        if named:
            found_campuses = self.work.execute(
                sa.select(Campus.code, Campus.id).where(Campus.code.in_(sorted(named)))
            )
            self._campuses = {row.code: row.id for row in found_campuses}
        self.practitioners.load(
            values_in(Practitioner.code, (record.attending.code for record in records if record.attending))
        )

    def write(self) -> None:
        """Directory, encounters, logs, lists, timeline; then the facts that follow."""
        for rows in (
            self.departments, self.practitioners, self.encounters, self.events, self.diagnoses, self.procedures,
            self.timeline,
        ):  # fmt: skip
            rows.write()
        self._emit()

    def find(self, patient_id: str | None, record: EncounterRecord, change: Change, seq: int) -> Row | None:
        """The visit of that number; without one, that which knows this event, else the patient's only open one."""
        if record.visit_no:
            return self._survivor(self._by_key.get((record.authority, record.visit_no)))
        if patient_id is None:
            return None
        visits = self.encounters.by_owner[patient_id]
        if change.event is not None:
            event = _event_row(change.event, record, change, seq)
            for visit in visits:
                if self._logged(visit, event):
                    return visit
        open_visits = [row for row in visits if row["status"] not in CLOSED]
        return open_visits[0] if len(open_visits) == 1 else None

    def _survivor(self, visit: Row | None) -> Row | None:
        """The visit a merged one has become part of."""
        while visit is not None and visit["merged_into_id"]:
            visit = self.encounters.by_id[visit["merged_into_id"]]
        return visit

    def refold(self, encounter_id: str) -> None:
        """See anew what a visit's log amounts to."""
        self._fold(self.encounters.by_id[encounter_id])

    def create(
        self, patient_id: str, record: EncounterRecord, change: Change, *, told_under: str | None = None
    ) -> Row:
        """A new visit without events; `told_under` is the retired number that named its patient."""
        now = self.work.clock.now()
        row = self.encounters.add(
            patient_id=patient_id, authority=record.authority, visit_no=record.visit_no, account_no=None,
            merged_into_id=None, source=change.source,
            encounter_class=EncounterClass.UNKNOWN, class_text=None, status=EncounterStatus.PLANNED,
            admitted_at=None, discharged_at=None, discharge_id=None, discharge_way=DischargeWay.UNKNOWN,
            discharge_way_text=None, department_id=None, attending_id=None, location=None, payment_type=None,
            provenance={"told_under": told_under} if told_under else {},
            created_at=now, updated_at=now,
        )  # fmt: skip
        self._note(row)
        return row

    def log(
        self, visit: Row, event: VisitEventRecord, record: EncounterRecord, change: Change, seq: int
    ) -> bool:
        """Append what happened. Whether it is news: a message replayed or resent tells nothing new."""
        row = _event_row(event, record, change, seq)
        standing = self._logged(visit, row)
        if standing is None:
            self.events.add(encounter_id=visit["id"], reversed_by_id=None, **row)
        elif standing["seq"] == seq:
            self.events.change(standing, **row)  # read anew, perhaps by other settings
        return standing is None

    def _logged(self, visit: Row, event: Row) -> Row | None:
        """The event as it stands in the visit's log, by the message that told it or by all that was told."""
        same = ("kind", "source", "told_at", "happened_at", "data")
        for row in self.events.by_owner[visit["id"]]:
            if row["seq"] == event["seq"] or all(row[name] == event[name] for name in same):
                return row
        return None

    def apply(self, visit: Row, record: EncounterRecord, change: Change, seq: int) -> None:
        """Take over fields by the message's clock, then the state by the log."""
        if record.department:
            self._department(record.department)
        if record.attending:
            self._set(visit, "attending_id", self._practitioner(record.attending, visit), change, seq)
        if record.account_no:
            self._set(visit, "account_no", record.account_no, change, seq)
        if record.payment_type:
            self._set(visit, "payment_type", record.payment_type, change, seq)
        if record.encounter_class:
            self._set(visit, "class_text", record.class_text, change, seq)
        common = {
            "patient_id": visit["patient_id"],
            "source": change.source,
            "as_of": change.told_at,
            "seq": seq,
        }
        if record.diagnoses is not None:
            wanted = [
                {"rank": rank, "is_main": item.is_main, "code": item.code, "text": item.text, "system": item.system,
                 "kind": item.kind}
                for rank, item in enumerate(record.diagnoses, start=1)
            ]  # fmt: skip
            same = ("rank", "is_main", "code", "text", "kind")
            self._snapshot(visit, "diagnoses", self.diagnoses, wanted, same, common, change, seq)
        if record.procedures is not None:
            wanted = [
                {"rank": rank, "code": item.code, "text": item.text, "system": item.system,
                 "performed_at": item.performed_at, "performed_on": item.performed_on}
                for rank, item in enumerate(record.procedures, start=1)
            ]  # fmt: skip
            same = ("rank", "code", "text", "performed_at", "performed_on")
            self._snapshot(visit, "procedures", self.procedures, wanted, same, common, change, seq)
        if change.event is None:
            self._log_update(visit, record, change, seq)
        self._fold(visit)
        self._discharge_way(visit, record, change, seq)

    def _log_update(self, visit: Row, record: EncounterRecord, change: Change, seq: int) -> None:
        """An update that tells of times, place or class stands in the log like the events themselves.

        Even where it changes nothing today: what arrives later may have happened before it.
        """
        event = VisitEventRecord(VisitEventKind.UPDATE, change.told_at)
        if _event_row(event, record, change, seq)["data"]:
            self.log(visit, event, record, change, seq)

    def _place(self, visit: Row, state: VisitState) -> None:
        """Location, department and class as the latest event tells them."""
        for field, event in state.said_by.items():
            at, seq = event.holds_from
            name, value = field, getattr(event, field)
            if field == "department":
                name, value = "department_id", self._department(DepartmentRecord(value))
            elif field == "encounter_class":
                value = EncounterClass(value)
            if visit[name] != value and name in _REVISING:
                self._revised.setdefault(visit["id"], set()).add(name)
            told = {**visit["provenance"], field: stamp(at, event.source, seq)}
            self.encounters.change(visit, **{name: value, "provenance": told})

    def _fold(self, visit: Row) -> None:
        rows = self.events.by_owner[visit["id"]]
        state = fold([as_logged(row) for row in rows])
        for row in rows:
            if row["reversed_by_id"] != state.reversed_by.get(row["id"]):
                self.events.change(row, reversed_by_id=state.reversed_by.get(row["id"]))
        if rows:
            if (
                visit["discharged_at"]
                and state.discharged_at
                and visit["discharged_at"] != state.discharged_at
            ):
                self._revised.setdefault(visit["id"], set()).add("discharged_at")
            self.encounters.change(
                visit, status=state.status, admitted_at=state.admitted_at, discharged_at=state.discharged_at,
                discharge_id=state.discharge_id,
            )  # fmt: skip
            self._place(visit, state)
        self.encounters.change(visit, updated_at=self.work.clock.now())

    def _discharge_way(self, visit: Row, record: EncounterRecord, change: Change, seq: int) -> None:
        """How the patient left, as long as they have: what was said of it goes with the discharge taken back."""
        taken_back = {row["seq"] for row in self.events.by_owner[visit["id"]] if row["reversed_by_id"]}
        told_by = visit["provenance"].get("discharge_way")
        if told_by and (visit["status"] != EncounterStatus.FINISHED or told_by[2] in taken_back):
            known = {name: value for name, value in visit["provenance"].items() if name != "discharge_way"}
            self.encounters.change(
                visit, discharge_way=DischargeWay.UNKNOWN, discharge_way_text=None, provenance=known
            )
        if record.discharge_way is None or visit["status"] != EncounterStatus.FINISHED:
            return
        event = self._logged(visit, _event_row(change.event, record, change, seq)) if change.event else None
        if event is None or event["reversed_by_id"] is None:
            text = record.discharge_way_text
            if self._set(visit, "discharge_way", record.discharge_way, change, seq):
                self.encounters.change(visit, discharge_way_text=text)

    def tell(self, visit: Row, event: VisitEventRecord, record: EncounterRecord) -> None:
        """One line of the patient's timeline for the event, where the visit's own dates put it."""
        told = getattr(record, _DATED[event.kind]) if event.kind in _DATED else None
        self.timeline.add(
            patient_id=visit["patient_id"], happened_at=told or event.happened_at, kind="visit",
            title=f"{EncounterClass(visit['encounter_class']).label} · {_WORDS.get(event.kind, event.kind.label)}",
            subject_type="encounter", subject_id=visit["id"], encounter_id=visit["id"],
        )  # fmt: skip

    def _note(self, row: Row) -> None:
        if row["visit_no"]:
            self._by_key[row["authority"], row["visit_no"]] = row
        self._before[row["id"]] = row["discharge_id"]

    def _set(self, visit: Row, field: str, value: Any, change: Change, seq: int) -> bool:
        """Put a value by the message's clock. Whether it was taken over."""
        if is_older(change.told_at, seq, visit["provenance"].get(field)):
            return False
        if visit[field] != value and field in _REVISING:
            self._revised.setdefault(visit["id"], set()).add(field)
        known = {**visit["provenance"], field: stamp(change.told_at, change.source, seq)}
        self.encounters.change(visit, **{field: value, "provenance": known})
        return True

    def _snapshot(
        self, visit: Row, name: str, rows: Rows, wanted: list[Row], same: tuple[str, ...], common: Row, change: Change,
        seq: int,
    ) -> None:  # fmt: skip
        if is_older(change.told_at, seq, visit["provenance"].get(name)):
            return
        now = self.work.clock.now()
        if rows.replace(visit["id"], wanted, same=same, common=common, ended_at=now):
            self._revised.setdefault(visit["id"], set()).add(name)
        known = {**visit["provenance"], name: stamp(change.told_at, change.source, seq)}
        self.encounters.change(visit, provenance=known)

    def _department(self, record: DepartmentRecord) -> str:
        rows = self.departments.by_owner[record.code]
        if not rows:
            self.departments.add(
                code=record.code, name=record.name or record.code, specialty_code=None, head_id=None, campus_id=None,
                is_verified=False, created_at=self.work.clock.now(),
            )  # fmt: skip
        campus_id = self._campuses.get(record.campus)
        if campus_id and rows[0]["campus_id"] is None:
            self.departments.change(rows[0], campus_id=campus_id)
        return str(rows[0]["id"])

    def _practitioner(self, record: PractitionerRecord, visit: Row) -> str:
        rows = self.practitioners.by_owner[record.code]
        if not rows:
            self.practitioners.add(
                code=record.code, name=record.name or record.code, title=None,
                department_id=visit["department_id"], is_verified=False, created_at=self.work.clock.now(),
            )  # fmt: skip
        return str(rows[0].get("merged_into_id") or rows[0]["id"])

    def _emit(self) -> None:
        for encounter_id, before in self._before.items():
            after = self.encounters.by_id[encounter_id]["discharge_id"]
            if before != after:
                if before:
                    self.work.emit(DischargeCancelled(encounter_id=encounter_id, trigger_id=before))
                if after:
                    self.work.emit(EncounterDischarged(encounter_id=encounter_id, trigger_id=after))
            elif after and self._revised.get(encounter_id):
                self.work.emit(EncounterRevised(encounter_id=encounter_id, trigger_id=after))


_DATA = {"encounter_class": "class"}  # as the log names it
_DATED = {
    VisitEventKind.ADMIT: "admitted_at",
    VisitEventKind.REGISTER: "admitted_at",
    VisitEventKind.DISCHARGE: "discharged_at",
}
_WORDS = {VisitEventKind.ADMIT: "入院", VisitEventKind.REGISTER: "就诊登记", VisitEventKind.DISCHARGE: "出院"}


def _event_row(event: VisitEventRecord, record: EncounterRecord, change: Change, seq: int) -> Row:
    """An event as the log keeps it."""
    data: dict[str, Any] = {}
    for name in ("admitted_at", "discharged_at"):
        value = getattr(record, name)
        if value is not None:
            data[name] = value.isoformat()
    data |= {_DATA.get(field, field): value for field, value in _said(record).items() if value is not None}
    return {
        "kind": event.kind, "happened_at": event.happened_at, "precision": event.precision,
        "told_at": change.told_at, "data": data, "source": change.source, "seq": seq,
    }  # fmt: skip


def as_logged(row: Row) -> LoggedEvent:
    """A row of the log, as the fold needs it."""

    def at(name: str) -> datetime | None:
        return datetime.fromisoformat(row["data"][name]) if name in row["data"] else None

    return LoggedEvent(
        id=row["id"], kind=VisitEventKind(row["kind"]), happened_at=row["happened_at"], told_at=row["told_at"],
        seq=row["seq"], source=row["source"], admitted_at=at("admitted_at"), discharged_at=at("discharged_at"),
        location=row["data"].get("location"), department=row["data"].get("department"),
        encounter_class=row["data"].get("class"),
    )  # fmt: skip


def _said(record: EncounterRecord) -> dict[str, str | None]:
    """What a message says of `visit.SAID`; a class we do not know says nothing."""
    is_class = record.encounter_class not in (None, EncounterClass.UNKNOWN)
    return {
        "location": record.location,
        "department": record.department.code if record.department else None,
        "encounter_class": record.encounter_class.value if is_class and record.encounter_class else None,
    }
