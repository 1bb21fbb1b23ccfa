"""Whose death a line tells: only what fits narrowly is applied, whatever is near is a question."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcrm.archive.death_list.match import Claim, Known, judge_claim
from hcrm.archive.death_list.models import NearReason
from hcrm.archive.models import DeceasedState

BORN, OTHER_DAY = date(1950, 3, 1), date(1951, 3, 1)
DIED = date(2026, 11, 20)


def known(key="p1", **values) -> Known:
    base = {
        "name": "张三",
        "birth_date": BORN,
        "id_indexes": frozenset({"i1"}),
        "record_nos": frozenset({"1001"}),
    }
    return Known(key, **{**base, **values})


def claim(**values) -> Claim:
    return Claim(**{"name": "张三", "died_on": DIED, **values})


BY_ID, BY_RECORD = {"id_index": "i1"}, {"record_no": "1001", "birth_date": BORN}
TABLE = [
    (BY_ID, {}, True),
    (BY_RECORD, {}, True),
    ({**BY_ID, "name": "张山"}, {}, NearReason.NAME),
    ({**BY_ID, "birth_date": OTHER_DAY}, {}, NearReason.CONFLICT),
    ({**BY_RECORD, "id_index": "i9"}, {}, NearReason.CONFLICT),
    ({**BY_RECORD, "birth_date": OTHER_DAY}, {}, NearReason.RECORD),
    ({"record_no": "1001"}, {}, NearReason.RECORD),
    ({**BY_RECORD, "name": "张山"}, {}, NearReason.RECORD),
    ({"record_no": "1001", "name": "李四", "birth_date": OTHER_DAY}, {}, None),
    ({"id_index": "i9", "birth_date": BORN}, {}, None),
    ({"id_index": "i9", "birth_date": BORN}, {"id_indexes": frozenset()}, NearReason.NAMESAKE),
    (BY_ID, {"last_visit_on": date(2026, 11, 21)}, NearReason.LATER_VISIT),
    (BY_ID, {"last_visit_on": DIED}, True),
    (BY_ID, {"is_revoked": True}, NearReason.REVOKED),
    (BY_ID, {"deceased": DeceasedState.DISPUTED}, NearReason.DISPUTED),
    (BY_ID, {"deceased": DeceasedState.DECEASED, "is_revoked": True}, True),
]  # fmt: skip


@pytest.mark.parametrize(("said", "archive", "answer"), TABLE)
def test_the_rule_answers_by_the_table(said, archive, answer):
    judged = judge_claim(claim(**said), [known(**archive)])

    if answer is True:
        assert judged.patient is not None
    else:
        assert (judged.patient, judged.reason) == (None, answer)
        assert len(judged.candidates) == (answer is not None)


def test_two_archives_that_fit_are_a_question_and_one_with_that_id_under_another_name_too():
    for other in (known("p2"), known("p2", name="李四", record_nos=frozenset())):
        judged = judge_claim(claim(**BY_ID), [known(), other])

        assert (judged.patient, judged.reason, len(judged.candidates)) == (None, NearReason.SEVERAL, 2)


names, days = st.sampled_from(["张三", "张山", "李四"]), st.sampled_from([BORN, OTHER_DAY, None])
people = st.lists(
    st.builds(
        Known, id=st.sampled_from(["p1", "p2", "p3"]), name=names, birth_date=days,
        id_indexes=st.frozensets(st.sampled_from(["i1", "i2"]), max_size=1),
        record_nos=st.frozensets(st.sampled_from(["1001", "1002"]), max_size=2),
        deceased=st.sampled_from(DeceasedState), is_revoked=st.booleans(),
        last_visit_on=st.sampled_from([None, DIED, date(2026, 11, 21)]),
    ),
    max_size=3, unique_by=lambda one: one.id,
)  # fmt: skip
claims = st.builds(
    Claim, name=names, id_index=st.sampled_from([None, "i1", "i2"]), record_no=st.sampled_from([None, "1001"]),
    birth_date=days, died_on=st.sampled_from([None, DIED]),
)  # fmt: skip


@given(claims, people)
def test_nobody_is_noted_as_dead_whose_name_and_numbers_do_not_all_say_so(said, archives):
    judged = judge_claim(said, archives)

    if judged.patient is None:
        assert (judged.reason is None) == (not judged.candidates)
        return
    one = judged.patient
    assert one.name == said.name
    assert said.id_index in one.id_indexes or (
        said.record_no in one.record_nos and said.birth_date == one.birth_date is not None
    )
    assert not (said.birth_date and one.birth_date and said.birth_date != one.birth_date)
    if one.deceased is not DeceasedState.DECEASED:
        assert (one.deceased, one.is_revoked) == (DeceasedState.ALIVE, False)
        assert not (said.died_on and one.last_visit_on and one.last_visit_on > said.died_on)
    others = [each for each in archives if each.id != one.id]
    assert judge_claim(said, others).patient is None
