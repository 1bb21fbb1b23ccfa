import sqlalchemy as sa

from hcrm.core.work import Work
from hcrm.segments.time_limit import within
from tests.support.builders import make_patient

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(*) FROM n"


def test_a_statement_that_takes_too_long_is_broken_off_and_the_work_goes_on(work: Work):
    patient = make_patient(work)

    assert within(work, 0.05, lambda: work.scalar(sa.text(ENDLESS))) is None
    assert within(work, 20, lambda: work.scalar(sa.text("SELECT 7"))) == 7

    assert work.get(type(patient), patient.id) is patient
    assert work.scalar(sa.text("SELECT count(*) FROM patient")) == 1
