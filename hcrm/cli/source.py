"""`hcrm source`: what sample messages of a sender would become, before it is connected."""

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from adapters.his.explain import Explained, ValueUse, explain_message
from adapters.his.files import NotMessages, messages_of
from adapters.his.trial import fitting_charset, only
from adapters.hl7v2 import read_header
from hcrm.archive.records import Unmapped
from hcrm.archive.terms import EncounterClass
from hcrm.cli.field_words import field_words, is_open
from hcrm.cli.options import Bilingual, charset_option, require_charset, sample_options, sources_for
from hcrm.core.actor import system_actor
from hcrm.core.clock import local_date, use_zone
from hcrm.core.runtime import open_database
from hcrm.core.settings import load_settings
from hcrm.core.sources import Source, Sources
from hcrm.core.work import open_work
from hcrm.directory.code_maps import MappedSources
from hcrm.inbox import words
from hcrm.inbox.advice import flag_advice, reason_advice

_DOOR = {
    "MSH-3": "识别来源", "MSH-4": "识别来源", "MSH-9": "消息类型", "MSH-10": "消息控制号", "MSH-11": "处理标识",
    "MSH-12": "版本", "MSH-15": "应答方式", "MSH-16": "应答方式", "MSH-18": "字符集",
}  # fmt: skip
"""What the door reads of the header, whatever the mapper makes of it."""
_SHOWN_UNREAD = 40


@click.group(cls=Bilingual, help="来源系统 | sending systems")
def source() -> None:
    """Sending systems."""


@source.command(help="样本消息会变成什么，还有什么没对上；不需要数据库 | what sample messages would become")
@sample_options
@charset_option
@click.option("--clear", is_flag=True, help="显示原值；默认遮盖 | show values, masked by default")
@click.option(
    "--console-maps",
    is_flag=True,
    help="也用控制台的代码对照，需要数据库 | with the console's code maps",
)
def check(files: Sequence[Path], code: str, charset: str, clear: bool, console_maps: bool) -> None:
    """Exit code 0 when every message would be applied."""
    sources = sources_for(code)
    if console_maps:
        sources = _with_console_maps(sources)
    require_charset(charset)
    use_zone(load_settings().zone)  # times are shown on the hospital's wall clock
    outcomes: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    for path in files:
        try:
            parts = messages_of(path.read_bytes())
        except NotMessages as error:
            click.echo(f"{path.name}：{error}\n")
            outcomes["读不出消息"] += 1
            continue
        for number, part in enumerate(parts, 1):
            reading = _only(part.raw, sources, charset) if charset else sources
            told = explain_message(part.raw, reading, datetime.now(UTC))
            head = f"{path.name} 第 {number} 条" if len(parts) > 1 else path.name
            title = code or told.source or "default"
            click.echo(f"■ {head}：{words.event_words(told.kind) or '没有消息头'}，按来源 {title} 解读")
            advise = partial(_advice, told=told, sources=None if code or charset else sources)
            trial = "" if charset else _trial_charset(told, part.raw, sources)
            for line in _story(told, part.flags, advise, clear=clear, is_tried=bool(trial)):
                click.echo(line)
            outcomes[_outcome(told)] += 1
            if trial:
                click.echo(f"  以下按 {trial} 试读；若对，在来源文件写 charset: {trial}")
                told = explain_message(part.raw, _only(part.raw, sources, trial), datetime.now(UTC))
                for line in _story(told, part.flags, partial(_advice, told=told, sources=None), clear=clear):
                    click.echo(line)
            click.echo()
            codes.update(_unmapped(told))
    click.echo("合计：" + "，".join(f"{name} {count} 条" for name, count in outcomes.items()))
    if codes:
        click.echo(
            "未对照的代码：" + "，".join(f"{place}（{count} 次）" for place, count in codes.most_common())
        )
    for each in sources.by_code.values():
        for line in _classless(each, code or each.code):
            click.echo(line)
    sys.exit(0 if outcomes.keys() <= {_APPLIED, _IGNORED} else 1)


_APPLIED, _IGNORED, _PARKED, _REFUSED = "可以入档", "会被忽略", "会被搁置", "会被拒收"


def _classless(source: Source, code: str) -> Iterator[str]:
    """Blocks of its file whose rows open stays of no class: no sample message shows what becomes of those."""
    for name, rows in source.row_forms.items():
        if not rows.is_classless:
            continue
        also = "，也不会算作对账的“多出”" if name == "census" else ""
        yield (
            f"提醒：来源 {code} 的 {name} 没有就诊类别（columns 中没有 encounter_class，也没有 default_class）。"
            f"只由它得知的就诊类别为“{EncounterClass.UNKNOWN.label}”，不会进入限定就诊类别的随访方案{also}"
        )


def _with_console_maps(sources: Sources) -> Sources:
    maps = MappedSources(sources)
    with open_work(open_database(load_settings()), actor=system_actor("cli"), write=False) as work:
        maps.refresh(work)
    return maps.on(local_date(datetime.now(UTC)))


def _only(raw: bytes, sources: Sources, charset: str) -> Sources:
    header = read_header(raw)
    found = sources.find(header.sender, header.facility) if header else None
    return only(found or sources.default, charset)


def _trial_charset(told: Explained, raw: bytes, sources: Sources) -> str:
    """What a message can be read in that nobody's file has a charset for yet: the rest of it is worth a look."""
    result = told.mapped.result
    if not isinstance(result, Unmapped) or result.reason not in ("charset", "charset_utf8"):
        return ""
    return fitting_charset(raw, sources.find(told.sender, told.facility) or sources.default)


def _advice(reason: str, *, told: Explained, sources: Sources | None) -> str:
    """The hint of a reason; one who chose how to read knows whose file it is."""
    if sources is None:
        return words.REASONS.get(reason, ("", ""))[1]
    return reason_advice(reason, told.sender, told.facility, sources)


def _outcome(told: Explained) -> str:
    result = told.mapped.result
    if told.refusal:
        return _REFUSED
    if isinstance(result, Unmapped):
        return _IGNORED if result.ignored else _PARKED
    return _APPLIED


def _story(
    told: Explained, batch_flags: Sequence[str], advise: Callable[[str], str], *, clear: bool,
    is_tried: bool = False,
) -> Iterator[str]:  # fmt: skip
    result = told.mapped.result
    if told.refusal:
        yield f"  结果：{_REFUSED}，{told.refusal} 不可用"
    elif isinstance(result, Unmapped):
        yield f"  结果：{_outcome(told)}，{_problem_words(result, advise)}"
        for problem in told.problems[1:]:
            yield f"  还有：{_problem_words(problem, advise)}"
    else:
        yield f"  结果：{_APPLIED}；与已有档案的匹配、合并和先后要到入库时才知道"
    flags = " ".join([*batch_flags, *told.flags])
    if flags:
        yield f"  标记：{'；'.join(words.flag_words(flags))}"
    for advice in flag_advice(flags):
        yield f"  怎么办：{advice}"
    if is_tried:
        return
    used = [use for use in told.uses if use.became or use.is_decisive]
    rows = [("位置", "值", "我们的字段", "结果")]
    unmapped = set(_unmapped_places(told))
    for use in used:
        is_shown = (
            clear
            or use.is_coded
            or (bool(use.became) and all(is_open(name) for name, _ in use.became))
            or use.path.startswith("MSH")
            or any(_stands_at(use.path, place) for place in unmapped)
        )
        fields = "、".join(map(field_words, dict.fromkeys(name for name, _ in use.became)))
        results = "；".join(dict.fromkeys(text for _, text in use.became))
        rows.append((
            use.path, use.value if is_shown else _masked(use.value), fields or "决定能否入档",
            results if is_shown or not use.became else _masked(results),
        ))  # fmt: skip
    if len(rows) > 1:
        yield from _table(rows)
    yield from _unread(told)


def _problem_words(problem: Unmapped, advise: Callable[[str], str]) -> str:
    reason = words.REASONS.get(problem.reason, (problem.reason,))[0]
    return f"{reason}{f'（{problem.detail}）' if problem.detail else ''}。{advise(problem.reason)}"


def _unread(told: Explained) -> Iterator[str]:
    if not told.is_examined:
        yield "  其余字段未检查：请先解决上面的问题"
        return
    door = [
        use.path for use in told.uses if not use.became and _plain(use.path) in _DOOR and not use.is_decisive
    ]
    if door:
        yield "  接收时读取：" + "，".join(f"{path} {_DOOR[_plain(path)]}" for path in door)
    silent = [use for use in told.uses if not _is_used(use) and use.path[:3] not in told.unread_segments]
    if silent:
        places = list(dict.fromkeys(use.path for use in silent))
        more = f" 等 {len(places)} 处" if len(places) > _SHOWN_UNREAD else ""
        yield f"  没有用到的字段：{'、'.join(places[:_SHOWN_UNREAD])}{more}"
    if told.unread_segments:
        yield f"  没有用到的段：{'、'.join(told.unread_segments)}"
    if told.is_cut:
        yield "  这条消息太长，只查看了前面的值"


def _is_used(use: ValueUse) -> bool:
    return bool(use.became) or use.is_decisive or _plain(use.path) in _DOOR


def _plain(path: str) -> str:
    """`DG1[2]-3.1` as `DG1-3`: how flags and source files name places."""
    return re.sub(r"\[\d+\]", "", path).partition(".")[0]


def _unmapped_places(told: Explained) -> Iterator[str]:
    for flag in told.flags:
        name, _, place = flag.partition(":")
        if name == "unmapped":
            yield place


def _stands_at(path: str, place: str) -> bool:
    """Whether a value's path is the place a flag names: DG1[2]-3.1 is DG1-3, and DG1-3.1; PV1-3 alone is its .1."""
    plain = re.sub(r"\[\d+\]", "", path)
    return place in (plain, plain.partition(".")[0], f"{plain}.1")


def _unmapped(told: Explained) -> Iterator[str]:
    """Place and code of each that no table of the source knows; the code is a code, and needed to write the table."""
    for place in dict.fromkeys(_unmapped_places(told)):
        sent = [use.value for use in told.uses if _stands_at(use.path, place) and use.became]
        yield f"{place} {sent[0][:20]}" if sent else place


def _masked(text: str) -> str:
    """The shape of a value: how long, and where letters, digits and Chinese characters stand."""
    return "".join(_mask(char) for char in text)


def _mask(char: str) -> str:
    if char.isdigit():
        return "9"
    if char.isascii():
        return ("A" if char.isupper() else "a") if char.isalpha() else char
    return "某" if char.isalpha() else char


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Columns under each other; a Chinese character is two columns wide."""
    cut = [tuple(_short(text) for text in row) for row in rows]
    widths = [max(_width(row[n]) for row in cut) for n in range(len(rows[0]))]
    for row in cut:
        yield (
            "  "
            + "  ".join(
                text + " " * (width - _width(text)) for text, width in zip(row, widths, strict=True)
            ).rstrip()
        )


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:59] + "…"


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
