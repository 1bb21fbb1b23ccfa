"""The one list of permissions, and the roles that hold them (`config/roles.yaml`).

A route asks for a permission, never for a role; what a role may do is the hospital's decision.
"""

from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from hcrm.core.definition_file import DefinitionPart, Text, parse_definition
from hcrm.core.errors import HcrmError
from hcrm.core.paths import config_path

PERMISSIONS: dict[str, str] = {
    "account.self": "修改自己的密码",
    "account.manage": "管理账号和接口令牌",
    "audit.read": "查看审计日志",
    "system.read": "查看系统状态",
    "patient.read": "查看患者档案",
    "patient.reveal": "显示完整的电话和证件号",
    "field.write": "填写档案字段、过敏、标签和备注",
    "field.manage": "维护档案字段的定义",
    "instruction.read": "查看随访指令",
    "instruction.reassign": "改派随访指令",
    "instruction.withdraw": "撤回随访指令",
    "followup.write": "接收指令并记录随访",
    "review.write": "审核随访记录",
    "alert.handle": "处理异常预警",
    "reach.write": "更正联系方式、知情标记和同意",
    "contact.read": "查看全部联系记录",
    "contact.write": "登记联系",
    "complaint.read": "查看投诉",
    "recording.listen": "收听录音",
    "contact.end": "终止和恢复联系",
    "death.record": "登记和核实死亡",
    "death.list": "核对死亡名单",
    "death.revoke": "撤销死亡登记",
    "test_patient.manage": "管理测试患者及其规则",
    "directory.manage": "维护科室、人员、院区和对照表",
    "patient.register": "新建档案，更正人工录入的基本信息",
    "identity.decide": "核对疑似重复档案：合并、撤销合并、停用错发的病案号",
    "segment.read": "查看和保存患者分群",
    "segment.share": "共享患者分群",
    "grade.read": "查看消费、忠诚度与流失分级",
    "rules.manage": "发布分类规则，按新规则重新分类",
    "message.read": "查看接口消息的状态",
    "message.content": "查看接口消息的原文",
    "message.replay": "重新处理接口消息",
    "message.correct": "更正接口消息的副本",
    "incident.handle": "确认接口告警",
    "outbound.manage": "重发、停发和暂停发出的消息",
    "directory.read": "查看人员与科室",
    "data.import": "导入文件，撤销导入",
    "data.export": "导出名单，号码隐去中间几位",
    "data.export_clear": "导出名单时不隐去号码",
    "data.export_approve": "批准别人的大批导出",
    "statistics.read": "查看统计",
}
"""Every permission and what it lets a person do."""

EVERYONE = frozenset({"account.self"})
"""What every role holds without naming it."""

SCOPES: dict[str, str] = {
    "fhir.read": "读取 FHIR 资源",
    "fhir.write": "写入 FHIR 资源",
    "inbox.write": "提交 HL7 消息",
    "metrics.read": "读取运行指标",
}
"""What a machine's token may be for."""


class RowScope(StrEnum):
    """Which rows a role sees: those of the person, of their department, or all."""

    OWN = "own"
    DEPARTMENT = "department"
    ALL = "all"


class RoleDefinition(DefinitionPart):
    """What a role may do, and on which rows."""

    label: Text
    scope: RowScope
    permissions: tuple[str, ...] = ()
    export_rows: Annotated[int, Field(ge=0, le=200_000)] = 0  # in one file; 0: none

    @field_validator("permissions")
    @classmethod
    def _known(cls, permissions: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [word for word in permissions if word not in PERMISSIONS]
        if unknown:
            raise ValueError(f"没有这样的权限：{'、'.join(unknown)}")
        return permissions

    @property
    def words(self) -> frozenset[str]:
        """Every permission it holds."""
        return EVERYONE | frozenset(self.permissions)


class RolesFile(DefinitionPart):
    """`config/roles.yaml`."""

    roles: dict[str, RoleDefinition]


def load_roles(path: Path) -> dict[str, RoleDefinition]:
    """The roles of a file; an unknown word stops the start with its line."""
    return parse_definition(RolesFile, path.read_text(encoding="utf-8-sig"), path.name).roles


@cache
def roles() -> dict[str, RoleDefinition]:
    """The roles of this installation, read once."""
    return load_roles(config_path("roles.yaml"))


def role_named(name: str) -> RoleDefinition:
    """The role of that name."""
    try:
        return roles()[name]
    except KeyError as error:
        raise HcrmError(
            "role.unknown", f"没有这个角色：{name}（可用：{'、'.join(roles())}）", field="role"
        ) from error
