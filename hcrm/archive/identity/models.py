"""Tables of who may be whom: pairs of archives, what was decided of them, how far the search for them has come."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base, Id, LabelledEnum


class PairState(LabelledEnum):
    """What became of a pair."""

    OPEN = "open", "待核对"
    NEEDS_DATA = "needs_data", "待补资料"
    NOT_SAME = "not_same", "不是同一人"
    MERGED = "merged", "已合并"


UNDECIDED = (PairState.OPEN, PairState.NEEDS_DATA)


class IdentityPair(Base):
    """Two archives that may be one person (疑似重复), with why. One row a pair: `low_id` is the smaller key.

    It keeps the ids as they were: of a merged archive nothing is asked until the merge is undone.
    """

    __tablename__ = "identity_pair"
    __table_args__ = (
        UniqueConstraint("low_id", "high_id"),
        Index("ix_identity_pair_state", "state", "score", "id"),
        Index("ix_identity_pair_high", "high_id"),
    )
    id: Mapped[Id]
    low_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    high_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    score: Mapped[int]
    evidence: Mapped[list[Any]]  # [field, outcome, points] each
    fingerprint: Mapped[str]  # of the evidence: what was decided stands until it changes
    rule_version: Mapped[int]
    state: Mapped[PairState]
    note: Mapped[str | None]  # of the last decision
    decided_by: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    found_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(default=1)

    __mapper_args__ = {"version_id_col": version}


class PairDecision(Base):
    """One decision about a pair: who, when, why, and on what evidence. Append-only."""

    __tablename__ = "identity_pair_decision"
    __table_args__ = (Index("ix_identity_pair_decision_actor", "actor_id", "decided_at"),)
    id: Mapped[Id]
    pair_id: Mapped[str] = mapped_column(ForeignKey("identity_pair.id"), index=True)
    before: Mapped[PairState]
    after: Mapped[PairState]
    score: Mapped[int]
    note: Mapped[str]
    merge_id: Mapped[str | None] = mapped_column(ForeignKey("patient_merge.id"))
    actor_id: Mapped[str]
    actor_name: Mapped[str]
    decided_at: Mapped[datetime]


class IdentityScan(Base):
    """How far a search for pairs has come: `changed` (every few minutes) and `full` (asked for by people)."""

    __tablename__ = "identity_scan"
    kind: Mapped[str] = mapped_column(primary_key=True)
    cursor_at: Mapped[datetime | None]  # the archives changed up to here are done
    cursor_id: Mapped[str]
    handled: Mapped[int]  # archives of this run
    found: Mapped[int]  # pairs of this run that were new or are asked again
    shared: Mapped[int]  # values of this run that too many archives have
    rule_version: Mapped[int]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    started_by_name: Mapped[str] = mapped_column(default="")
    lease: Mapped[str | None]  # of `full`: which process works on it
    leased_until: Mapped[datetime | None]


class OwnNumber(Base):
    """Record numbers given here, one after the other; the number is the row's key and is never given twice."""

    __tablename__ = "own_number"
    __table_args__ = {"sqlite_autoincrement": True}
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    given_at: Mapped[datetime]
