"""What commands share: the `--db` option, errors in one line, help in two languages."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click
import sqlalchemy as sa

from hcrm.core.config_file import checked_charset
from hcrm.core.errors import HcrmError
from hcrm.core.paths import config_path
from hcrm.core.settings import Settings, load_settings
from hcrm.core.sources import Sources, load_sources

F = TypeVar("F", bound=Callable[..., Any])


def db_option(function: F) -> F:
    """`--db URL`, else HCRM_DB__URL, else config/hcrm.toml."""
    option = click.option(
        "--db", "db", default="", metavar="URL", help="数据库地址 | database URL (or HCRM_DB__URL)"
    )
    return option(function)


def sample_options(function: F) -> F:
    """`FILE…` with messages, and `--source CODE` for those who do not say whose they are."""
    files = click.argument(
        "files", nargs=-1, required=True, metavar="FILE…",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
    )  # fmt: skip
    code = click.option(
        "--source",
        "code",
        default="",
        metavar="CODE",
        help="按此来源解读，不看 MSH-3/4 | read as this source",
    )
    return files(code(function))


def charset_option(function: F) -> F:
    """`--charset NAME`: how samples are read, whatever they or their source's file say."""
    option = click.option(
        "--charset", default="", metavar="NAME", help="按此字符集解读 | read in this charset"
    )
    return option(function)


def require_charset(name: str) -> None:
    """Refuse a charset nothing can be read in."""
    if not name:
        return
    try:
        checked_charset(name)
    except ValueError as error:
        raise HcrmError("hl7.charset", str(error)) from None


def settings_for(db: str) -> Settings:
    """The settings with the command's database."""
    return load_settings(db={"url": db}) if db else load_settings()


@contextmanager
def refusals() -> Any:
    """A refusal ends the command with its sentence and exit code 1."""
    try:
        yield
    except HcrmError as error:
        click.echo(f"hcrm: {error.message}", err=True)
    except sa.exc.OperationalError:
        click.echo("hcrm: 连不上数据库，或数据库文件无法读写", err=True)
    except PermissionError as error:
        click.echo(f"hcrm: 没有权限：{error.filename}", err=True)
    except FileNotFoundError as error:
        click.echo(f"hcrm: 找不到文件或目录：{error.filename}", err=True)
    else:
        return
    sys.exit(1)


def sources_for(code: str) -> Sources:
    """The sources as their files describe them; with a code everybody is read as that one."""
    sources = load_sources(config_path("sources"))
    if not code:
        return sources
    chosen = sources.default if code == "default" else sources.by_code.get(code)
    if chosen is None:
        known = "、".join(sources.by_code) or "default"
        raise HcrmError("source.unknown", f"没有这个来源：{code}（可用：{known}）")
    return Sources([chosen.model_copy(update={"code": "default", "sender": ""})])


@contextmanager
def private_files() -> Iterator[None]:
    """What is made here is for the account that runs HCRM alone: the files of SQLite, like the key file."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


class Bilingual(click.Group):
    """A group whose commands are imported when they are needed and whose help is `中文 | English`."""

    def __init__(self, *args: Any, lazy: dict[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, imported or not."""
        return sorted({*super().list_commands(ctx), *self.lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module on first use."""
        if cmd_name in self.lazy and cmd_name not in self.commands:
            module, _, name = self.lazy[cmd_name].partition(":")
            self.add_command(getattr(import_module(module), name), cmd_name)
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _choose(command, language(ctx))
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Refusals of any command end here."""
        with refusals():
            return super().invoke(ctx)


def language(ctx: click.Context) -> str:
    """The language of help: `--lang` of the root command."""
    return str(ctx.find_root().params.get("lang") or "zh")


def _choose(command: click.Command, lang: str) -> None:
    for holder in (command, *command.params):
        for name in ("help", "short_help"):
            text = getattr(holder, name, None)
            if text and " | " in text:
                zh, en = text.split(" | ", 1)
                setattr(holder, name, en if lang == "en" else zh)
