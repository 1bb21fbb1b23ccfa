from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from hcrm.audit.models import AuditEvent, AuditOutcome
from hcrm.core.definitions import Definition
from hcrm.core.events import Event
from hcrm.core.work import Work


def event(work: Work, **changes: object) -> dict[str, object]:
    return {
        "id": work.new_id(), "kind": "Test", "payload": {"名": "值"}, "recorded_at": work.clock.now(), **changes,
    }  # fmt: skip


def test_rows_come_back_as_they_were_given(work: Work):
    at = datetime(2026, 11, 22, 23, 59, 59, 123456, tzinfo=UTC)
    row = event(work, recorded_at=at, payload={"a": [1, None, "引'号"]})

    work.insert(Event, [row])

    found = work.one(Event)
    assert (found.id, found.recorded_at, found.payload) == (row["id"], at, row["payload"])


def test_a_column_nobody_named_gets_its_default(work: Work):
    work.insert(Event, [event(work), event(work)])

    assert work.scalars(sa.select(Event.is_delivered)) == [False, False]


def test_a_naive_moment_is_refused(work: Work):
    with pytest.raises(ValueError, match="naive"):
        work.insert(Event, [event(work, recorded_at=datetime(2026, 11, 22))])  # noqa: DTZ001  the mistake itself


def test_rows_may_leave_what_others_fill(work: Work):
    common = {"happened_at": work.clock.now(), "actor_id": "a", "actor_name": "甲", "action": "test"}
    empty = {
        "outcome": AuditOutcome.DONE,
        "subject_type": None,
        "subject_id": None,
        "address": None,
        "detail": None,
    }
    full = {
        "outcome": AuditOutcome.DENIED,
        "subject_type": "x",
        "subject_id": "y",
        "address": "z",
        "detail": {"n": 1},
    }

    work.insert(AuditEvent, [{"id": work.new_id(), **common, **one} for one in (empty, full)])

    found = work.scalars(sa.select(AuditEvent).order_by(AuditEvent.id))
    assert [(row.outcome, row.detail) for row in found] == [
        (AuditOutcome.DONE, None),
        (AuditOutcome.DENIED, {"n": 1}),
    ]


def test_insert_new_tells_which_keys_went_in_and_leaves_the_others_alone(work: Work):
    def definition(code: str, body: str) -> dict[str, object]:
        return {
            "id": work.new_id(), "kind": "form", "code": code, "version": 1, "body": body, "sha256": "",
            "state": "published", "published_by": None, "published_at": None,
        }  # fmt: skip

    first, again, other = definition("a", "first"), definition("a", "again"), definition("b", "other")

    assert work.insert_new(Definition, [first]) == [first["id"]]
    assert work.insert_new(Definition, [again, other]) == [other["id"]]
    assert work.insert_new(Definition, [again]) == []

    assert sorted(work.scalars(sa.select(Definition.body))) == ["first", "other"]


def test_insert_new_does_not_take_a_key_that_stood_before_for_its_own(work: Work):
    row = event(work)
    work.insert(Event, [row])

    assert work.insert_new(Event, [row]) == []
