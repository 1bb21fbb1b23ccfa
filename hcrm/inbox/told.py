"""What a message says it does, for the page: read anew as its source is described now. No names, no archive."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

import structlog

from hcrm.archive.records import Change, EncounterRecord, Unmapped
from hcrm.archive.terms import DischargeWay
from hcrm.core.clock import local_time
from hcrm.core.work import Work
from hcrm.inbox.models import InboxMessage
from hcrm.inbox.reading import ConsoleParts, Problems

_CLINICAL = (
    ("reports", "报告", "份"), ("medications", "用药", "条"), ("charges", "费用", "条"), ("documents", "文书", "份"),
    ("appointments", "预约", "个"),
)  # fmt: skip
_DATE = "impossible_date"
_MOMENT = "%Y-%m-%d %H:%M"
log = structlog.get_logger(__name__)


def tell_message(
    work: Work, message: InboxMessage, parts: ConsoleParts, *, with_content: bool
) -> Sequence[tuple[str, str]]:
    """Label and words of each thing a message says; empty where it cannot be read, or its text was pruned."""
    mapper = parts.mappers.get(message.format)
    if not message.raw or mapper is None:
        return ()
    try:
        result = mapper(
            work.keys.open(message.raw), parts.sources_on(work, message.received_at), message.received_at
        ).result
    except Exception as error:  # noqa: BLE001  what the worker could not read either is no fault of the page
        log.warning("inbox.unreadable", seq=message.seq, error=type(error).__name__)
        return ()
    return tuple(_told(result, with_content=with_content)) if isinstance(result, Change) else ()


def _told(change: Change, *, with_content: bool) -> Iterator[tuple[str, str]]:
    for part in change.parts:
        for kind, number in Counter(act.kind for act in part.acts).items():
            yield "处理", f"{kind.label} {number} 组"
        if part.event:
            moment = f"，{local_time(part.event.happened_at).strftime(_MOMENT)}" if with_content else ""
            yield "事件", f"{part.event.kind.label}{moment}"
        if part.encounter and with_content:
            yield from _stay(part.encounter)
        for name, word, measure in _CLINICAL:
            if part.clinical and (rows := getattr(part.clinical, name)):
                yield word, f"{len(rows):,} {measure}"
        if part.staff:
            yield "人员", f"{len(part.staff):,} 人"


def _stay(stay: EncounterRecord) -> Iterator[tuple[str, str]]:
    if stay.visit_no:
        yield "就诊流水号", stay.visit_no
    if stay.encounter_class:
        yield "就诊类别", stay.encounter_class.label
    if stay.department:
        yield "科室", " ".join(dict.fromkeys(filter(None, (stay.department.code, stay.department.name))))
    for word, moment in (("入院时间", stay.admitted_at), ("出院时间", stay.discharged_at)):
        if moment:
            yield word, local_time(moment).strftime(_MOMENT)
    if stay.discharge_way is DischargeWay.UNKNOWN and stay.discharge_way_text:
        yield "离院方式", f"未对照（{stay.discharge_way_text}）"
    elif stay.discharge_way:
        yield "离院方式", stay.discharge_way.label


def list_more_problems(
    work: Work, message: InboxMessage, reason: str | None, parts: ConsoleParts
) -> Sequence[Unmapped]:
    """Beside the impossible date it is parked for: the other things that would park it next."""
    finder = parts.problems.get(message.format)
    if reason != _DATE or finder is None or not message.raw:
        return ()
    return more_problems(finder, work.keys.open(message.raw), parts, message.received_at)


def more_problems(finder: Problems, raw: bytes, parts: ConsoleParts, at: datetime) -> Sequence[Unmapped]:
    """All but the first."""
    try:
        return tuple(finder(raw, parts.sources, at)[1:])
    except Exception as error:  # noqa: BLE001  as above
        log.warning("inbox.unreadable", error=type(error).__name__)
        return ()
