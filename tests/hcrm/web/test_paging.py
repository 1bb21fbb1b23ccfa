import base64
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock
from hcrm.core.crypto import KeyRing
from hcrm.core.db import Database, UtcDateTime
from hcrm.core.errors import HcrmError
from hcrm.core.work import Work
from hcrm.web.paging import Page, keyset_page

START = datetime(2026, 11, 22, tzinfo=UTC)


class Table(DeclarativeBase):
    type_annotation_map = {datetime: UtcDateTime}


class Visit(Table):
    __tablename__ = "visit"

    id: Mapped[str] = mapped_column(primary_key=True)
    due_on: Mapped[date]
    seen_at: Mapped[datetime]
    closed_on: Mapped[date | None]


NEWEST_FIRST = (Visit.seen_at.desc(), Visit.id.desc())
MIXED = (Visit.due_on, Visit.seen_at.desc(), Visit.id)
ORDERS = pytest.mark.parametrize("order", [NEWEST_FIRST, MIXED], ids=["one direction", "mixed"])


def visits(days: list[int]) -> list[Visit]:
    """Few different dates, so that pages break in the middle of equal ones."""
    return [
        Visit(id=f"v{i:03}", due_on=date(2026, 11, 1 + d % 3), seen_at=START + timedelta(days=d))
        for i, d in enumerate(days)
    ]


@pytest.fixture(scope="module")
def engine() -> Iterator[sa.Engine]:
    engine = sa.create_engine("sqlite://")
    Table.metadata.create_all(engine)
    yield engine
    engine.dispose()


def work_of(session: Session, keys: KeyRing) -> Work:
    return Work(session, actor=system_actor("test"), clock=FixedClock(START), keys=keys)


def walk(work: Work, order, size: int) -> tuple[list[list[str]], Page]:
    """Every page from the first to the last."""
    page = keyset_page(work, sa.select(Visit), order=order, size=size)
    pages = [page]
    while page.next_key:
        page = keyset_page(work, sa.select(Visit), order=order, key=page.next_key, size=size)
        pages.append(page)
    return [[visit.id for visit in page.items] for page in pages], pages[-1]


@ORDERS
@given(days=st.lists(st.integers(0, 5), max_size=25), size=st.integers(1, 8))
def test_walking_forward_and_back_shows_every_row_once_in_order(engine, keys, order, days, size):
    with Session(engine) as session:
        session.add_all(visits(days))
        session.flush()
        work = work_of(session, keys)
        forward, last = walk(work, order, size)
        back, page = [], last
        while page.previous_key:
            page = keyset_page(work, sa.select(Visit), order=order, key=page.previous_key, size=size)
            back.append([visit.id for visit in page.items])
        expected = [visit.id for visit in session.scalars(sa.select(Visit).order_by(*order))]

    assert [key for page in forward for key in page] == expected
    assert all(len(page) == size for page in forward[:-1])
    assert back == forward[-2::-1]


def test_pages_work_on_both_databases(blank_database_url, keys):
    database = Database(blank_database_url, keys)
    Table.metadata.create_all(database.writer)
    with Session(database.writer) as session:
        session.add_all(visits([0, 0, 1, 1, 2]))
        session.flush()
        work = work_of(session, keys)
        newest, _ = walk(work, NEWEST_FIRST, 2)
        mixed, _ = walk(work, MIXED, 2)
    database.dispose()

    assert newest == [["v004", "v003"], ["v002", "v001"], ["v000"]]
    assert mixed == [["v000", "v001"], ["v002", "v003"], ["v004"]]


def test_rows_that_arrive_meanwhile_move_no_other_row_to_another_page(engine, keys):
    with Session(engine) as session:
        work = work_of(session, keys)
        session.add_all(visits([1, 2, 3, 4]))
        session.flush()
        first = keyset_page(work, sa.select(Visit), order=NEWEST_FIRST, size=2)
        session.add(Visit(id="new", due_on=date(2026, 11, 1), seen_at=START + timedelta(days=9)))
        session.flush()
        second = keyset_page(work, sa.select(Visit), order=NEWEST_FIRST, key=first.next_key, size=2)

    assert [visit.id for visit in second.items] == ["v001", "v000"]


def test_a_page_whose_rows_are_gone_falls_back_to_the_first(engine, keys):
    with Session(engine) as session:
        work = work_of(session, keys)
        session.add_all(visits([1, 2, 3]))
        session.flush()
        first = keyset_page(work, sa.select(Visit), order=NEWEST_FIRST, size=2)
        session.execute(sa.delete(Visit).where(Visit.id == "v000"))
        again = keyset_page(work, sa.select(Visit), order=NEWEST_FIRST, key=first.next_key, size=2)

    assert [visit.id for visit in again.items] == ["v002", "v001"]
    assert again.previous_key is None


def test_a_statement_of_columns_yields_rows_with_their_names(engine, keys):
    with Session(engine) as session:
        session.add_all(visits([1]))
        session.flush()
        statement = sa.select(Visit.id, Visit.due_on.label("due"))
        page = keyset_page(work_of(session, keys), statement, order=NEWEST_FIRST)

    assert (page.items[0].id, page.items[0].due) == ("v000", date(2026, 11, 2))


def forged(*parts: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "key",
    [
        "x", "%%%", "张", forged(), forged("n"), forged("z", START.isoformat(), "v1"),
        forged("n", 5, "v1"), forged("n", "not a time", "v1"), forged("n", START.isoformat(), 7),
        forged("n", START.isoformat(), "nul\x00"), forged("n", "0001-01-01T00:00:00+14:00", "v1"),
        forged("n", START.isoformat(), "v1", "more"), forged({"n": 1}),
    ],
)  # fmt: skip
def test_a_key_that_was_tampered_with_is_refused_in_words(engine, keys, key):
    with Session(engine) as session, pytest.raises(HcrmError) as refused:
        keyset_page(work_of(session, keys), sa.select(Visit), order=NEWEST_FIRST, key=key)

    assert (refused.value.code, refused.value.status) == ("page.key", 400)


@given(st.text(max_size=60))
def test_no_text_in_place_of_a_key_breaks_the_list(engine, keys, key):
    with Session(engine) as session, suppress(HcrmError):
        keyset_page(work_of(session, keys), sa.select(Visit), order=NEWEST_FIRST, key=key)


def test_a_column_that_may_be_empty_cannot_order_a_list(engine, keys):
    with Session(engine) as session, pytest.raises(TypeError, match="may be NULL"):
        keyset_page(work_of(session, keys), sa.select(Visit), order=(Visit.closed_on, Visit.id))
