"""`hcrm demo`: a seeded hospital, everything running, simulated HIS traffic through the real socket."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import FrameType

import click
import sqlalchemy as sa

from adapters.his.client import MllpClient, is_positive
from adapters.his.simulator import Hospital, Shares, Simulator, live_messages, load_hospital
from hcrm.accounts.passwords import hash_password
from hcrm.accounts.service import add_account
from hcrm.app.install import install
from hcrm.app.processes import require_free
from hcrm.archive.visit_models import Encounter, EncounterStatus
from hcrm.cli.demo_troubles import receive_troubles
from hcrm.cli.demo_year import Year
from hcrm.cli.options import private_files
from hcrm.core.actor import system_actor
from hcrm.core.clock import local_date
from hcrm.core.db import Database
from hcrm.core.errors import HcrmError
from hcrm.core.logs import set_up_logging
from hcrm.core.runtime import open_database
from hcrm.core.settings import Settings, load_settings
from hcrm.core.work import open_work
from hcrm.directory.service import DepartmentEntry, PractitionerEntry, register_staff

SEED = 20
PATIENTS = 3_000
DAYS = 365
PASSWORD = "Demo-2026-hcrm"  # noqa: S105  printed for everybody: this hospital does not exist
_SHARES = Shares(clinical=1.0)  # results, drugs, summaries, costs and bookings of every inpatient stay
PER_MINUTE = 12.0


@dataclass(frozen=True, slots=True)
class Login:
    """An account to try, and what it is for."""

    username: str
    label: str


@click.command(help="演示医院：建库、造数、启动并播放模拟消息 | a seeded hospital with simulated traffic")
@click.option(
    "--dir",
    "folder",
    default="var/demo",
    show_default=True,
    type=click.Path(path_type=Path),
    help="数据目录 | data",
)
@click.option("--http-port", default=8080, show_default=True, help="控制台端口 | console port")
@click.option("--mllp-port", default=2575, show_default=True, help="MLLP 端口 | MLLP port")
@click.option("--no-traffic", is_flag=True, help="不播放模拟消息 | seed and serve only")
@click.option("--patients", default=PATIENTS, show_default=True, help="患者数 | patients")
def demo(folder: Path, http_port: int, mllp_port: int, no_traffic: bool, patients: int) -> None:
    """Runs until Ctrl-C."""
    set_up_logging()
    folder.mkdir(parents=True, exist_ok=True)
    database_file = (folder / "hcrm.db").absolute()
    settings = load_settings(db={"url": f"sqlite:///{database_file}"})
    for port in (http_port, mllp_port):
        require_free("127.0.0.1", port)  # before minutes of seeding, and never into somebody else's listener
    simulator = seed(settings, folder, patients)
    server = _start(settings, http_port, mllp_port)
    stop = threading.Event()

    def told(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, told)
    signal.signal(signal.SIGINT, told)
    if _wait_for(mllp_port, server, stop):
        _greet(http_port, mllp_port, traffic=not no_traffic)
        if no_traffic:
            while not stop.is_set() and server.poll() is None:
                stop.wait(0.5)
        else:
            _play(settings, simulator, mllp_port, server, stop)
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
    code = server.wait()
    click.echo("演示已停止。数据留在 " + str(folder) + "，再次运行会接着用；删除该目录即可重来。")
    sys.exit(code)


def seed(settings: Settings, folder: Path, patients: int) -> Simulator:
    """The hospital of the folder: made on the first start, found again later."""
    hospital = load_hospital()
    note = folder / "seeded"
    if note.exists():
        day, _, number = note.read_text().strip().partition(" ")
        ended, patients = (
            date.fromisoformat(day),
            int(number or patients),
        )  # another number would be other people
        return Simulator(SEED, ended - timedelta(days=DAYS - 1), DAYS, patients, hospital, shares=_SHARES)
    if (folder / "hcrm.db").exists():
        raise HcrmError("demo.unfinished", f"{folder} 里有一个没有建完的演示库，请删除该目录后重试")
    today = local_date(datetime.now(UTC))
    simulator = Simulator(SEED, today - timedelta(days=DAYS), DAYS, patients, hospital, shares=_SHARES)
    began = time.monotonic()
    click.echo("建库 database …")
    with private_files():
        install(settings)
    database = open_database(settings)
    try:
        enter_staff(database, hospital)
        messages = Year(settings, database, simulator).play(_progress)
        messages += receive_troubles(settings, database)
    finally:
        database.dispose()
    note.write_text(f"{today - timedelta(days=1)} {patients}")
    click.echo(f"\r造数完成：{messages} 条消息，{time.monotonic() - began:.0f} 秒            ")
    return simulator


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty() or done % 30 == 0:
        end = "" if sys.stderr.isatty() else "\n"
        click.echo(f"\r造数 seeding：第 {done} / {total} 天{end}", nl=False, err=True)


def enter_staff(database: Database, hospital: Hospital) -> None:
    """Directory and accounts: every physician has one, since instructions go to physicians with an account."""
    digest = hash_password(PASSWORD)
    with open_work(database, actor=system_actor("demo")) as work:
        register_staff(
            work,
            departments=[
                DepartmentEntry(each.code, each.name, each.specialty) for each in hospital.departments
            ],
            practitioners=[
                PractitionerEntry(each.code, each.name, each.title, each.department_code, each.is_head)
                for each in hospital.physicians
            ],
        )
        add_account(
            work, username="service", password_hash=digest, role_names=["service_centre"], display_name="何雅"
        )
        add_account(
            work,
            username="sysadmin",
            password_hash=digest,
            role_names=["sysadmin"],
            display_name="信息科 林工",
        )
        add_account(
            work,
            username="interface",
            password_hash=digest,
            role_names=["interface"],
            display_name="信息科 周工",
        )
        add_account(
            work, username="director", password_hash=digest, role_names=["director"], display_name="孙副院长"
        )
        for each in hospital.physicians:
            add_account(
                work, username=each.code, password_hash=digest, display_name=each.name,
                role_names=["department_head" if each.is_head else "physician"], practitioner_code=each.code,
            )  # fmt: skip


def logins(hospital: Hospital) -> list[Login]:
    """One account per role."""
    physician = next(each for each in hospital.physicians if not each.is_head)
    head = next(each for each in hospital.physicians if each.is_head)
    name = hospital.by_code[physician.department_code].name
    return [
        Login(physician.code, f"医师（{name} {physician.name}）"),
        Login(head.code, f"科主任（{name} {head.name}）"),
        Login("service", "服务中心"),
        Login("director", "院领导"),
        Login("interface", "接口工程师"),
        Login("sysadmin", "系统管理员"),
    ]


def _greet(http_port: int, mllp_port: int, *, traffic: bool) -> None:
    lines = [
        "",
        f"控制台 console   http://127.0.0.1:{http_port}/",
        f"MLLP             127.0.0.1:{mllp_port}" + ("   （模拟 HIS 正在发送消息）" if traffic else ""),
        f"密码 password    {PASSWORD}   （所有演示账号相同）",
        *(f"  {login.username:<10} {login.label}" for login in logins(load_hospital())),
        "按 Ctrl-C 停止。",
        "",
    ]
    click.echo("\n".join(lines))


def _start(settings: Settings, http_port: int, mllp_port: int) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "hcrm.cli.main", "serve", "--http", f"127.0.0.1:{http_port}",
        "--mllp", f"127.0.0.1:{mllp_port}",
    ]  # fmt: skip
    return subprocess.Popen(
        command, env={**os.environ, "HCRM_DB__URL": settings.db.url}, start_new_session=True
    )


def _wait_for(port: int, server: subprocess.Popen[bytes], stop: threading.Event) -> bool:
    """Until the listener answers; False when the server ended or we were told to stop."""
    while not stop.is_set() and server.poll() is None:
        try:
            MllpClient("127.0.0.1", port, timeout=1).close()
        except OSError:
            stop.wait(0.3)
        else:
            return True
    return False


def _play(
    settings: Settings,
    simulator: Simulator,
    port: int,
    server: subprocess.Popen[bytes],
    stop: threading.Event,
) -> None:
    """Send live messages, each at its time; a connection that breaks is made again."""
    messages = live_messages(
        simulator, now=datetime.now(UTC), per_minute=PER_MINUTE, open_visits=_open_visits(settings)
    )
    client: MllpClient | None = None
    for message in messages:
        while not stop.is_set() and server.poll() is None and datetime.now(UTC) < message.at:
            stop.wait(min(0.5, max(0.0, (message.at - datetime.now(UTC)).total_seconds())))
        while not stop.is_set() and server.poll() is None:
            try:
                client = client or MllpClient("127.0.0.1", port)
                if not is_positive(client.send(message.raw)):
                    click.echo("监听端口拒绝了一条模拟消息", err=True)
                break
            except OSError:
                client = None
                stop.wait(1)
        if stop.is_set() or server.poll() is not None:
            return


def _open_visits(settings: Settings) -> frozenset[str]:
    database = open_database(settings)
    try:
        with open_work(database, actor=system_actor("demo"), write=False) as work:
            return frozenset(
                work.scalars(
                    sa.select(Encounter.visit_no).where(Encounter.status == EncounterStatus.IN_PROGRESS)
                )
            )
    finally:
        database.dispose()
