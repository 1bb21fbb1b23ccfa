"""Rows with believable defaults: a test names only what it is about."""

import itertools
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import yaml

from hcrm.accounts.models import Account, Role
from hcrm.archive.events import EncounterDischarged
from hcrm.archive.models import Address, DeceasedState, Patient, Sex
from hcrm.archive.names.tokens import keep_names
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
from hcrm.centre.events import EncounterClassified
from hcrm.centre.models import Instruction, InstructionState, ReviewPolicy
from hcrm.core.actor import Actor
from hcrm.core.clock import local_date
from hcrm.core.definitions import publish_definition
from hcrm.core.paths import config_path
from hcrm.core.work import Work
from hcrm.directory.models import Department, Practitioner

_number = itertools.count(1)
SOURCE = "test"


# ── directory and accounts ──────────────────────────────────────────────────


def make_department(
    work: Work, *, name: str = "内科", specialty_code: str | None = None, head: Practitioner | None = None,
    code: str = "",
) -> Department:  # fmt: skip
    department = Department(
        id=work.new_id(), code=code or f"D{next(_number)}", name=name, specialty_code=specialty_code,
        head_id=head.id if head else None, is_verified=True, created_at=work.clock.now(),
    )  # fmt: skip
    work.add(department)
    return department


def make_practitioner(
    work: Work, *, name: str = "李大夫", department: Department | None = None, has_account: bool = True,
    code: str = "",
) -> Practitioner:  # fmt: skip
    """A physician; with an account they can be given instructions."""
    practitioner = Practitioner(
        id=work.new_id(), code=code or f"P{next(_number)}", name=name, title=None,
        department_id=department.id if department else None, is_verified=True, created_at=work.clock.now(),
    )  # fmt: skip
    work.add(practitioner)
    if has_account:
        make_account(work, practitioner=practitioner, department=department)
    return practitioner


def make_account(
    work: Work,
    *,
    username: str | None = None,
    practitioner: Practitioner | None = None,
    department: Department | None = None,
    roles: Sequence[Role] = (),
    active: bool = True,
    password: str = "not a hash",
) -> Account:
    account = Account(
        id=work.new_id(), username=username or f"u{next(_number)}",
        display_name=practitioner.name if practitioner else "测试人员", password=password, active=active,
        fs_uniquifier=work.new_id(), must_change_password=False,
        department_id=department.id if department else None,
        practitioner_id=practitioner.id if practitioner else None, created_at=work.clock.now(),
        roles=list(roles),
    )  # fmt: skip
    work.add(account)
    return account


def actor_of(
    practitioner: Practitioner, *departments: Department, permissions: Sequence[str] = ("*",)
) -> Actor:
    """The physician signed in, with these departments as row scope."""
    return Actor(
        id=f"account:{practitioner.code}", name=practitioner.name, permissions=frozenset(permissions),
        roles=("physician",), department_ids=frozenset(one.id for one in departments),
        practitioner_id=practitioner.id,
    )  # fmt: skip


def centre_actor(name: str = "客服王敏") -> Actor:
    """Somebody of the service centre: every department."""
    return Actor(
        id="account:centre",
        name=name,
        permissions=frozenset("*"),
        roles=("service_centre",),
        department_ids=None,
    )


# ── archive ─────────────────────────────────────────────────────────────────


def make_patient(
    work: Work,
    *,
    name: str = "张三",
    sex: Sex = Sex.MALE,
    birth_date: date | None = date(1966, 3, 7),
    deceased: DeceasedState = DeceasedState.ALIVE,
    region_code: str | None = None,
) -> Patient:
    now = work.clock.now()
    patient = Patient(
        id=work.new_id(),
        name=name,
        name_pinyin="zhangsan",
        name_initials="zs",
        sex=sex,
        birth_date=birth_date,
        deceased=deceased,
        deceased_at=None,
        marital_status=None,
        merged_into_id=None,
        is_stub=False,
        is_nullified=False,
        provenance={},
        created_at=now,
        updated_at=now,
    )
    work.add(patient)
    keep_names(work, {patient.id: name})
    if region_code:
        work.add(
            Address(
                id=work.new_id(),
                patient_id=patient.id,
                use="home",
                rank=1,
                region_code=region_code,
                text_sealed=work.keys.seal_text("某路 1 号"),
                source=SOURCE,
                as_of=now,
                seq=1,
                ended_at=None,
            )
        )
    return patient


def make_encounter(
    work: Work,
    *,
    patient: Patient | None = None,
    department: Department | None = None,
    attending: Practitioner | None = None,
    encounter_class: EncounterClass = EncounterClass.INPATIENT,
    discharged_at: datetime | None = datetime(2026, 11, 20, 2, tzinfo=UTC),
    way: DischargeWay = DischargeWay.BY_ORDER,
    diagnoses: Sequence[str] = ("K35.900",),
    procedures: Sequence[str] = (),
    source: str = SOURCE,
) -> Encounter:
    """A stay; finished unless `discharged_at` is None."""
    now = work.clock.now()
    patient = patient or make_patient(work)
    encounter = Encounter(
        id=work.new_id(),
        patient_id=patient.id,
        authority="H1",
        visit_no=f"V{next(_number)}",
        source=source,
        encounter_class=encounter_class,
        class_text=None,
        status=EncounterStatus.IN_PROGRESS,
        admitted_at=(discharged_at or now) - timedelta(days=6),
        discharged_at=None,
        discharge_id=None,
        discharge_way=way,
        discharge_way_text=None,
        department_id=department.id if department else None,
        attending_id=attending.id if attending else None,
        location=None,
        provenance={},
        created_at=now,
        updated_at=now,
    )
    work.add(encounter)
    common = {
        "encounter_id": encounter.id,
        "patient_id": patient.id,
        "source": SOURCE,
        "as_of": now,
        "seq": 1,
    }
    for rank, code in enumerate(diagnoses, start=1):
        work.add(
            Diagnosis(
                id=work.new_id(),
                rank=rank,
                is_main=rank == 1,
                code=code,
                text=f"诊断 {code}",
                system="",
                kind="F",
                ended_at=None,
                **common,
            )
        )
    for rank, code in enumerate(procedures, start=1):
        work.add(
            Procedure(
                id=work.new_id(),
                rank=rank,
                code=code,
                text=f"手术 {code}",
                system="",
                performed_at=None,
                performed_on=None,
                ended_at=None,
                **common,
            )
        )
    if discharged_at is not None:
        discharge(work, encounter, at=discharged_at)
    return encounter


def discharge(work: Work, encounter: Encounter, *, at: datetime) -> VisitEvent:
    """End the stay, as the archive does when the message comes."""
    event = VisitEvent(
        id=work.new_id(), encounter_id=encounter.id, kind=VisitEventKind.DISCHARGE, happened_at=at,
        precision="second", told_at=at, data={}, source=SOURCE, seq=next(_number), reversed_by_id=None,
    )  # fmt: skip
    work.add(event)
    encounter.status = EncounterStatus.FINISHED
    encounter.discharged_at = at
    encounter.discharge_id = event.id
    work.session.flush()
    return event


def cancel_discharge(work: Work, encounter: Encounter) -> str:
    """The patient is in bed again; the key of the discharge that no longer stands."""
    trigger_id = encounter.discharge_id
    assert trigger_id is not None
    encounter.status = EncounterStatus.IN_PROGRESS
    encounter.discharged_at = encounter.discharge_id = None
    work.session.flush()
    return trigger_id


def discharged(encounter: Encounter) -> EncounterDischarged:
    assert encounter.discharge_id is not None
    return EncounterDischarged(encounter_id=encounter.id, trigger_id=encounter.discharge_id)


def classified(encounter: Encounter) -> EncounterClassified:
    assert encounter.discharge_id is not None
    return EncounterClassified(encounter_id=encounter.id, trigger_id=encounter.discharge_id)


# ── definitions ─────────────────────────────────────────────────────────────


def publish_form(work: Work, *, code: str = "test.call", version: int = 1, **changes: Any) -> str:
    """A short form: pain 0 to 10 and temperature required, a remark; fever is a red flag."""
    body = {
        "code": code, "version": version, "status": "draft", "title": "电话随访",
        "items": [
            {"code": "pain", "text": "疼痛几分？", "type": "scale", "required": True},
            {"code": "temperature", "text": "体温多少？", "label": "体温", "type": "number", "unit": "℃",
             "minimum": 34, "maximum": 43, "decimals": 1, "required": True},
            {"code": "remark", "text": "其他", "type": "text"},
        ],
        "flags": [
            {"code": "fever", "level": "R2", "when": {"item": "temperature", "at_least": 38.5},
             "says": "当日联系医师"},
        ],
        **changes,
    }  # fmt: skip
    publish_definition(work, kind="form", code=code, version=version, body=_yaml(body))
    return code


def publish_protocol(
    work: Work,
    *,
    code: str = "test.discharge",
    version: int = 1,
    title: str = "出院随访",
    steps: Sequence[dict[str, Any]] = (),
    form: str = "test.call",
    **changes: Any,
) -> str:
    """A fallback protocol with one call after a week (days 5 to 12) unless told otherwise."""
    body: dict[str, Any] = {
        "code": code, "version": version, "status": "draft", "title": title, "kind": "clinical",
        "counts_from": "discharged_at", "steps": [step(form=form, **one) for one in steps or ({},)],
    }  # fmt: skip
    if "applies_when" not in changes:
        body["fallback"] = True
    publish_definition(work, kind="protocol", code=code, version=version, body=_yaml(body | changes))
    return code


def step(**changes: Any) -> dict[str, Any]:
    return {
        "code": "day7", "title": "出院一周电话随访", "due_after_days": 7, "opens_before_days": 2,
        "closes_after_days": 5, "assign_to": "attending", "channel": "phone", **changes,
    }  # fmt: skip


def publish_rules(work: Work) -> None:
    """One rule per axis: E11 is diabetes, I63 a stroke, everything else 未分类."""
    rules: dict[str, list[tuple[str, str, str, list[dict[str, Any]]]]] = {
        "specialty": [("internal", "03", "内科", [{"fact": "department.name", "contains": ["内科"]}])],
        "disease_group": [
            ("e11", "diabetes", "糖尿病", [{"fact": "diagnosis.code", "starts_with": ["E11"]}]),
            ("i63", "stroke", "脑卒中", [{"fact": "diagnosis.code", "starts_with": ["I63"]}]),
        ],
        "region": [("near", "local", "本县", [{"fact": "region.relation", "is": "same_county"}])],
    }
    for axis, lines in rules.items():
        body = {
            "code": axis, "version": 1, "status": "draft", "title": axis, "several": axis == "disease_group",
            "rules": [
                {"code": code, "gives": gives, "label": label, "when": when} for code, gives, label, when in lines
            ],
        }  # fmt: skip
        publish_definition(work, kind="classification", code=axis, version=1, body=_yaml(body))


def publish_shipped(work: Work) -> None:
    """Everything in `config/` as `hcrm init` publishes it."""
    for kind, folder in (("classification", "classification"), ("form", "forms"), ("protocol", "protocols")):
        for path in sorted(config_path(folder).glob("*.yaml")):
            body = path.read_text(encoding="utf-8")
            head = yaml.safe_load(body)
            publish_definition(work, kind=kind, code=head["code"], version=head["version"], body=body)
    publish_fields(work)
    publish_matching(work)


def publish_matching(work: Work) -> None:
    """The shipped rule of who may be the same person."""
    body = config_path("matching.yaml").read_text(encoding="utf-8")
    publish_definition(work, kind="matching", code="matching", version=1, body=body)


def publish_fields(work: Work) -> None:
    """The fields of the archive as they are shipped."""
    body = config_path("fields.yaml").read_text(encoding="utf-8")
    publish_definition(work, kind="fields", code="fields", version=yaml.safe_load(body)["version"], body=body)


def _yaml(body: dict[str, Any]) -> str:
    return yaml.safe_dump(body, allow_unicode=True, sort_keys=False)


# ── instructions ────────────────────────────────────────────────────────────


def make_instruction(
    work: Work,
    *,
    encounter: Encounter | None = None,
    assignee: Practitioner | None = None,
    state: InstructionState = InstructionState.ISSUED,
    due_on: date | None = None,
    opens_before: int = 2,
    closes_after: int = 5,
    review_policy: ReviewPolicy = ReviewPolicy.FLAGS,
    sample_percent: int = 0,
    **values: Any,
) -> Instruction:
    """An instruction due today, answered with the form of `publish_form`."""
    encounter = encounter or make_encounter(work)
    due = due_on or local_date(work.clock.now())
    instruction = Instruction(
        **{
            "id": work.new_id(),
            "patient_id": encounter.patient_id,
            "encounter_id": encounter.id,
            "trigger_id": encounter.discharge_id,
            "protocol_code": "test.discharge",
            "protocol_version": 1,
            "protocol_title": "出院随访",
            "step_code": f"step{next(_number)}",
            "title": "出院一周电话随访",
            "channel": "phone",
            "form_code": "test.call",
            "form_version": 1,
            "review_policy": review_policy,
            "sample_percent": sample_percent,
            "department_id": encounter.department_id,
            "assignee_id": assignee.id if assignee else None,
            "state": state,
            "opens_on": due - timedelta(days=opens_before),
            "due_on": due,
            "closes_on": due + timedelta(days=closes_after),
            "issued_at": work.clock.now(),
            **values,
        }
    )
    work.add(instruction)
    return instruction
