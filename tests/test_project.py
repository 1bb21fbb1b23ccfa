"""The project itself: its lists, its wheel, its starter, and what must not stand in the tree."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import hcrm
import run
from tests.support.database import PostgresqlDatabases

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in ("requirements.lock", "requirements-dev.lock", "requirements-setup.lock")
}
PINNED = re.compile(r"^([a-z0-9-]+)==([^ ;]+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    return dict(PINNED.findall(LOCKS[name]))


def group(name: str) -> list[Requirement]:
    """A dependency group of pyproject.toml with the groups it includes."""
    found = []
    for entry in PROJECT["dependency-groups"][name]:
        found += group(entry["include-group"]) if isinstance(entry, dict) else [Requirement(entry)]
    return found


def tracked_files() -> list[Path]:
    """What a clone holds, and new files that are not ignored; in an unpacked archive everything but what runs leave."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if listing.returncode == 0:
        names = listing.stdout.decode().split("\0")
        return [path for name in names if name and (path := ROOT / name).is_file()]
    left = {".git", ".venv", "var", "__pycache__"}
    return [
        path for path in ROOT.rglob("*") if path.is_file() and left.isdisjoint(path.relative_to(ROOT).parts)
    ]


# ── words ───────────────────────────────────────────────────────────────────


def test_chinese_sentences_have_chinese_commas():
    """`接通,本人` is a slip of the keyboard; in data (JSON, lists of codes) both sides are not Chinese."""
    slip = re.compile("[\u4e00-\u9fff”）],[\u4e00-\u9fff“（]")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in tracked_files()
        if path.suffix in {".py", ".html", ".yaml", ".js"} and path != Path(__file__)
        for line in path.read_text(encoding="utf-8").splitlines()
        if slip.search(line)
    ]

    assert found == []


# ── lists ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("requirements.lock", [Requirement(text) for text in PROJECT["project"]["dependencies"]]),
        (
            "requirements-dev.lock",
            [Requirement(text) for text in PROJECT["project"]["dependencies"]] + group("dev"),
        ),
        ("requirements-setup.lock", group("setup")),
    ],
)
def test_a_lock_pins_what_pyproject_asks_for(name, wanted):
    locked = pins(name)
    missing = [
        str(want)
        for want in wanted
        if not want.specifier.contains(locked.get(canonicalize_name(want.name), ""))
    ]

    assert missing == []


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_of_a_lock_carries_hashes_and_no_line_an_address(name):
    entries = re.split(r"\n(?=\S)", LOCKS[name].strip())

    assert [entry for entry in entries if not PINNED.match(entry) or "--hash=sha256:" not in entry] == []
    assert "://" not in LOCKS[name]
    assert "index" not in LOCKS[name].replace("importlib", "")


def test_the_developers_lock_holds_the_other_two_unchanged():
    developers = pins("requirements-dev.lock").items()

    assert pins("requirements.lock").items() <= developers
    assert pins("requirements-setup.lock").items() <= developers


def test_what_a_hospital_installs_carries_no_licence_but_named_ones():
    """GPL would bind the product; LGPL binds only the package that carries it and is named in NOTICE."""
    bound = {}
    for name in pins("requirements.lock"):
        try:
            about = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:  # for another platform
            continue
        licence = (
            about.get("License-Expression")
            or about.get("License")
            or " ".join(about.get_all("Classifier") or [])
        )
        if "GPL" in licence:
            bound[name] = licence

    assert bound == {"psycopg": "LGPL-3.0-only", "psycopg-binary": "LGPL-3.0-only"}
    assert all(name in (ROOT / "NOTICE").read_text(encoding="utf-8") for name in bound)


def test_the_version_is_the_same_in_code_and_pyproject():
    assert hcrm.__version__ == PROJECT["project"]["version"]


# ── the wheel ───────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> set[str]:
    """Names of everything in the wheel, built as a release builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (file,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(file).namelist())


@pytest.mark.parametrize("part", ["hcrm", "adapters", "followup", "community", "tcm_care"])
def test_the_wheel_carries_every_file_of_a_package(wheel, part):
    files = {
        path.relative_to(ROOT).as_posix() for path in tracked_files() if path.is_relative_to(ROOT / part)
    }

    assert files
    assert files <= wheel


@pytest.mark.parametrize("part", ["templates", "config"])
def test_the_wheel_carries_the_data_folders_where_core_paths_looks(wheel, part):
    files = {
        path.relative_to(ROOT).as_posix() for path in tracked_files() if path.is_relative_to(ROOT / part)
    }

    assert files
    assert {f"hcrm/_data/{name}" for name in files} <= wheel


def test_the_wheel_carries_migrations_static_files_and_the_licence(wheel):
    for start in ("hcrm/migrations/versions/", "hcrm/static/", "hcrm-0.1.0.dist-info/licenses/LICENSE"):
        assert any(name.startswith(start) for name in wheel), start


def test_the_wheel_carries_no_test_and_nothing_a_run_left_behind(wheel):
    strangers = [
        name
        for name in wheel
        if name.startswith(("tests/", "bench/", "var/", "docs/")) or "__pycache__" in name
    ]

    assert strangers == []


# ── the tree ────────────────────────────────────────────────────────────────


def test_no_file_names_a_path_of_this_machine():
    places = [str(ROOT).encode(), f"{ROOT.parent}/shared".encode(), f"{Path.home()}/".encode()]
    guilty = [path.name for path in tracked_files() if any(place in path.read_bytes() for place in places)]

    assert guilty == []


def test_no_file_says_where_packages_come_from():
    """The starter asks pip at run time; a committed address would send other machines there."""
    words = [b"-" * 2 + b"index-url", b"-" * 2 + b"extra-index-url", b'"resolved": ' + b'"http']
    words += [host.encode() for host in index_hosts()]
    guilty = [path.name for path in tracked_files() if any(word in path.read_bytes() for word in words)]

    assert guilty == []


def index_hosts() -> set[str]:
    """The hosts this machine's pip is set to fetch from, if any."""
    python = getattr(sys, "_base_executable", sys.executable)
    settings = subprocess.run(
        [python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    addresses = re.findall(r"https?://\S+?(?=['\s])", settings.stdout)
    return {host for address in addresses if (host := urlsplit(address).hostname)}


@pytest.mark.parametrize("name", ["LICENSE", "NOTICE", "SECURITY.md", "README.md", "CHANGELOG.md"])
def test_the_tree_holds_the_papers_of_a_release(name):
    assert (ROOT / name).stat().st_size > 100


def test_ci_and_make_only_call_the_starter():
    called = re.findall(r"^\t(.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)

    assert [line for line in called if not line.startswith(("$(RUN) ", "@awk "))] == []
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").rstrip().endswith("exec python3 run.py check")


# ── the starter ─────────────────────────────────────────────────────────────


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-S", str(ROOT / "run.py"), *arguments],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_the_starter_needs_nothing_but_the_standard_library_and_shows_every_verb():
    shown = start("--help")

    assert shown.returncode == 0
    assert all(f"  {verb}" in shown.stdout for verb in ("demo", "test", "check", "bench", "setup", "hcrm"))


def test_the_starter_refuses_a_verb_it_does_not_know():
    refused = start("tset")

    assert refused.returncode == 2
    assert "usage" in refused.stderr


def test_the_starter_tells_uv_where_pip_fetches_from(monkeypatch, tmp_path):
    settings = tmp_path / "pip.conf"
    settings.write_text(
        "[global]\nindex-url = https://file.invalid/simple\nproxy = http://proxy.invalid:3128\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    monkeypatch.setenv("PIP_INDEX_URL", "https://variable.invalid/simple")  # which wins over the file
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://one.invalid/simple https://two.invalid/simple")
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)

    told = run.installer_environment(run.find_pip())

    assert told["UV_DEFAULT_INDEX"] == "https://variable.invalid/simple"
    assert told["UV_INDEX"] == "https://one.invalid/simple https://two.invalid/simple"
    assert told["HTTPS_PROXY"] == "http://proxy.invalid:3128"


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        (["--all"], "--all=kill,fuzz,year,soak,failover"),
        (["--all=kill"], "--all=kill"),
        (["-k", "archive"], "archive"),
    ],
)
def test_the_starter_hands_its_arguments_to_pytest(given, passed_on):
    assert run.pytest_command(given)[-1] == passed_on


def test_the_starter_does_not_empty_an_environment_that_is_a_link(monkeypatch, tmp_path):
    elsewhere, link = tmp_path / "elsewhere", tmp_path / ".venv"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    link.symlink_to(elsewhere)
    monkeypatch.setattr(run, "VENV", link)

    with pytest.raises(run.Refused, match="link"):
        run.prepare("dev")
    assert (elsewhere / "kept").exists()


# ── what the tests stand on ─────────────────────────────────────────────────


@pytest.mark.postgresql
def test_a_postgresql_database_is_handed_out_again_as_if_it_were_new(
    postgresql_databases: PostgresqlDatabases, tmp_path
):
    with (
        postgresql_databases.fresh(tmp_path) as first,
        psycopg.connect(plain(first), autocommit=True) as connection,
    ):
        connection.execute("CREATE TABLE kept (id bigint GENERATED ALWAYS AS IDENTITY, word text)")
        connection.execute("INSERT INTO kept (word) VALUES ('a'), ('b')")

    with (
        postgresql_databases.fresh(tmp_path) as again,
        psycopg.connect(plain(again), autocommit=True) as connection,
    ):
        assert again == first
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        assert connection.execute("INSERT INTO kept (word) VALUES ('c') RETURNING id").fetchone() == (1,)
        connection.execute("DROP TABLE kept")


def plain(url: str) -> str:
    return url.replace("+psycopg", "")
