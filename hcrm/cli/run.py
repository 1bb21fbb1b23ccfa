"""`hcrm init` and `hcrm serve`."""

import sys

import click

from hcrm.app import processes
from hcrm.app.install import SYSADMIN, install
from hcrm.cli.options import db_option, private_files, settings_for
from hcrm.core.logs import set_up_logging


@click.command(
    help="建库或升级，载入 config/，首次运行时创建管理员 | create or migrate the database, load config/"
)
@db_option
@click.option("--make-key", is_flag=True, help="允许生成 HCRM_KEY_FILE | may make HCRM_KEY_FILE")
def init(db: str, make_key: bool) -> None:
    """Create or upgrade; prints the first administrator's password once."""
    with private_files():
        result = install(settings_for(db), make_key=make_key)
    click.echo(f"数据库已就绪；新发布定义 {result.published} 个")
    if result.password:
        click.echo(f"系统管理员：{SYSADMIN}  初始密码（只显示这一次）：{result.password}")


@click.command(help="启动全部或部分进程 | run all roles or some of them")
@db_option
@click.option("--http", default="127.0.0.1:8080", show_default=True, help="控制台地址 | console address")
@click.option("--mllp", default="127.0.0.1:2575", show_default=True, help="MLLP 地址 | MLLP address")
@click.option("--only", default="", help="只启动：web,listener,worker,scheduler,sender | only these roles")
def serve(db: str, http: str, mllp: str, only: str) -> None:
    """Run until Ctrl-C or SIGTERM."""
    set_up_logging()
    roles = tuple(filter(None, only.split(","))) or processes.ROLES
    sys.exit(processes.serve(settings_for(db), http=http, mllp=mllp, only=roles))
