"""Tables of the service centre: how a stay is classified, what was instructed and what became of it."""

from datetime import date, datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, and_, bindparam, false, text
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base, Id, LabelledEnum


class Classification(Base):
    """What a stay belongs to on one axis (患者分类), with the rule that said so. FHIR: Group."""

    __tablename__ = "classification"
    __table_args__ = (
        UniqueConstraint("encounter_id", "axis", "code"),
        Index("ix_classification_code", "axis", "code", "encounter_id", "is_sensitive"),
        Index(
            "ix_classification_department", "axis", "code", "department_id", "encounter_id", "is_sensitive"
        ),
    )
    id: Mapped[Id]
    encounter_id: Mapped[str] = mapped_column(ForeignKey("encounter.id"))
    department_id: Mapped[str | None]  # the stay's: a class within a department is one range of an index
    axis: Mapped[str]  # specialty, disease_group, region
    code: Mapped[str]
    label: Mapped[str]
    rank: Mapped[int]  # 0: by the main diagnosis
    rule_code: Mapped[str]
    rule_version: Mapped[int]
    is_sensitive: Mapped[bool] = mapped_column(default=False)  # restricted view, never named in a message
    is_provisional: Mapped[bool] = mapped_column(
        default=False, server_default=false()
    )  # no discharge triggered it
    classified_at: Mapped[datetime]


class InstructionState(LabelledEnum):
    """Life of an instruction (指令状态). FHIR: Task.status as written in docs/vocabulary.md."""

    ISSUED = "issued", "已下达"
    ACCEPTED = "accepted", "已接收"
    IN_PROGRESS = "in_progress", "执行中"
    IN_REVIEW = "in_review", "待审核"
    COMPLETED = "completed", "已完成"
    RETURNED = "returned", "已退回"
    WITHDRAWN = "withdrawn", "已撤回"
    EXPIRED = "expired", "已过期"
    MISSED = "missed", "已错过"


OPEN_STATES = (InstructionState.ISSUED, InstructionState.ACCEPTED, InstructionState.IN_PROGRESS)
"""States in which the physician still has to act."""


WAITING_STATES = (*OPEN_STATES, InstructionState.RETURNED)
"""States in which somebody still has to act, whoever it is."""


class Withdrawal(LabelledEnum):
    """Why an instruction was taken back. What a message took back, a message may restore; a person's word stays."""

    DISCHARGE_CANCELLED = "discharge_cancelled", "出院已取消"
    NOT_APPLICABLE = "not_applicable", "方案不再适用"
    DIED = "died", "患者已故"
    NULLIFIED = "nullified", "档案已作废"
    TEST_PATIENT = "test_patient", "测试患者"
    CONTACT_ENDED = "contact_ended", "已终止联系"
    MERGED = "merged", "档案合并，同一方案已有一份"
    BY_HAND = "by_hand", "人工撤回"


class Outcome(LabelledEnum):
    """How a follow-up ended (随访结果)."""

    REACHED = "reached", "已随访"
    REFUSED = "refused", "拒访"
    LOST = "lost", "失访"
    DIED = "died", "已故"


class ReviewPolicy(LabelledEnum):
    """Which records the department head looks at, set per protocol step."""

    NONE = "none", "不审核"
    FLAGS = "flags", "红旗、失访、拒访、已故"
    SAMPLE = "sample", "抽审"
    ALL = "all", "全部审核"


_OPEN = text("state IN ('issued', 'accepted', 'in_progress')")  # IS_OPEN below renders the same words


class Instruction(Base):
    """A follow-up instruction (随访指令) issued to one physician. FHIR: Task."""

    __tablename__ = "instruction"
    __table_args__ = (
        UniqueConstraint("trigger_id", "protocol_code", "step_code"),  # issuing twice is impossible
        CheckConstraint("opens_on <= due_on AND due_on <= closes_on", name="window_in_order"),
        Index(
            "ix_instruction_assignee",
            "assignee_id",
            "due_on",
            "id",
            sqlite_where=_OPEN,
            postgresql_where=_OPEN,
        ),
        Index("ix_instruction_scope", "assignee_id", "patient_id"),  # whom somebody sees for an instruction
        Index("ix_instruction_department", "department_id", "state", "due_on", "id"),
        Index("ix_instruction_closes_on", "closes_on", sqlite_where=_OPEN, postgresql_where=_OPEN),
        Index("ix_instruction_due", "due_on", "department_id"),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    encounter_id: Mapped[str] = mapped_column(ForeignKey("encounter.id"), index=True)
    trigger_id: Mapped[str] = mapped_column(
        ForeignKey("visit_event.id")
    )  # this discharge, not the one before it
    protocol_code: Mapped[str]
    protocol_version: Mapped[int]  # the version in force when issued
    protocol_title: Mapped[str]
    step_code: Mapped[str]
    title: Mapped[str]  # of the step
    channel: Mapped[str]
    form_code: Mapped[str]
    form_version: Mapped[int]
    review_policy: Mapped[ReviewPolicy]
    sample_percent: Mapped[int] = mapped_column(default=0)
    department_id: Mapped[str | None] = mapped_column(ForeignKey("department.id"))
    assignee_id: Mapped[str | None] = mapped_column(ForeignKey("practitioner.id"))  # nobody: exception queue
    state: Mapped[InstructionState]
    outcome: Mapped[Outcome | None]
    note: Mapped[str | None]  # 离院方式未知，先核实
    reason: Mapped[str | None]  # why it was returned, withdrawn or sent back
    withdrawal: Mapped[Withdrawal | None]
    opens_on: Mapped[date]
    due_on: Mapped[date]
    closes_on: Mapped[date]
    issued_at: Mapped[datetime]
    done_at: Mapped[datetime | None]  # when the contact was recorded
    done_on: Mapped[date | None]  # the hospital's date of it, compared with the window
    version: Mapped[int] = mapped_column(default=1)

    __mapper_args__ = {"version_id_col": version}


IS_OPEN = Instruction.state.in_(bindparam("open_states", OPEN_STATES, expanding=True, literal_execute=True))
"""The physician still has to act. The states stand in the statement itself: SQLite uses the partial indexes only so."""


DONE_IN_WINDOW = and_(
    Instruction.done_on.is_not(None), Instruction.done_on.between(Instruction.opens_on, Instruction.closes_on)
)
"""The contact was recorded within the window. Not yet done is false, not unknown: the rest is counted too."""


class InstructionHistory(Base):
    """One change of an instruction's state: who, when, why."""

    __tablename__ = "instruction_history"
    id: Mapped[Id]
    instruction_id: Mapped[str] = mapped_column(ForeignKey("instruction.id"), index=True)
    before: Mapped[InstructionState]
    after: Mapped[InstructionState]
    changed_at: Mapped[datetime]
    actor_id: Mapped[str]
    actor_name: Mapped[str]
    reason: Mapped[str | None]
