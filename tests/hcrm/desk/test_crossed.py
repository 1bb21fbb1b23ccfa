"""Two who change the same patients at once: nobody sees a fault, and nothing is done twice."""

import io
import threading

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from hcrm.archive.identity.models import IdentityPair
from hcrm.archive.models import Patient, PatientMerge
from hcrm.archive.reach_models import DeathReport
from hcrm.core.db import Database
from tests.hcrm.desk.test_identity_pairs import pair, version

__all__ = ["pair"]


class Crossed(Exception):
    sqlstate = "40P01"


@pytest.fixture
def zhang(ward, write):
    return write(lambda work: work.one(Patient, Patient.name == "张建国").id)


@pytest.fixture
def cross(monkeypatch):
    """Let so many works of an act meet another's, at their very end."""
    from hcrm.archive import death

    act, calls = death.record_death, []

    def once_more(often):
        def crossed(work, **options):
            calls.append(options)
            done = act(work, **options)
            if len(calls) <= often:
                raise OperationalError("UPDATE", {}, Crossed())
            return done

        monkeypatch.setattr(death, "record_death", crossed)
        return calls

    return once_more


def test_an_act_that_met_another_is_repeated_once_and_done_once(zhang, cross, browser_of, write):
    calls = cross(1)
    wang = browser_of("wang")

    answer = wang.post(f"/patients/{zhang}/death", {"told_by": "女儿来电"}, follow_redirects=True)

    assert (answer.status_code, len(calls)) == (200, 2)
    assert answer.text.count(f'data-undo="/patients/{zhang}/death/') == 1
    assert len(write(lambda work: work.all(DeathReport))) == 1


def test_an_act_that_meets_another_again_asks_to_be_tried_again_and_keeps_what_was_typed(
    zhang, cross, browser_of, write
):
    calls = cross(9)
    wang = browser_of("wang")

    answer = wang.post(f"/patients/{zhang}/death", {"told_by": "女儿来电", "note": "昨夜在家中"})

    assert (answer.status_code, len(calls)) == (409, 2)
    assert "请再试一次" in answer.text
    assert "昨夜在家中" in answer.text
    assert write(lambda work: work.all(DeathReport)) == []


def test_an_act_with_a_file_is_not_repeated(zhang, cross, browser_of):
    calls = cross(9)

    answer = browser_of("wang").post(
        f"/patients/{zhang}/death", {"told_by": "女儿来电", "file": (io.BytesIO(b"x"), "x.txt")}
    )

    assert (answer.status_code, len(calls), "请再试一次" in answer.text) == (409, 1, True)


def test_a_merge_that_locks_two_archives_against_somebody_else_goes_through(
    pair, database: Database, browser_of, write
):
    """Another session holds the one and wants the other, as a batch of messages may."""
    if database.is_sqlite:
        pytest.skip("one writer at a time: nobody waits for somebody who waits")
    row = write(lambda work: work.get(IdentityPair, pair))
    wang, answers = browser_of("wang"), []
    shown = version(wang.get(f"/identity/pairs/{pair}/merge?keep=low"))
    fields = {"version": shown, "keep": "low", "reason": "证件号相同"}
    lock = sa.select(Patient.id).with_for_update()
    other = database.main.connect()
    with other, other.begin():
        other.execute(sa.text("SET LOCAL deadlock_timeout = '60s'"))  # so that the merge is the one given up
        other.execute(lock.where(Patient.id == row.high_id))
        thread = threading.Thread(
            target=lambda: answers.append(wang.post(f"/identity/pairs/{pair}/merge", fields))
        )
        thread.start()
        _wait_for_a_waiter(database)
        other.execute(lock.where(Patient.id == row.low_id))
    thread.join(20)

    assert answers[0].status_code == 303
    assert len(write(lambda work: work.all(PatientMerge))) == 1


def _wait_for_a_waiter(database: Database) -> None:
    waiting = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    for _ in range(200):
        with database.main.connect() as connection:
            if connection.scalar(waiting):
                return
        threading.Event().wait(0.02)
    raise AssertionError("nobody waits")
