"""What one installation knows of itself: so far, the mark by which it knows its key file."""

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.crypto import KeyRing
from hcrm.core.db import Base, Database, table_of
from hcrm.core.errors import HcrmError
from hcrm.core.work import Work


class Installation(Base):
    """One row, written by `hcrm init`."""

    __tablename__ = "installation"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key_mark: Mapped[bytes]  # sealed by the data key: a fingerprint by the index key


def ensure_key_mark(work: Work) -> None:
    """Let the database know its keys from now on; a mark that stands is left alone."""
    if work.session.get(Installation, 1) is None:
        work.add(Installation(id=1, key_mark=work.keys.seal_text(_fingerprint(work.keys))))


def require_own_keys(database: Database, *, may_be_new: bool = False) -> None:
    """Refuse keys with which this database was not sealed: what they write nobody could read beside what stands."""
    with database.main.connect() as connection:
        is_there = sa.inspect(connection).has_table(Installation.__tablename__)
        mark = connection.scalar(sa.select(table_of(Installation).c.key_mark)) if is_there else None
    if mark is None:
        if not may_be_new:
            raise HcrmError("db.uninitialised", "数据库尚未初始化完成，请先运行 hcrm init")
        return
    try:
        is_own = database.keys.open_text(mark) == _fingerprint(database.keys)
    except (HcrmError, InvalidTag):
        is_own = False
    if not is_own:
        raise HcrmError("key.wrong", "密钥文件与数据库不符：不是此数据库所用的那一个，请检查 HCRM_KEY_FILE")


def _fingerprint(keys: KeyRing) -> str:
    return keys.blind("key-mark", "hcrm")
