"""Reading the audit log: who saw or changed whom, and what an actor did."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from hcrm.audit.models import AuditEvent, AuditOutcome, AuditSubject
from hcrm.core import limits
from hcrm.core.clock import day_bounds
from hcrm.core.work import Work
from hcrm.web.paging import Page, keyset_page

ACTIONS: dict[str, str] = {
    "account.create": "建立账号",
    "account.disable": "停用账号",
    "account.enable": "启用账号",
    "account.password_change": "修改密码",
    "account.password_reset": "重置密码",
    "account.roles": "更改角色",
    "audit.read": "查看审计日志",
    "message.read": "查看接口消息",
    "patient.read": "查看患者档案",
    "patient.reveal": "显示完整电话或证件号",
    "patient.search": "检索患者",
    "session.login": "登录",
    "session.logout": "退出登录",
    "token.create": "建立接口令牌",
    "token.revoke": "吊销接口令牌",
}
"""What an action is called on the page; one that is not listed shows as its own word."""


@dataclass(frozen=True, slots=True)
class AuditFilters:
    """What the log may be narrowed by. `patient_ids`: a patient with every id that was merged into it."""

    patient_ids: Sequence[str] = ()
    actor_id: str | None = None
    action: str | None = None
    outcome: AuditOutcome | None = None
    day: date | None = None


def list_events(
    work: Work, *, filters: AuditFilters | None = None, key: str | None = None, size: int = limits.PAGE_SIZE
) -> Page[AuditEvent]:
    """Acts, the latest first."""
    filters = filters or AuditFilters()
    statement = sa.select(AuditEvent)
    if filters.patient_ids:
        touched = sa.select(AuditSubject.audit_id).where(
            AuditSubject.subject_patient_id.in_(sorted(filters.patient_ids))
        )
        statement = statement.where(AuditEvent.id.in_(touched))
    if filters.actor_id:
        statement = statement.where(AuditEvent.actor_id == filters.actor_id)
    if filters.action:
        statement = statement.where(AuditEvent.action == filters.action)
    if filters.outcome:
        statement = statement.where(AuditEvent.outcome == filters.outcome)
    if filters.day:
        start, end = day_bounds(filters.day)
        statement = statement.where(AuditEvent.happened_at >= start, AuditEvent.happened_at < end)
    return keyset_page(
        work, statement, order=(AuditEvent.happened_at.desc(), AuditEvent.id.desc()), key=key, size=size
    )


def same_patient(work: Work, patient_id: str) -> list[str]:
    """Every id under which this person's archive was or is known: the log keeps the id as it was then.

    The archive is a layer above, so its table is named here and not imported; `archive.queries.merged_ids` is the
    same walk for everybody else.
    """
    patient = sa.table("patient", sa.column("id"), sa.column("merged_into_id"))
    found: list[str] = []
    frontier = [patient_id]
    while frontier:
        found += frontier
        related = sa.select(patient.c.id, patient.c.merged_into_id).where(
            patient.c.id.in_(frontier) | patient.c.merged_into_id.in_(frontier)
        )
        ids = {key for row in work.execute(related) for key in row if key}
        frontier = sorted(ids.difference(found))
    return found
