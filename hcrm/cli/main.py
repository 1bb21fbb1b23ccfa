"""The root of every command."""

import click

from hcrm import __version__
from hcrm.cli.options import Bilingual

COMMANDS = {
    "account": "hcrm.cli.account:account",
    "config": "hcrm.cli.config:config",
    "deaths": "hcrm.cli.deaths:deaths",
    "demo": "hcrm.cli.demo:demo",
    "directory": "hcrm.cli.directory:directory",
    "doctor": "hcrm.cli.doctor:doctor",
    "hl7": "hcrm.cli.hl7:hl7",
    "identity": "hcrm.cli.identity:identity",
    "import": "hcrm.cli.imports:import_files",
    "inbox": "hcrm.cli.inbox:inbox",
    "init": "hcrm.cli.run:init",
    "limits": "hcrm.cli.doctor:show_limits",
    "names": "hcrm.cli.names:names",
    "segments": "hcrm.cli.segments:segments",
    "serve": "hcrm.cli.run:serve",
    "simulate": "hcrm.cli.simulate:simulate",
    "source": "hcrm.cli.source:source",
    "token": "hcrm.cli.account:token",
}


@click.group(
    cls=Bilingual, lazy=COMMANDS, help="HCRM 患者关系管理 · hospital patient relationship management"
)
@click.option(
    "--lang", type=click.Choice(["zh", "en"]), default="zh", is_eager=True, help="帮助的语言 language of help"
)
@click.version_option(__version__, prog_name="hcrm")
def main(lang: str) -> None:
    """Commands are in modules of their own, imported when used."""


if __name__ == "__main__":
    main()
