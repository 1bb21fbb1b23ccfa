#!/usr/bin/env python3
"""HCRM's starter: from a bare Python 3.11 to the demo, the tests or a developer's environment.

Standard library only: it must work where there is no make, no uv, no ensurepip and no network but a mirror.
It names no package index; pip knows this machine's, and uv is told what pip knows (uv does not read pip.conf).
"""

from __future__ import annotations  # so that an older Python reads this far and is told what it lacks

import ast
import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
SETUP_LOCK = ROOT / "requirements-setup.lock"
LOCKS = {"run": ROOT / "requirements.lock", "dev": ROOT / "requirements-dev.lock"}
LONG_PROOFS = "kill,fuzz,year,soak,failover"

HELP = """\
用法 usage: python3 run.py <verb> [...]

  demo    演示医院：建库、造数、启动全部进程   [--dir DIR] [--http-port N] [--mllp-port N] [--no-traffic]
  test    全部测试；其余参数交给 pytest        [--all[=kill|fuzz|year|soak|failover]] [pytest args]
  check   CI 所做的全部：规范、类型、分层，最后测试（lint, types, imports, tests last）
  bench   性能对比 benchmarks                  [--size 1m] [--only NAME]
  setup   只准备开发环境 the environment only
  hcrm    运行 hcrm 命令 any command of the product: python3 run.py hcrm --help

  lint · fmt · types · imports · lock          单项工具，开发用 one tool each, for developers"""


class Refused(Exception):
    """What stops the starter, said in one line."""


def say(text: str) -> None:
    """One line of progress, on stderr: stdout belongs to the command that follows."""
    print(f"==> {text}", file=sys.stderr, flush=True)


# ── the environment ──────────────────────────────────────────────────────────────────────────────────────


def prepare(kind: str) -> None:
    """Make `.venv` hold what the lock of that kind lists; a finished environment is recognised by its stamp."""
    wanted = {name: VENV / f".hcrm-{fingerprint(name)}" for name in LOCKS}
    if PYTHON.exists() and wanted[kind].exists():
        return
    if VENV.is_symlink():
        raise Refused(
            f"{VENV} 是指向别处的链接，不会清空它 is a link; what it points to is not ours to empty"
        )
    started = time.monotonic()
    say("准备环境 environment: .venv（首次约一分钟 a minute the first time）")
    if not made_here():
        venv.EnvBuilder(with_pip=False, clear=True, symlinks=os.name != "nt").create(VENV)
    install(LOCKS[kind])
    for stamp in VENV.glob(".hcrm-*"):
        stamp.unlink()
    # The developers' list holds the whole of the other one (tests/test_project.py), so it serves both.
    for name in LOCKS if kind == "dev" else [kind]:
        (VENV / f".hcrm-{fingerprint(name)}").write_text(home(), encoding="utf-8")
    say(f"环境就绪 ready: {time.monotonic() - started:.1f} s")


def fingerprint(kind: str) -> str:
    """What decides whether an environment of that kind is current: lists, project, place and Python."""
    digest = hashlib.sha256(home().encode())
    for file in (SETUP_LOCK, LOCKS[kind], ROOT / "pyproject.toml"):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def home() -> str:
    """The checkout and the interpreter an environment belongs to; its scripts carry both inside them."""
    config = VENV / "pyvenv.cfg"
    version = config.read_text(encoding="utf-8") if config.exists() else ""
    return f"{ROOT}\n{os.path.realpath(PYTHON)}\n{version}"


def made_here() -> bool:
    """Whether `.venv` was finished by this file for this checkout: a moved or half-made one is made anew."""
    return PYTHON.exists() and any(
        stamp.read_text(encoding="utf-8") == home() for stamp in VENV.glob(".hcrm-*")
    )


def install(lock: Path) -> None:
    """Install a hash-locked list and the project itself, by uv where the index has it, else by pip."""
    pip = find_pip()
    environment = installer_environment(pip)

    def run(*command: object) -> bool:
        quiet = [] if sys.stderr.isatty() else ["--quiet"]
        words = [*map(str, command), *quiet]
        return (
            subprocess.run(words, cwd=ROOT, env=environment, stdout=sys.stderr, check=False).returncode == 0
        )

    locked = ["--require-hashes", "-r"]
    say("安装工具 installer: uv")
    by_uv = run(*pip, "install", *locked, SETUP_LOCK)
    if by_uv:
        say(f"安装依赖 dependencies: {lock.name}")
        uv = [BIN / "uv", "pip", "install", "--python", PYTHON]
        by_uv = run(*uv, *locked, lock) and run(*uv, "--no-deps", "--no-build-isolation", "--editable", ROOT)
    if not by_uv:
        say(f"安装依赖 dependencies: {lock.name}（pip，较慢 slower）")
        if not run(*pip, "install", *locked, lock) or not run(
            *pip, "install", "--no-deps", "--editable", ROOT
        ):
            raise Refused("依赖安装失败，原因见上 installing failed, see above")


def find_pip() -> list[str]:
    """The way to install into `.venv` that this machine has.

    Debian's Python has no ensurepip without python3-venv, and refuses its own pip outside an environment:
    `pip --python` works from beside it.
    """
    base = getattr(sys, "_base_executable", sys.executable)
    beside: list[list[str]] = [[base, "-m", "pip"], ["pip3"], ["pip"]]
    for words in beside:
        command = [*words, "--python", str(PYTHON)]
        if shutil.which(words[0]) and succeeds([*command, "--version"]):
            return command
    inside = [str(PYTHON), "-m", "pip"]
    if succeeds([str(PYTHON), "-m", "ensurepip"]) and succeeds([*inside, "--version"]):
        return inside
    raise Refused(
        "这台机器没有 pip，无法安装依赖；请先安装（Debian/Ubuntu：apt-get install python3-pip）"
        " No pip on this machine: install python3-pip or python3-venv first"
    )


def succeeds(command: list[str]) -> bool:
    """Whether a command ends well; what it prints is of no interest."""
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0


def installer_environment(pip: list[str]) -> dict[str, str]:
    """The environment for pip and uv: where pip fetches from, told to uv in its own variables.

    They may carry credentials: they go into the child's environment, never into a file or a line of output.
    """
    environment = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", **os.environ, "PIP_USER": "0"}
    if sys.dont_write_bytecode:  # then every start would compile everything anew: three seconds each
        environment.setdefault("UV_COMPILE_BYTECODE", "1")
    # pip weighs all indexes alike and uv takes the first that knows a name. The hashes decide what is taken.
    environment.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    known = pip_settings(pip)
    for setting, variables, separator in (
        ("index-url", ("UV_DEFAULT_INDEX",), " "),
        ("extra-index-url", ("UV_INDEX",), " "),
        ("find-links", ("UV_FIND_LINKS",), ","),
        ("no-index", ("UV_NO_INDEX",), " "),
        ("trusted-host", ("UV_INSECURE_HOST",), " "),
        ("timeout", ("UV_HTTP_TIMEOUT",), " "),
        ("cert", ("SSL_CERT_FILE",), " "),
        ("proxy", ("HTTP_PROXY", "HTTPS_PROXY"), " "),
    ):
        if setting in known:
            for variable in variables:
                environment.setdefault(variable, separator.join(known[setting].split()))
    return environment


def pip_settings(pip: list[str]) -> dict[str, str]:
    """What pip is configured with, by option name; its environment variables win over its files."""
    listing = subprocess.run(
        [*pip, "config", "list"], capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listing.stdout.splitlines():
        key, equals, value = line.partition("=")
        section, _, option = key.rpartition(".")
        if equals and section in found:
            found[section][option] = str(ast.literal_eval(value))
    return {**found["global"], **found["install"], **found[":env:"]}


# ── the verbs ────────────────────────────────────────────────────────────────────────────────────────────


def tool(name: str, *arguments: str) -> list[str]:
    """A command of the environment."""
    return [str(BIN / (f"{name}.exe" if os.name == "nt" else name)), *arguments]


def prepare_for_developers() -> None:
    """The developers' environment, and the checkout as the place where its tools run."""
    prepare("dev")
    os.chdir(ROOT)


def hand_over(command: list[str]) -> int:
    """Become that command, so that signals and the exit code are its own (Windows: wait for it)."""
    sys.stdout.flush()
    if os.name != "nt":
        os.execv(command[0], command)  # noqa: S606  a shell is what it avoids
    child = subprocess.Popen(command)
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:  # the child got the same Ctrl-C and is ending; its code is the answer
            continue


def run_all(*commands: list[str]) -> int:
    """Run each command, also after one has failed; the number that failed."""
    return sum(subprocess.run(command, check=False).returncode != 0 for command in commands)


LINT = [("ruff", "check", "."), ("ruff", "format", "--check", ".")]
TYPES = [("mypy",)]
IMPORTS = [("lint-imports",)]
FORMAT = [("ruff", "check", "--fix", "."), ("ruff", "format", ".")]


def developer_tool(*steps: tuple[str, ...]) -> Callable[[list[str]], int]:
    """A verb that runs one or two tools of the environment."""

    def run(_: list[str]) -> int:
        prepare_for_developers()
        return 1 if run_all(*(tool(*step) for step in steps)) else 0

    return run


def setup(_: list[str]) -> int:
    """The environment only."""
    prepare("dev")
    return 0


def hcrm(arguments: list[str]) -> int:
    """A command of the product."""
    prepare("run")
    return hand_over(tool("hcrm", *arguments))


def demo(arguments: list[str]) -> int:
    """The demonstration hospital."""
    return hcrm(["demo", *arguments])


def bench(arguments: list[str]) -> int:
    """The benchmarks, beside the peers that only the developers' list holds."""
    prepare_for_developers()
    return hand_over(tool("python", "-m", "bench.main", *arguments))


def test(arguments: list[str]) -> int:
    """The suite; a whole run is shared out over the processors, a chosen part is not worth their start."""
    prepare_for_developers()
    return hand_over(pytest_command(arguments))


def pytest_command(arguments: list[str]) -> list[str]:
    """pytest with `--all` spelled out and the processors it may use."""
    words = [f"--all={LONG_PROOFS}" if word == "--all" else word for word in arguments]
    chosen = [word for word in words if not word.startswith("--all=")]
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = ["-n", str(min(processors, 4))] if processors > 1 and not chosen else []
    # A long proof is no hang.
    patient = ["-o", "faulthandler_exit_on_timeout=false"] if chosen != words else []
    return tool("python", "-m", "pytest", *share, *patient, *words)


def check(arguments: list[str]) -> int:
    """Everything CI does. The tests come last and end with pytest's own summary."""
    prepare_for_developers()
    failed = []
    for title, steps in (("规范 lint", LINT), ("类型 types", TYPES), ("分层 imports", IMPORTS)):
        say(title)
        if run_all(*(tool(*step) for step in steps)):
            failed.append(title)
    if failed:
        say(f"未通过 failed: {'，'.join(failed)}")
    say("测试 tests")
    if not failed:
        return hand_over(pytest_command(arguments))
    subprocess.run(pytest_command(arguments), check=False)
    return 1


def lock(_: list[str]) -> int:
    """Compile the three lists anew from pyproject.toml: pinned, hashed, without any address."""
    prepare_for_developers()
    environment = installer_environment(find_pip())
    options = ["--universal", "--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    for file, sources in (
        (LOCKS["run"], ["pyproject.toml"]),
        (LOCKS["dev"], ["pyproject.toml", "--group", "dev"]),
        (SETUP_LOCK, ["--group", "pyproject.toml:setup"]),
    ):
        command = tool(
            "uv", "pip", "compile", "--python-version", "3.11", *options, *sources, "-o", file.name
        )
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return 0


VERBS: dict[str, Callable[[list[str]], int]] = {
    "demo": demo,
    "test": test,
    "check": check,
    "bench": bench,
    "setup": setup,
    "hcrm": hcrm,
    "lint": developer_tool(*LINT),
    "fmt": developer_tool(*FORMAT),
    "types": developer_tool(*TYPES),
    "imports": developer_tool(*IMPORTS),
    "lock": lock,
}


def main(arguments: list[str]) -> int:
    """Run one verb; 2 for a verb there is not, 130 after Ctrl-C."""
    if sys.version_info < (3, 11):  # noqa: UP036  whoever starts this may well have an older one
        say(f"需要 Python 3.11 或更新版本 needs Python 3.11 or newer, this is {sys.version.split()[0]}")
        return 1
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("help", [])
    if verb not in VERBS:
        print(HELP, file=sys.stdout if verb in {"help", "-h", "--help"} else sys.stderr)
        return 0 if verb in {"help", "-h", "--help"} else 2
    try:
        return VERBS[verb](rest)
    except Refused as refusal:
        say(str(refusal))
        return 1
    except subprocess.CalledProcessError as error:
        return error.returncode
    except KeyboardInterrupt:
        say("已取消 cancelled")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
