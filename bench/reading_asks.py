"""What section `reading` asks for: names, numbers, filters and addresses, drawn from the archive itself."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bench.setting import SEED
from hcrm.archive.models import ContactPoint, IdentifierKind, Patient, PatientIdentifier
from hcrm.archive.names.pinyin import name_pinyin
from hcrm.archive.visit_models import Encounter
from hcrm.core.actor import Actor, system_actor
from hcrm.core.clock import local_date
from hcrm.core.db import Database
from hcrm.core.work import open_work
from hcrm.directory.models import Department, Practitioner
from hcrm.segments.models import Segment

SAMPLES = 40
_TABS = ("overview", "visits", "orders", "results", "contacts")
Form = Mapping[str, str]


@dataclass
class House:
    """What is asked for: taken from the archive once, the same for both databases."""

    departments: list[str]
    physicians: list[str]
    patients: list[str]
    names: list[str]
    records: list[str]
    visits: list[str]
    phones: list[str]
    id_numbers: list[str]


def look_around(database: Database) -> House:
    """Draw them, the same for both databases."""
    chance = random.Random(SEED)
    with open_work(database, actor=system_actor("bench"), write=False) as work:
        last = work.scalar(sa.select(sa.func.max(Patient.id)))
        first = work.scalar(sa.select(sa.func.min(Patient.id)))
        low, high = int(first, 16), int(last, 16)
        rows = []
        for _ in range(SAMPLES):
            near = f"{chance.randint(low, high):032x}"
            rows += work.execute(
                sa.select(Patient.id, Patient.name).where(Patient.id >= near).order_by(Patient.id).limit(1)
            ).all()
        ids = [row.id for row in rows]
        phones = work.scalars(
            sa.select(ContactPoint.value_sealed).where(
                ContactPoint.patient_id.in_(ids), ContactPoint.system == "phone"
            )
        )
        people = sa.select(
            PatientIdentifier.value, PatientIdentifier.value_sealed, PatientIdentifier.kind
        ).where(PatientIdentifier.patient_id.in_(ids))
        numbers = work.execute(people).all()
        visits = work.scalars(sa.select(Encounter.visit_no).where(Encounter.patient_id.in_(ids)))
        opened = [work.keys.open_text(row.value_sealed) for row in numbers if row.value_sealed]
        return House(
            departments=list(work.scalars(sa.select(Department.id).order_by(Department.id))),
            physicians=list(work.scalars(sa.select(Practitioner.id).order_by(Practitioner.id))),
            patients=ids,
            names=[row.name for row in rows],
            records=[row.value for row in numbers if row.kind == IdentifierKind.RECORD],
            visits=[each for each in visits if each],
            phones=[work.keys.open_text(sealed).removeprefix("+86") for sealed in phones],
            id_numbers=[number for number in opened if len(number) == 18],
        )


def actors(house: House) -> dict[str, Actor]:
    """Who asks: one sees the whole hospital, one a department."""

    def actor(departments: frozenset[str] | None, physician: str | None = None) -> Actor:
        return Actor(
            id="bench", name="bench", permissions=frozenset("*"), roles=(), department_ids=departments,
            practitioner_id=physician,
        )  # fmt: skip

    return {
        "everybody's": actor(None),
        "a physician's": actor(frozenset(house.departments[:1]), house.physicians[0]),
    }


def as_seen_by(actor: Actor, house: House) -> House:
    """The house as this one's forms offer it: with departments of theirs only."""
    if actor.department_ids is None:
        return house
    return replace(house, departments=sorted(actor.department_ids))


def searches(house: House) -> dict[str, list[Form]]:
    """Forms of the patient list, by what is searched."""

    def words(values: Sequence[str], **filters: str) -> list[Form]:
        return [{"q": value, **filters} for value in values]

    threes = [name for name in house.names if len(name) == 3]
    spelled = [name_pinyin(name) for name in threes]
    departments = house.departments
    since = str(local_date(datetime.now(UTC)) - timedelta(days=90))
    return {
        "one character": words([name[0] for name in house.names]),
        "two characters": words([name[:2] for name in house.names]),
        "three characters": words(threes),
        "pinyin": words([full for full, _ in spelled]),
        "beginning of pinyin": words([full[:5] for full, _ in spelled]),
        "initials": words([short for _, short in spelled]),
        "record number": words(house.records),
        "visit number": words(house.visits),
        "phone": words(house.phones),
        "phone, last four": words([phone[-4:] for phone in house.phones]),
        "ID number": words(house.id_numbers),
        "ID number, last four": words([number[-4:] for number in house.id_numbers]),
        "no words": [{}],
        "department": [{"department": each} for each in departments],
        "30 days": [{"discharged": "30d"}],
        "in bed": [{"status": "in-progress"}],
        "disease group": [{"disease": f"group{n}"} for n in range(20)],
        "department, 30 days": [{"department": each, "discharged": "30d"} for each in departments],
        "department, disease, 30 days": [
            {"department": each, "disease": f"group{n}", "discharged": "30d"}
            for n, each in enumerate(departments)
        ],
        "department, disease, near region": [
            {"department": each, "disease": f"group{n}", "region": "same_city"}
            for n, each in enumerate(departments)
        ],
        "department, disease, far region": [
            {"department": each, "disease": f"group{n}", "region": "other_province"}
            for n, each in enumerate(departments)
        ],
        "dead": [{"status": "deceased"}],
        "department, dead": [{"department": each, "status": "deceased"} for each in departments],
        "surname, dead": words([name[0] for name in house.names], status="deceased"),
        "pinyin, dead": words([full[:5] for full, _ in spelled], status="deceased"),
        "surname, department, 30 days": words(
            [name[0] for name in house.names], department=departments[0], discharged="30d"
        ),
        "pinyin, department, 30 days": words(
            [full[:5] for full, _ in spelled], department=departments[0], discharged="30d"
        ),
        "surname, department, disease, far region": words(
            [name[0] for name in house.names],
            department=departments[0],
            disease="group3",
            region="other_province",
        ),
        "pinyin, department, disease, far region": words(
            [full[:5] for full, _ in spelled],
            department=departments[0],
            disease="group3",
            region="other_province",
        ),
        "surname, department, disease, 90 days": words(
            [name[0] for name in house.names], department=departments[0], disease="group3", since=since
        ),
    }


def pages(house: House, database: Database) -> dict[str, list[tuple[str, Form | None]]]:
    """Addresses by what they show, with a form where it is sent by post."""
    found: dict[str, list[tuple[str, Form | None]]] = {
        f"search: {name}": [("/patients", form) for form in forms]
        for name, forms in searches(house).items()
        if "q" in forms[0]
    }
    found |= {
        f"list: {name}": [
            ("/patients?" + "&".join(f"{key}={value}" for key, value in form.items()), None) for form in forms
        ]
        for name, forms in searches(house).items()
        if "q" not in forms[0]
    }
    for tab in _TABS:
        found[f"patient: {tab}"] = [(f"/patients/{each}?tab={tab}", None) for each in house.patients]
    found["patient: print sheet"] = [(f"/patients/{each}/sheet", None) for each in house.patients]
    found["instructions"] = [("/instructions", None)]
    found["segments"] = [("/segments", None)]
    with open_work(database, actor=system_actor("bench"), write=False) as work:
        for segment in work.scalars(
            sa.select(Segment).where(Segment.ended_at.is_(None)).order_by(Segment.name).limit(8)
        ):
            found[f"segment: {segment.name}"] = [(f"/segments/{segment.id}", None)]
    return found


def segments(house: House) -> dict[str, dict[str, Any]]:
    """Typical segments, from a narrow one to nearly everybody."""

    def line(field: str, operator: str, *values: object) -> dict[str, Any]:
        return {"field": field, "operator": operator, "values": [str(each) for each in values]}

    diabetes = line("stay.main_diagnosis", "starts_with", "E10-E14")
    alive = line("patient.deceased", "in", "alive")
    elderly = line("patient.age", "at_least", 65)
    inpatient = line("stay.class", "in", "inpatient")
    return {
        "diagnosis, department, 365 days": _all(
            line("stay.main_diagnosis", "starts_with", "J18"),
            line("stay.department", "in", house.departments[0]),
            line("stay.discharged", "within_days", 365),
        ),
        "diagnoses E10-E14": _all(diabetes),
        "inpatients of 30 days": _all(inpatient, line("stay.discharged", "within_days", 30)),
        "aged 65 and more": _all(elderly, alive),
        "dormant": _all(line("patient.life_stage", "in", "dormant"), alive),
        "nearly everybody": _all(alive),
    }


def _all(*lines: dict[str, Any]) -> dict[str, Any]:
    return {"groups": [{"lines": list(lines)}]}
