"""What reaches or identifies a person never lies readable on the disk: canaries sent through the socket are not found.

Names are in clear by design, since they are searched for: that they are found shows that the search can find.
"""

import pytest
import sqlalchemy as sa

from hcrm.core.clock import FixedClock
from hcrm.core.crypto import KeyRing
from hcrm.core.db import Base, Database, inbox_path, sqlite_path
from hcrm.inbox.models import ApplicationState, RefusedMessage
from tests.support.adt import adt
from tests.support.database import SqliteDatabases
from tests.support.hospital import Hospital

PHONE, BUSINESS_PHONE, KIN_PHONE = "13987650001", "057188776655", "13987650003"
CITIZEN, INSURANCE = "110101199003070011", "C77665544"
STREET, MAIL = "琥珀路四十二号", "canary@example.org"
NAME, KIN = "金丝雀", "翠鸟"
SEALED = (
    PHONE[-8:],
    BUSINESS_PHONE[-8:],
    KIN_PHONE[-8:],
    CITIZEN[6:],
    INSURANCE,
    STREET,
    MAIL,
    "|PID|",
    "PID|1|",
)

FIELDS = {
    "p": f"100^^^H1^MR~{CITIZEN}^^^PRC^NI~{INSURANCE}^^^INS^HC",
    "name": NAME,
    "address": f"{STREET}^^杭州市",
    "phone": f"{PHONE}^PRN^CP~^NET^Internet^{MAIL}",
    "PID_14": BUSINESS_PHONE,
    "PID_19": CITIZEN,
    "segments": (f"NK1|1|{KIN}|2|{STREET}|{KIN_PHONE}",),
}
MESSAGES = (
    adt("A01", c=1, **FIELDS),
    adt("A08", c=2, m="10:05", charset="GB 18030-2000", encoding="gb18030", **FIELDS | {"phone": KIN_PHONE}),
    adt("A03", c=3, o="12:00", **FIELDS),
    adt("A08", c=4, m="12:05", **FIELDS | {"name": "王五", "dob": "19551201", "sex": "F"}),  # somebody else
    adt("A08", c=5, m="12:10", encoding="gb18030", **FIELDS),  # not UTF-8, as it says
    adt("A08", c="", m="12:15", **FIELDS),  # refused: no control id
)


def send_all(hospital: Hospital) -> None:
    for raw in MESSAGES:
        hospital.receive(raw)
    assert [state for state, _ in hospital.outcomes()] == [
        *[ApplicationState.APPLIED] * 3, *[ApplicationState.PARKED] * 2]  # fmt: skip
    assert hospital.count(RefusedMessage) == 1


def assert_unreadable(content: bytes) -> None:
    assert NAME.encode() in content
    assert KIN.encode() in content
    for canary in SEALED:
        for encoding in ("utf-8", "gb18030", "utf-16-le"):
            assert canary.encode(encoding) not in content, canary


@pytest.fixture
def clock(clock: FixedClock) -> FixedClock:
    clock.move(hours=13)
    return clock


def test_no_file_of_sqlite_holds_a_canary(sqlite_databases: SqliteDatabases, tmp_path, keys: KeyRing, clock):
    with sqlite_databases.fresh(tmp_path) as url:
        database = Database(url, keys)
        path = sqlite_path(database.url)
        with Hospital(database, clock) as hospital:
            send_all(hospital)
            files = [
                file.with_name(file.name + suffix)
                for file in (path, inbox_path(path))
                for suffix in ("", "-wal")
            ]
            assert all(file.exists() for file in files)
            assert_unreadable(b"".join(file.read_bytes() for file in files))  # while the log is not folded in
        database.dispose()
        assert_unreadable(b"".join(file.read_bytes() for file in tmp_path.iterdir()))


def test_no_column_of_any_table_holds_a_canary(database: Database, clock):
    with Hospital(database, clock) as hospital:
        send_all(hospital)
        with hospital.look() as work:
            rows = [
                str(value).encode() if not isinstance(value, bytes) else value
                for table in Base.metadata.sorted_tables
                for row in work.execute(sa.select(table))
                for value in row
            ]

    assert_unreadable(b"\n".join(rows))


def test_no_log_line_holds_a_canary_or_a_name(database: Database, clock, capfd, caplog):
    with Hospital(database, clock) as hospital:
        send_all(hospital)

    printed = "".join([*capfd.readouterr(), caplog.text])
    assert "mllp.listening" in printed
    for canary in (*SEALED, NAME, KIN):
        assert canary not in printed
