"""The table by which patients are found by their names."""

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base

PART = "p"
"""A character of the name, or two that stand side by side."""
SPELLING = "s"
"""How the whole name is spelled: its pinyin or its initials, in one reading."""

# By bytes on both databases: the beginning of a spelling is a range, which a language's own order would tear apart.
_BY_BYTES = Text().with_variant(Text(collation="C"), "postgresql")


class NameToken(Base):
    """A piece of a patient's name (姓名检索词). Follows from `patient.name` alone; `hcrm names rebuild` makes all anew.

    A tombstone keeps its own: it still has its name, and no search shows it.
    """

    __tablename__ = "name_token"
    __table_args__ = (
        Index("ix_name_token_patient", "patient_id", "kind", "token"),
        {"sqlite_with_rowid": False},
    )
    kind: Mapped[str] = mapped_column(String(1), primary_key=True)
    token: Mapped[str] = mapped_column(_BY_BYTES, primary_key=True)
    patient_id: Mapped[str] = mapped_column(String(32), ForeignKey("patient.id"), primary_key=True)
