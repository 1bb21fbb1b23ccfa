"""A house where archives are compared: a published rule, people with numbers, and what is decided of pairs."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from hcrm.archive.identity.full_scan import scan_all
from hcrm.archive.identity.models import IdentityPair
from hcrm.archive.identity.scan import scan_changed
from hcrm.archive.models import ContactPoint, IdentifierKind, Patient, PatientIdentifier
from hcrm.archive.names.pinyin import name_pinyin
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.definitions import Definition, publish_definition
from hcrm.core.work import Work, open_work
from tests.support.builders import centre_actor, make_patient, publish_matching

ACTOR = system_actor("test")


@pytest.fixture
def house(database, clock, write):
    """A published rule, and what the tests do with it."""
    write(publish_matching)
    return House(database, clock, write)


class House:
    """Archives, searches through them, and decisions about what was found."""

    def __init__(self, database: Any, clock: Any, write: Callable[..., Any]) -> None:
        self.database, self.clock, self.write = database, clock, write

    def person(
        self, name: str = "王建国", *, phone: str = "", id_number: str = "",
        id_kind: IdentifierKind = IdentifierKind.CITIZEN, **values: Any,
    ) -> str:  # fmt: skip
        def make(work: Work) -> str:
            patient = make_patient(work, name=name, **values)
            patient.name_pinyin, patient.name_initials = name_pinyin(name)
            stamp = {"patient_id": patient.id, "source": "his", "as_of": work.clock.now(), "seq": 1}
            if phone:
                work.add(
                    ContactPoint(
                        id=work.new_id(),
                        system="phone",
                        use="mobile",
                        rank=1,
                        value_sealed=work.keys.seal_text(phone),
                        value_index=work.keys.blind("phone", phone),
                        last4_index="",
                        ended_at=None,
                        **stamp,
                    )
                )
            if id_number:
                work.add(
                    PatientIdentifier(
                        id=work.new_id(),
                        kind=id_kind,
                        authority="",
                        type="NI",
                        value_sealed=work.keys.seal_text(id_number),
                        value_index=work.keys.blind("id", id_number),
                        last4_index="",
                        **stamp,
                    )
                )
            return patient.id

        return self.write(make)

    def scan(self) -> int:
        self.clock.move(seconds=limits.PAIR_SETTLE_SECONDS + 1)
        return scan_changed(self.database, ACTOR, self.clock)

    def scan_all(self, **options: Any) -> int:
        return scan_all(self.database, ACTOR, self.clock, progress=lambda *_: None, **options)

    def pairs(self) -> list[IdentityPair]:
        return self.write(lambda work: list(work.scalars(sa.select(IdentityPair).order_by(IdentityPair.id))))

    def pair(self) -> IdentityPair:
        (pair,) = self.pairs()
        return pair

    def decide(self, act: Callable[..., Any], **values: Any) -> Any:
        pair = self.pair()
        with open_work(self.database, actor=centre_actor(), clock=self.clock) as work:
            return act(work, pair_id=pair.id, **{"version": pair.version, "reason": "核对了证件", **values})

    def touch(self, patient_id: str, **values: Any) -> None:
        def change(work: Work) -> None:
            patient = work.get(Patient, patient_id)
            patient.updated_at = work.clock.now()
            for name, value in values.items():
                setattr(patient, name, value)

        self.write(change)

    def publish(self, version: int, was: str, becomes: str) -> None:
        """The rule with something changed, in force from now on."""
        body = self.write(lambda work: work.one(Definition, Definition.kind == "matching").body)
        assert was in body
        changed = body.replace("version: 1", f"version: {version}").replace(was, becomes)
        self.write(
            lambda work: publish_definition(
                work, kind="matching", code="matching", version=version, body=changed
            )
        )
