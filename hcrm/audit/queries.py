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
    "account.manage": "管理账号",
    "account.password_change": "修改密码",
    "account.password_reset": "重置密码",
    "account.roles": "更改角色",
    "alert.acknowledge": "知悉预警",
    "alert.handle": "处置预警",
    "alert.list": "查看预警列表",
    "alert.read": "查看预警",
    "audit.read": "查看审计日志",
    "census.apply": "按名单补录",
    "census.explain": "说明对账差异",
    "census.export": "导出对账差异",
    "census.list": "查看对账差异",
    "census.read": "查看对账差异明细",
    "census.repeat": "重新对账",
    "census.request": "请求 HIS 补发",
    "consent.record": "更改接收意愿",
    "contact.end": "终止联系",
    "reach.entry": "登记联系人或地址",
    "number.describe": "更正联系方式",
    "number.free": "号码移出请勿联系名单",
    "number.sharing": "查看同一号码的患者",
    "contact.list": "查看联系记录列表",
    "contact.read": "查看联系记录",
    "complaint.read": "查看投诉",
    "contact.write": "登记联系",
    "recording.listen": "收听录音",
    "recording.prune": "录音到期删除",
    "recording.upload": "上传录音",
    "contact.record": "记录联系",
    "contact.restore": "恢复联系",
    "death.confirm": "核实死亡登记",
    "death_list.correct": "死亡名单：更正死亡日期",
    "death_list.no_list": "死亡名单：确认没有新名单",
    "death_list.no_list_undo": "死亡名单：撤回没有新名单的确认",
    "death_list.confirm": "死亡名单：核对为本人",
    "death_list.list": "查看死亡名单",
    "death_list.match": "死亡名单：以后建档的对上",
    "death_list.read": "查看死亡名单的一条",
    "death_list.reject": "死亡名单：核对不是",
    "death_list.reopen": "死亡名单：放回待核对",
    "death.list": "查看待核实的死亡登记",
    "death.record": "登记死亡",
    "death.revoke": "撤销死亡登记",
    "disclosure.set": "更改知情标记",
    "document.read": "下载病历文书",
    "encounter.classify": "患者分类",
    "encounter.list": "查看就诊列表",
    "event.retry": "重新投递事件",
    "fhir.read": "接口读取",
    "fhir.search": "接口检索",
    "fhir.write": "接口写入",
    "followup.attempt": "记录联系未果",
    "followup.record": "记录随访",
    "followup.write": "随访",
    "data.import": "导入文件",
    "data.export": "导出名单",
    "data.export_approve": "批准导出",
    "export.request": "申请导出",
    "export.approve": "批准导出",
    "export.reject": "不批准导出",
    "export.build": "生成导出文件",
    "export.read": "导出读取患者",
    "export.download": "下载导出文件",
    "import.check": "试运行导入",
    "import.discard": "放弃导入",
    "import.errors": "下载未导入的行",
    "import.read": "查看导入",
    "import.revert": "撤销导入",
    "import.run": "确认导入",
    "import.stop": "停止导入",
    "import.upload": "上传导入文件",
    "import.write": "导入写入档案",
    "inbox.write": "提交接口消息",
    "instruction.accept": "接收指令",
    "instruction.change": "更改指令",
    "instruction.expire": "指令过期",
    "instruction.miss": "随访错过",
    "instruction.issue": "下达指令",
    "instruction.list": "查看指令列表",
    "instruction.read": "查看指令",
    "instruction.reassign": "改派指令",
    "instruction.replan": "重排指令",
    "instruction.return": "退回指令",
    "instruction.withdraw": "撤回指令",
    "message.content": "查看消息原文",
    "segment.read": "查看分群",
    "segment.list": "查看分群名单",
    "segment.sample": "试算分群",
    "segment.create": "建立分群",
    "segment.change": "修改分群",
    "segment.end": "删除分群",
    "segment.restore": "恢复分群",
    "segment.share": "共享分群",
    "grade.read": "查看患者分级",
    "patient.read_grades": "查看患者分级",
    "patient.set_loss": "登记流失原因",
    "rules.manage": "管理分类规则",
    "rules.draft": "修改分类规则草稿",
    "rules.discard": "放弃分类规则草稿",
    "rules.publish": "发布分类规则",
    "rules.take_back": "恢复旧版分类规则",
    "rerun.preview": "预览重新分类",
    "rerun.sample": "查看重新分类的就诊",
    "rerun.apply": "执行重新分类",
    "rerun.stop": "停止重新分类",
    "rerun.resume": "继续重新分类",
    "rerun.undo": "撤销重新分类",
    "encounter.reclassify": "按新规则分类就诊",
    "message.read": "查看接口消息",
    "message.replay": "重新处理消息",
    "outbound.manage": "管理发出的消息",
    "outbound.read": "阅读发出的消息",
    "outbound.open": "打开发出的消息（不含原文）",
    "outbound.resend": "重发消息",
    "outbound.remake": "重新生成消息",
    "outbound.resend_failed": "批量重发失败的消息",
    "outbound.stop": "停发消息",
    "outbound.pause": "暂停发送目标",
    "outbound.resume": "恢复发送目标",
    "message.correct": "更正消息副本",
    "message.open": "打开消息（不含原文）",
    "message.search": "检索接口消息",
    "refused.read": "查看拒收内容的开头",
    "refused.open": "打开拒收记录（不含内容）",
    "incident.handle": "确认接口告警",
    "metrics.read": "读取运行指标",
    "mllp.connect": "连接接口端口",
    "patient.absorb": "消息入档",
    "directory.read": "查看人员与科室",
    "encounter.merge": "合并就诊",
    "encounter.move": "就诊改归他人",
    "identity.decide": "裁定身份",
    "identity.end_number": "停用病案号",
    "patient.register": "新建档案",
    "patient.similar": "查找相似档案",
    "patient.edit_base": "更正基本信息",
    "identity.list": "查看疑似重复列表",
    "identity.links": "查看关联的档案",
    "identity.scan": "开始全部档案的比对",
    "identity.read": "比对两份档案",
    "identity.propose": "提出比对两份档案",
    "identity.keep_apart": "判定不是同一人",
    "identity.ask_for_data": "标记待补资料",
    "patient.merge": "合并档案",
    "allergy.end": "结束过敏登记",
    "allergy.restore": "恢复过敏登记",
    "allergy.write": "登记过敏",
    "care.list": "查看无下一步的患者",
    "field.manage": "维护档案字段的定义",
    "field.undo": "撤销档案字段的修改",
    "field.write": "填写档案字段",
    "note.edit": "修改备注",
    "note.restore": "恢复备注",
    "note.strike": "划去备注",
    "note.write": "写备注",
    "patient.print": "打印患者简表",
    "patient.unmerge": "撤销合并",
    "patient.read": "查看患者档案",
    "patient.report_death": "登记死亡",
    "patient.reveal": "显示完整电话或证件号",
    "patient.revoke_death": "撤销死亡登记",
    "patient.mark_test": "标记测试患者",
    "patient.unmark_test": "取消测试患者标记",
    "test_patient.manage": "管理测试患者",
    "directory.manage": "维护目录",
    "test_patients.list": "查看测试患者",
    "test_patients.preview": "预览测试患者规则",
    "test_patients.apply": "使测试患者规则生效",
    "directory.change": "修改目录",
    "directory.undo": "撤销目录修改",
    "directory.merge": "合并人员条目",
    "directory.load": "载入人员与科室文件",
    "patient.search": "检索患者",
    "tag.remove": "去掉标签",
    "tag.write": "加标签",
    "reach.write": "更正联系方式",
    "response.save": "保存随访草稿",
    "review.approve": "审核通过",
    "review.list": "查看审核列表",
    "review.read": "查看待审记录",
    "review.send_back": "退回重做",
    "review.write": "审核",
    "session.login": "登录",
    "session.logout": "退出登录",
    "statistics.open": "打开统计明细",
    "statistics.read": "查看统计",
    "system.read": "查看系统状态",
    "token.create": "建立接口令牌",
    "token.revoke": "吊销接口令牌",
    "worklist.read": "查看今日随访",
}
"""What an action, or the permission that was missing, is called on the page."""

SUBJECTS: dict[str, str] = {
    "account": "账号",
    "address": "地址",
    "identity_scan": "全部档案的比对",
    "peer": "对端",
    "alert": "预警",
    "allergy": "过敏",
    "field": "档案字段",
    "patient_note": "备注",
    "patient_tag": "标签",
    "api_token": "接口令牌",
    "barred_number": "请勿联系的号码",
    "contact_entry": "联系记录",
    "contact_point": "联系方式",
    "contact_stop": "终止联系",
    "death_list_entry": "死亡名单",
    "death_list_run": "当天的死亡名单",
    "contact_recording": "录音",
    "disclosure": "知情标记",
    "encounter": "就诊",
    "inbox_message": "接口消息",
    "outbound_message": "发出的消息",
    "outbound_destination": "发送目标",
    "census_line": "对账差异",
    "census_run": "对账",
    "import_run": "导入",
    "export_request": "导出",
    "incident": "接口告警",
    "instruction": "随访指令",
    "page": "页面",
    "patient": "患者",
    "patient_identifier": "证件号",
    "related_person": "联系人",
    "response": "随访记录",
    "review": "审核",
    "route": "接口",
}
"""What was acted on."""


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
    """Every id under which this person's archive was or is known: logs (audit, inbox) keep the id as it was then.

    The archive is a layer above, so its table is named here and not imported.
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
