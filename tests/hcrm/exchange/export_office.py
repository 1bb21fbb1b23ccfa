"""For tests of lists taken out: people with accounts, and the machine that writes their files."""

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest

from hcrm.accounts.models import Account
from hcrm.accounts.queries import actor_for
from hcrm.app.wiring import exportables
from hcrm.archive.models import ContactPoint, Patient
from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.work import Work, open_work
from hcrm.exchange import exports as acts
from hcrm.exchange.export_models import ExportPurpose, ExportRequest
from hcrm.exchange.exports import Wish
from tests.support.builders import make_patient
from tests.support.console import MakePerson

COLUMNS = ("name", "record_no", "phone")


class Office:
    """People with accounts, and the machine that writes their files."""

    def __init__(self, database: Database, clock: FixedClock, make_person: MakePerson) -> None:
        self.database, self.clock, self.make_person = database, clock, make_person

    def as_person(self, account: Account, act: Callable[[Work], Any]) -> Any:
        with open_work(self.database, actor=self.actor(account), clock=self.clock) as work:
            return act(work)

    def actor(self, account: Account) -> Any:
        with open_work(self.database, actor=system_actor("test"), clock=self.clock, write=False) as work:
            return actor_for(work, work.get(Account, account.id))

    def ask(self, account: Account, **changes: Any) -> ExportRequest:
        wish = Wish(
            **{
                "kind": "patients", "asked": {}, "columns": COLUMNS, "file_form": "csv",
                "purpose": ExportPurpose.REPORT,
                "purpose_text": "季度上报", "is_clear": False, "clear_reason": "", **changes,
            }
        )  # fmt: skip
        return self.as_person(
            account, lambda work: acts.request_export(work, exportables=exportables(), wish=wish)
        )

    def approve(self, account: Account, request: ExportRequest) -> ExportRequest:
        return self.as_person(
            account, lambda work: acts.decide_export(work, request_id=request.id, is_approved=True, note="")
        )

    def build(self) -> None:
        while acts.build_exports(self.database, self.clock, exportables()):
            pass

    def fetch(self, account: Account, request: ExportRequest) -> bytes:
        return self.as_person(account, lambda work: acts.fetch_export(work, request_id=request.id))[1]

    def lines(self, account: Account, request: ExportRequest) -> list[list[str]]:
        return list(csv.reader(io.StringIO(self.fetch(account, request).decode("utf-8-sig"))))

    def standing(self, request: ExportRequest) -> ExportRequest:
        with open_work(self.database, actor=system_actor("test"), clock=self.clock) as work:
            return work.get(ExportRequest, request.id)


@pytest.fixture
def office(database: Database, clock: FixedClock, make_person: MakePerson) -> Office:
    return Office(database, clock, make_person)


def patient(work: Work, name: str = "张三", phone: str = "+8613800138000") -> Patient:
    made = make_patient(work, name=name)
    keys = work.keys
    work.add(
        ContactPoint(
            id=work.new_id(), patient_id=made.id, system="phone", use="mobile", rank=1,
            value_sealed=keys.seal_text(phone), value_index=keys.blind("phone", phone),
            last4_index=keys.blind("phone4", phone[-4:]), source="his", as_of=work.clock.now(), seq=1,
        )
    )  # fmt: skip
    return made
