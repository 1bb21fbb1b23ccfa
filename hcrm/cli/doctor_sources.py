"""What `hcrm doctor` says of the sources' files beyond their mistakes: which were read, and what is seldom meant."""

from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from hcrm.archive.terms import EncounterClass
from hcrm.core.actor import system_actor
from hcrm.core.errors import HcrmError
from hcrm.core.runtime import open_database
from hcrm.core.settings import Settings
from hcrm.core.sources import Source, Sources, load_sources
from hcrm.core.work import open_work
from hcrm.directory.models import Department

_EXPLAINING = (".md",)
"""Files beside them that nobody takes for one."""


def list_sources(folder: Path) -> Iterator[str]:
    """Each source that is read: its code, and the sender and facility it is known by."""
    for source in load_sources(folder).by_code.values():
        unnamed = "没有登记的发送方" if source.code == "default" else "不按 MSH-3 识别"
        sender = f"MSH-3 {source.sender}" if source.sender else unnamed
        facility = f"，MSH-4 {source.facility}" if source.facility else ""
        yield f"{source.code}（{source.title}）：{sender}{facility}"


def list_unread(folder: Path) -> list[str]:
    """Files of a folder of `*.yaml` that are not read: another ending, or in upper case."""
    return sorted(
        path.name
        for path in folder.glob("*")
        if path.is_file() and path.suffix != ".yaml" and path.suffix not in _EXPLAINING
        and not path.name.startswith(".")
    )  # fmt: skip


def source_warnings(folder: Path, settings: Settings) -> Iterator[str]:
    """No faults, but seldom meant."""
    if unread := list_unread(folder):
        yield f"config/sources 中没有读的文件：{'、'.join(unread)}。只读扩展名为 .yaml（小写）的文件"
    try:
        sources = load_sources(folder)
    except HcrmError:
        return  # said as a fault
    for source in sources.by_code.values():
        if source.follow_up_from is None:
            yield f"来源 {source.code} 没有设切换时间 follow_up_from：此前出院的患者也会下达随访指令"
        yield from _classless(source)
    if not settings.mllp.known_senders_only:
        yield (
            "没有来源文件的发送方也会收下、入档并下达随访指令（mllp.known_senders_only = false）；"
            "只收登记了的，请设为 true"
        )
    yield from _unknown_targets(sources, settings)


def _classless(source: Source) -> Iterator[str]:
    """Blocks of its file whose rows open stays of no class, which are in no comparison."""
    for name, rows in source.row_forms.items():
        if rows.is_classless:
            yield (
                f"来源 {source.code} 的 {name} 没有就诊类别（columns 中没有 encounter_class，也没有 default_class）："
                f"只由它得知的就诊类别为“{EncounterClass.UNKNOWN.label}”，不参加对账，也不进入限定就诊类别的随访方案"
            )


def _unknown_targets(sources: Sources, settings: Settings) -> Iterator[str]:
    """Codes that tables of departments lead to and the directory does not have."""
    targets = {code: sorted(set(each.departments.values())) for code, each in sources.by_code.items()}
    if not any(targets.values()):
        return
    try:
        database = open_database(settings)
        try:
            with open_work(database, actor=system_actor("doctor"), write=False) as work:
                known = set(work.scalars(sa.select(Department.code)))
        finally:
            database.dispose()
    except (HcrmError, sa.exc.DBAPIError):
        return  # said as a fault
    for code, wanted in targets.items():
        if absent := [each for each in wanted if each not in known]:
            yield (
                f"来源 {code} 的 departments 对照到科室目录中没有的代码：{'、'.join(absent)}。"
                "请核对，或先用 hcrm directory load 载入科室"
            )
