"""What the codes of the inbox mean to a clerk: why a message is parked and what to do about it."""

from collections.abc import Mapping
from datetime import datetime

from hcrm.core.clock import local_time
from hcrm.inbox.census_models import RunState
from hcrm.inbox.configured import configured_destinations, configured_sources
from hcrm.inbox.models import ApplicationState
from hcrm.inbox.monitor_models import Incident, IncidentKind
from hcrm.inbox.row_words import row_text

REASONS = {
    "event_not_supported": (
        "暂不支持的事件",
        "消息已保存。在来源文件（没有的先写一个）的 events 中加一行，重启，再重新处理",
    ),
    "no_msh": ("没有 MSH 段", "请接口工程师核对发送方"),
    "batch_cut": ("批次的头尾夹在消息中间", "不知其中各段属于谁，请发送方重发这一批"),
    "no_pid": ("缺少 PID 段", "请发送方补发带患者信息的消息"),
    "no_patient_number": (
        "没有可用的患者标识",
        "病案号在 PID-3 的类型，写进来源文件的 identifier_types 或 record_number_types，重启，再重新处理",
    ),
    "several_patients": ("一条消息中有多位患者", "无法确定结果属于谁，请发送方分开发送"),
    "no_order": ("缺少医嘱或申请段", "请发送方补发带 ORC、OBR 的消息"),
    "no_charge": ("缺少费用段", "请发送方补发 FT1"),
    "no_document": ("缺少文书段", "请发送方补发 TXA"),
    "no_appointment_number": ("缺少预约号", "请发送方补发 SCH-1 或 SCH-2"),
    "no_staff_number": ("缺少工号", "请发送方补发 STF-1 或 STF-2"),
    "no_merge_number": ("合并消息缺少被合并的标识", "请发送方补发 MRG-1"),
    "no_visit_number": ("缺少就诊或账户的号码", "请发送方补发 PV1-19、MRG-5 或 PID-18、MRG-3"),
    "no_second_pid": ("缺少第二位患者", "此类消息须有两个 PID 段，请发送方补发"),
    "number_taken": ("新病历号已属于另一位患者", "请核对两份档案是否应合并"),
    "not_merged": ("两个标识本属同一份档案", "无需处理"),
    "merged_further": ("合并后的档案又被合并", "请先撤销后来的合并，再重新处理"),
    "merge_gone": ("合并已撤销", "无需处理"),
    "merge_flood": ("一小时内合并过多", "请与发送方核对；无误后重新处理即放行"),
    "delete_flood": ("一分钟内删除过多", "请与发送方核对；无误后重新处理即放行"),
    "vip_merge": ("合并涉及重要患者", "请核对身份；无误后重新处理即放行"),
    "test_merge": (
        "合并会把患者与测试患者并为一份档案",
        "请业务人员先在两份档案上核对“测试患者”标记，不对的更正；确应合并再重新处理，即放行，并入后以保留一方的标记为准",
    ),
    "vip_change": ("改归、拆分或删除涉及重要患者", "请核对身份；无误后重新处理即放行"),
    "no_visit": ("缺少 PV1 段", "请发送方补发带就诊信息的消息"),
    "charset": (
        "字符集无法识别",
        "核对来源配置的 charset 与 charset_order，重启后重新处理；若只有个别字节损坏，请发送方更正后重发",
    ),
    "charset_utf8": (
        "内容是 UTF-8，与约定的字符集不符",
        "核对来源配置中的 charset 和 charset_order，然后重新处理",
    ),
    "unreadable": ("消息无法解析", "请接口工程师查看原文"),
    "format_not_supported": ("不支持的格式", "请接口工程师核对"),
    "source_unknown": (
        "来源配置中没有这种行的列对照",
        "恢复来源配置中的 view、list_file、soap 或 census，然后重新处理",
    ),
    "unexpected_ack": ("收到的是应答消息", "无需处理"),
    "event_not_known_yet": ("撤销先于原事件到达", "等待原事件，24 小时后转为搁置"),
    "event_never_came": ("撤销的原事件一直没有到达", "核对 HIS 中此次就诊是否存在"),
    "visit_unclear": ("无法确定是哪一次就诊", "核对 PV1-19 就诊流水号"),
    "visit_of_other_patient": (
        "就诊流水号属于另一位患者",
        "核对两位患者是否应合并；是表格的行，先核对病案号列",
    ),
    "number_elsewhere": (
        "病案号在档案中类型或发号机构不同",
        "核对来源配置的 patient_no_type、patient_no_authority",
    ),
    "nameless": (
        "病案号不在档案中，行中又没有姓名",
        "请 HIS 补发建档或入院消息后重新处理，或在 columns 中加 name 列",
    ),
    "identity_conflict": ("病历号疑似被重复使用", "姓名、性别、出生日期等两项以上不符，请核对身份"),
    "merge_self": ("合并双方是同一标识", "无需处理"),
    "merge_cycle": ("合并方向与此前相反", "请核对哪一份档案应保留"),
    "merge_ambiguous": ("被合并的标识对应多份档案", "请核对 MRG-1 的发号机构和类型"),
    "impossible_date": ("日期或时间不可能存在", "请发送方更正该字段后重发，或核对来源配置"),
    "budget": ("内容超出上限", "某个编号过长，或重复项过多，请与发送方核对"),
    "corrected": ("已更正为另一条消息", "请看更正副本"),
    "error": ("处理时出错", "请联系管理员查看日志，然后重新处理"),
}
"""Reason: (what happened, what to do)."""

FLAGS = {
    "control_id_reused": "消息控制号重复使用",
    "charset_declared_wrong": "声明的字符集不符",
    "charset_fallback": "按备用字符集读取",
    "charset_doubtful": "字符集存疑，可能是 UTF-8",
    "identifier_conflict": "标识指向不同患者",
    "late_under_merged_id": "使用已合并的病历号",
    "told_of_since": "早于该患者后来的消息，未删除档案",
    "already_merged": "此前已合并",
    "told_apart": "此后已说明不是同一人",
    "released": "已由人工放行",
    "no_discharge_time": "没有出院时间",
    "discharged_before_admitted": "出院早于入院",
    "no_name": "没有姓名",
    "number_type_unknown": "标识类型未登记",
    "nul_stripped": "含空字符，已去除",
    "replacement_character": "含无法还原的字符",
    "unexpected_ack": "应答消息",
    "batch_count": "批次条数不符",
    "discharge_cleared": "出院时间被清空，未按取消出院处理",
    "corrected_copy": "人工更正的副本",
    "batch_cut": "批次不完整",
    "correction_kept": "人工更正过的内容未被覆盖",
    "verified_contact_kept": "已核实的联系方式未被覆盖",
    "died": "离院方式为死亡",
}
"""Flag: its word; those of `_PLACED` have a place after a colon."""

_PLACED = {
    "bad_time": "时间无法识别",
    "clock_ahead": "时间超前，按收到时间计",
    "empty_date": "日期全为零，按未填计",
    "unmapped": "代码未对照",
    "bad_number": "数值无法识别",
    "bad_content": "附件无法解码",
    "merges": "计为合并次数",
    "deletions": "计为删除次数",
}

REFUSALS = {
    "half_frame": "帧不完整",
    "no_msh": "没有可读的 MSH",
    "oversize": "超过大小上限",
    "header": "消息头不可用",
    "version": "不支持的版本",
    "processing_id": "处理标识不接受",
    "sender_unknown": "发送方未登记",
    "timeout": "超时",
    "junk": "帧外的字节",
    "too_many_connections": "连接数超限",
    "address_not_allowed": "地址不在允许名单",
    "tls_handshake": "TLS 握手被拒绝",
    "sender_address": "此地址不得以该发送方的名义发送",
    "sender_certificate": "证书不属于该发送方",
    "sender_token": "令牌不属于该发送方",
    "file": "文件未能读入，在 _error",
}
"""Why something was refused at the door."""


EVENTS = {
    "A01": "入院",
    "A02": "转科",
    "A03": "出院",
    "A04": "挂号",
    "A05": "预住院",
    "A06": "门诊转住院",
    "A07": "住院转门诊",
    "A08": "信息更新",
    "A11": "取消入院",
    "A12": "取消转科",
    "A13": "取消出院",
    "A17": "互换床位",
    "A18": "合并患者",
    "A21": "请假离院",
    "A22": "请假返院",
    "A23": "删除就诊",
    "A24": "关联患者",
    "A28": "建档",
    "A29": "删除患者",
    "A30": "合并患者",
    "A31": "更新档案",
    "A34": "合并患者",
    "A35": "合并账户",
    "A37": "解除关联",
    "A38": "取消预住院",
    "A40": "合并患者",
    "A42": "合并就诊",
    "A44": "账户改归他人",
    "A45": "就诊改归他人",
    "A47": "更换病历号",
}
"""Trigger event: its word (HL7 v2.5.1, chapter 3)."""


_CLINICAL = {
    "ORU": "检验检查结果",
    "OUL": "检验结果",
    "RDE": "用药医嘱",
    "OMP": "用药医嘱",
    "RAS": "给药记录",
    "DFT": "费用",
    "MDM": "病历文书",
    "SIU^S12": "预约",
    "SIU^S13": "改约",
    "SIU^S14": "预约变更",
    "SIU^S15": "取消预约",
    "SIU^S16": "停止预约",
    "SIU^S17": "删除预约",
    "SIU^S26": "爽约",
    "MFN": "人员目录",
}
"""Other messages by type, or type and event (HL7 v2.9, chapters 4, 6 to 10)."""


ROWS = {
    "STAY": "住院记录",
    "ADMIT": "入院",
    "REGISTER": "挂号",
    "DISCHARGE": "出院",
    "UPDATE": "信息更新",
    "PERSON": "档案",
    "CANCEL_ADMIT": "取消入院",
    "CANCEL_DISCHARGE": "取消出院",
}
"""What a row of a view or list tells (`hcrm.core.channels.RowEvent`): its word."""

_BY_TYPE = {"ADT": EVENTS, "ROW": ROWS}


def event_words(kind: str) -> str:
    """The kind of a message with what it means: ADT^A03 出院, ROW^ADMIT 入院."""
    type_, _, event = kind.partition("^")
    event = event.partition("^")[0]
    if type_ in _BY_TYPE:
        word = _BY_TYPE[type_].get(event)
    else:
        word = _CLINICAL.get(f"{type_}^{event}") or _CLINICAL.get(type_)
    return f"{kind} {word}" if word else kind


def source_titles() -> dict[str, str]:
    """Titles of the sources by code."""
    sources = configured_sources()
    return {source.code: source.title for source in (sources.default, *sources.by_code.values())}


def source_words(code: str) -> str:
    """A source by its title; one whose file is gone by its code."""
    return source_titles().get(code, code)


def read_as(kind: str, events: Mapping[str, str]) -> str:
    """The event a local one is handled as; empty where it is handled as what it is."""
    type_, _, event = kind.partition("^")
    known = events.get(kind) or (events.get(event) if type_ == "ADT" else None)
    return event_words(known) if known else ""


FILTERS = {
    "state": "状态", "kind": "事件", "source": "来源", "reason": "原因", "control_id": "控制号", "from": "起始时间",
    "to": "结束时间", "peer": "对方地址", "key": "翻页", "find": "检索",
    "code": "未对照的代码",
}  # fmt: skip
"""Filters of the lists by their names in an address."""


def incident_place(incident: Incident) -> str:
    """Whose incident it is: a source, or where it sends to."""
    if incident.kind is IncidentKind.UNSENT:
        found = configured_destinations().by_code.get(incident.source)
        return f"发往 {found.title if found else incident.source}"
    return source_words(incident.source)


def state_words(state: str) -> str:
    """A state noted with an act."""
    return ApplicationState(state).label if state in {each.value for each in ApplicationState} else state


def incident_words(incident: Incident) -> str:
    """What an incident was opened by."""
    detail = incident.detail
    if incident.kind is IncidentKind.SILENCE:
        last = local_time(datetime.fromisoformat(detail["last_at"])).strftime("%m-%d %H:%M")
        return f"{last} 之后没有消息，按往常应有约 {detail['expected']} 条"
    if incident.kind is IncidentKind.ERRORS:
        return f"近一小时 {detail['received']} 条中搁置 {detail['parked']} 条（不含暂不支持的事件）"
    if incident.kind is IncidentKind.GUARDED:
        return f"{REASONS[incident.subject][0]}，{detail['parked']} 条等待放行"
    if incident.kind is IncidentKind.UNSENT:
        since = local_time(datetime.fromisoformat(detail["since"])).strftime("%m-%d %H:%M")
        why = f"：{OUTBOUND_ERRORS.get(detail['error'], detail['error'])}" if detail["error"] else ""
        return f"{since} 起有 {detail['unsent']} 条没有送达{why}"
    if incident.kind is IncidentKind.UNREADABLE:
        last = detail["last_ok_at"]
        since = local_time(datetime.fromisoformat(last)).strftime("%m-%d %H:%M 之后") if last else "从未"
        return f"{CHANNELS.get(incident.subject, incident.subject)}{since}没有读到：{channel_error(detail['error'])}"
    if incident.kind is IncidentKind.FILES:
        return f"{detail['files']} 个文件未能读入，已移到 _error；移走或改好放回后自动恢复，确认后也会关闭"
    if incident.kind is IncidentKind.CENSUS:
        return f"{incident.subject} 的名单与档案有 {detail['findings']} 人次不一致"
    if incident.kind is IncidentKind.CENSUS_LIST:
        usual = f"：名单 {detail['rows']} 人次，往常约 {detail['usual']}" if detail["usual"] else ""
        return f"{incident.subject} {RunState(detail['state']).label}{usual}"
    return f"{event_words(incident.subject)}，搁置 {detail['parked']} 条"


CENSUS_FIELDS = {
    "admitted_at": "入院时间",
    "discharged_at": "出院时间",
    "department": "科室",
    "discharge_way": "离院方式",
    "patient_no": "病案号",
}
"""What of a stay differs between a HIS's list and the archive."""

CENSUS_ERRORS = {
    "columns": "表头缺少配置的列",
    "oversize": "名单超过上限",
    "charset": "字符集无法识别",
    "unreadable": "文件无法读取",
    "view.password": "视图的密码没有设置",
    "view.driver": "没有安装数据库驱动",
    "view.host": "连不上数据库主机，请核对地址、端口和网络",
    "view.login": "账号或密码被拒绝",
    "view.database": "数据库或服务名不存在",
    "view.missing": "视图或列不存在",
    "view.rights": "账号没有读取的权限",
    "view.timeout": "查询超时",
}
"""Why a list cannot be read; other codes are classes of the database's errors."""


CHANNELS = {"view": "视图", "folder": "文件夹"}
"""Ways on which we fetch."""
CHANNEL_ERRORS = {
    **CENSUS_ERRORS,
    "view.key_empty": "key 列中有空值",
    "view.key_repeats": "key 列不能区分各行",
    "view.watermark": "watermark 列的类型变了",
    "inbox.full": "等待处理的消息过多或磁盘将满",
    "not_run": "取数进程没有运行",
    "OperationalError": "连不上数据库，或查询被拒绝",
    "ProgrammingError": "视图或列不存在，或没有权限",
    "NoSuchColumnError": "视图中没有配置的列",
    "FileNotFoundError": "文件夹不存在",
    "NotADirectoryError": "不是文件夹",
    "PermissionError": "没有权限读写文件夹",
}
"""Why a view or folder cannot be read; other codes are classes of errors."""


def channel_error(code: str) -> str:
    """What is wrong with a view or folder, with its code for the engineer."""
    return f"{CHANNEL_ERRORS[code]}（{code}）" if code in CHANNEL_ERRORS else code


def flag_words(flags: str) -> list[str]:
    """The flags of a message in words."""
    words = []
    for flag in flags.split():
        name, _, place = flag.partition(":")
        words.append(f"{_PLACED[name]}（{row_text(place)}）" if name in _PLACED else FLAGS.get(name, name))
    return words


def detail_words(kind: str, detail: str) -> str:
    """Where a reason lies: of a message segment and field, of a row our field in words, and its column."""
    return row_text(detail) if kind.startswith("ROW^") else detail


OUTBOUND_SUBJECTS = {"instruction": "随访结果"}
"""What a message we send tells of, by its subject's type."""

OUTBOUND_ERRORS = {
    "AE": "对方报错",
    "CE": "对方报错",
    "AR": "对方拒绝",
    "CR": "对方拒绝",
    "unreachable": "连不上对方",
    "tls": "TLS 握手失败，请核对证书",
    "no_answer": "对方没有应答",
    "closed": "对方中断了连接",
    "foreign_answer": "应答的控制号不符",
    "bad_answer": "应答无法识别",
    "error": "发送时出错，请联系管理员查看日志",
    "unconfigured": "配置文件已移除",
    "sealed": "缺少密钥，报文无法读取",
    "no_patient_number": "患者没有对方认识的病历号",
    "not_valid": "内容不符合 HL7 标准",
}
"""Why a message is not delivered: acknowledgement code, or our own word."""
