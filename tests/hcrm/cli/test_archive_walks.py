"""Commands that go through every archive: `hcrm segments rebuild`, `hcrm identity scan`."""

import sqlalchemy as sa
from click.testing import CliRunner

from hcrm.cli.main import main
from hcrm.core import limits
from hcrm.segments.models import PatientProfile
from tests.support.builders import make_patient, publish_matching


def test_they_tell_how_far_they_are_and_what_came_of_it(database, database_url, write, monkeypatch):
    monkeypatch.setattr("hcrm.cli.segments.open_database", lambda _: database)
    monkeypatch.setattr("hcrm.cli.identity.open_database", lambda _: database)
    monkeypatch.setattr(limits, "PROFILE_BATCH", 2)
    write(publish_matching)
    for name in ("赵小青", "钱一", "孙二"):
        write(lambda work, name=name: make_patient(work, name=name).id)

    rebuilt = CliRunner().invoke(main, ["segments", "rebuild", "--db", database_url])
    scanned = CliRunner().invoke(main, ["identity", "scan", "--db", database_url])

    assert rebuilt.exit_code == scanned.exit_code == 0
    assert "已完成 2 位" in rebuilt.output
    assert "已重新生成 3 位" in rebuilt.output
    assert write(lambda work: work.scalar(sa.select(sa.func.count(PatientProfile.id)))) == 3
    assert "已比对 3 / 3 份档案" in scanned.output
