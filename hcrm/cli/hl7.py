"""`hcrm hl7`: whether messages keep to the standard."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from adapters.his.check import BadProfile, check_message, load_profile
from adapters.his.files import NotMessages, messages_of
from adapters.hl7v2 import read_header
from hcrm.cli.options import Bilingual, charset_option, require_charset, sample_options, sources_for
from hcrm.core.errors import HcrmError
from hcrm.inbox.words import event_words


@click.group(cls=Bilingual, help="HL7 消息 | HL7 messages")
def hl7() -> None:
    """HL7 messages."""


@hl7.command(help="按标准或规范文件检查消息，全部合格才返回 0 | check messages; 0 only when all is well")
@sample_options
@click.option(
    "--profile", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="hl7apy_profile_parser 生成的规范文件 | a message profile",
)  # fmt: skip
@charset_option
def check(files: Sequence[Path], profile: Path | None, code: str, charset: str) -> None:
    """Hints (values outside a table, lengths) are shown and do not count."""
    sources = sources_for(code)
    require_charset(charset)
    try:
        wanted = load_profile(profile) if profile else None
    except BadProfile as error:
        raise HcrmError("profile.invalid", f"规范文件 {profile and profile.name} 无法读取") from error
    good = bad = 0
    for path in files:
        try:
            parts = messages_of(path.read_bytes())
        except NotMessages as error:
            click.echo(f"✗ {path.name}：{error}")
            bad += 1
            continue
        for number, part in enumerate(parts, 1):
            findings = check_message(part.raw, sources, wanted, charset=charset)
            is_good = not any(each.is_error for each in findings)
            good, bad = good + is_good, bad + (not is_good)
            header = read_header(part.raw)
            head = f"{path.name} 第 {number} 条" if len(parts) > 1 else path.name
            click.echo(
                f"{'✓' if is_good else '✗'} {head}：{event_words(header.kind) if header else '没有消息头'}"
            )
            for each in findings:
                click.echo(f"    {'错误' if each.is_error else '提示'} {each.place}：{each.text}")
    click.echo(f"合格 {good} 条，不合格 {bad} 条")
    sys.exit(0 if good and not bad else 1)
