"""The documents say what the code does: whatever has a name is named, whatever is named exists."""

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import click
import pytest
from pydantic import BaseModel

from adapters.his import mapping
from adapters.his.map_acts import ACTS
from hcrm.accounts.permissions import PERMISSIONS, SCOPES, roles
from hcrm.centre.fhir import TASK_STATUS
from hcrm.centre.measures import MEASURES
from hcrm.cli.main import main
from hcrm.core import limits
from hcrm.core.events import Fact
from hcrm.core.settings import Settings
from hcrm.core.sources import Source
from hcrm.desk.fhir_api import resource_types
from hcrm.inbox.words import FLAGS, REASONS, REFUSALS
from hcrm.scheduler.table import JOBS

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("hcrm", "adapters", "followup", "community", "tcm_care")
PAPERS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PLACE = re.compile(
    r"(?:hcrm|adapters|followup|community|tcm_care|templates|config|tests|bench|docs)/[\w./-]*[\w/]"
)
DOTTED = re.compile(r"(?:hcrm|adapters|followup)(?!\.db)(?:\.\w+)+")  # hcrm.db is a database's file
each_paper = pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.relative_to(ROOT).as_posix())


def doc(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def code_words(text: str) -> set[str]:
    """What stands in backticks, outside of fenced examples."""
    return {
        word.replace("\\|", "|") for word in CODE.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    }


def missing(names: Iterable[str], text: str) -> list[str]:
    """The names the text does not hold in backticks."""
    return sorted(set(names) - code_words(text))


@cache
def sources_of_code() -> str:
    files = [path for root in PACKAGES for path in (ROOT / root).rglob("*.py")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


# ── whatever has a name is named ────────────────────────────────────────────


def test_every_setting_is_named_with_its_variable() -> None:
    names = list(settings_of(Settings))

    assert missing(names, doc("operations.md")) == []
    variables = ["HCRM_" + name.upper().replace(".", "__") for name in names]
    assert missing(variables, doc("operations.md")) == []


def settings_of(part: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in part.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from settings_of(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_command_is_named() -> None:
    commands = list(commands_of(main, click.Context(main), "hcrm"))

    assert "hcrm inbox replay" in commands  # one that is imported when used
    assert missing(commands, doc("operations.md")) == []


def commands_of(command: click.Command, context: click.Context, path: str) -> Iterator[str]:
    if not isinstance(command, click.Group):
        yield path
        return
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from commands_of(found, click.Context(found, parent=context), f"{path} {name}")


def test_every_fact_is_named_with_who_hears_it() -> None:
    for root in PACKAGES:
        for module in pkgutil.walk_packages([str(ROOT / root)], f"{root}."):
            if module.name.endswith(".events"):
                importlib.import_module(module.name)
    facts = [kind.__name__ for kind in Fact.kinds.values() if kind.__module__.partition(".")[0] in PACKAGES]

    assert "EncounterDischarged" in facts
    assert missing(facts, doc("architecture.md")) == []


def test_every_field_of_a_source_is_explained() -> None:
    table = section(doc("interfaces/his-adt.md"), "Settings of a source")

    assert missing(list(Source.model_fields), table) == []


def test_the_events_named_as_supported_are_those_that_are_mapped() -> None:
    table = section(doc("interfaces/his-adt.md"), "Events")
    rows = re.findall(r"^\| (`[A-Z]\d\d`(?:, `[A-Z]\d\d`)*) \|", table, re.MULTILINE)
    named = {event for row in rows for event in re.findall(r"[A-Z]\d\d", row)}

    assert named == {*mapping.EVENTS, *mapping.PERSON_EVENTS, *ACTS, mapping.SWAP}


def test_every_reason_flag_and_refusal_of_a_message_is_named() -> None:
    assert missing([*REASONS, *FLAGS, *REFUSALS], doc("interfaces/his-adt.md")) == []


def test_every_permission_scope_and_role_is_named() -> None:
    assert missing([*PERMISSIONS, *SCOPES], doc("privacy.md")) == []
    assert missing(list(roles()), doc("privacy.md")) == []


def test_the_table_of_roles_is_the_file_of_roles() -> None:
    """Where a row says "as physician", only the difference is listed."""
    rows = {
        line.split("|")[1].strip(" `"): line for line in doc("privacy.md").splitlines() if line[:3] == "| `"
    }
    for name, role in roles().items():
        _, _, label, scope, permissions, _ = rows[name].split("|")
        listed = set(CODE.findall(permissions))
        if "as physician" in permissions:
            listed |= set(roles()["physician"].permissions)
        assert (label.strip(), scope.strip(), listed) == (role.label, role.scope.value, set(role.permissions))


def test_every_state_of_an_instruction_stands_beside_its_word_in_fhir() -> None:
    text = doc("vocabulary.md")

    for state, status in TASK_STATUS.items():
        assert f"| {state.label} | `{state.value}` | `{status}` |" in text


def test_every_fhir_type_is_named_with_its_search_parameters() -> None:
    text = doc("interfaces/emr-fhir.md")
    for name, kind in resource_types().items():
        (row,) = (line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        parameters = row.split("|")[3]

        assert CODE.findall(parameters) == [parameter.name for parameter in kind.parameters]


def test_every_system_of_ours_in_fhir_is_named() -> None:
    systems = set(re.findall(r"urn:hcrm:[a-z-]*[a-z]", sources_of_code()))

    assert {system for system in systems if system not in doc("interfaces/emr-fhir.md")} == set()


def test_every_job_and_measure_is_named() -> None:
    assert missing([job.name for job in JOBS], doc("operations.md")) == []
    assert missing([measure.code for measure in MEASURES], doc("howto/add-a-measure.md")) == []


def test_every_event_of_the_log_is_named() -> None:
    events = set(re.findall(r"\blog\.(?:info|warning|error)\(\s*\"([a-z_.]+)\"", sources_of_code()))
    events |= set(
        re.findall(r"log\.warning\(\"([a-z.]+)\" if is_full else \"([a-z.]+)\"", sources_of_code())[0]
    )

    assert missing(events, doc("operations.md")) == []


def test_every_package_has_its_line_in_the_tree() -> None:
    folders = [path for path in (ROOT / "hcrm").iterdir() if path.is_dir()]
    names = [f"hcrm/{path.name}/" for path in folders if any(path.glob("*.*")) and path.name != "__pycache__"]

    assert missing(names, doc("architecture.md")) == []


# ── whatever is named exists ────────────────────────────────────────────────


@each_paper
def test_every_link_within_the_tree_leads_somewhere(paper: Path) -> None:
    broken = []
    for target in LINK.findall(paper.read_text(encoding="utf-8")):
        path, _, anchor = unquote(target).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        found = paper.parent / path if path else paper
        inside = found.exists() and found.resolve().is_relative_to(ROOT)
        if not inside or (anchor and anchor not in anchors(found)):
            broken.append(target)

    assert broken == []


def anchors(paper: Path) -> set[str]:
    """The headings of a document as addresses name them."""
    headings = re.findall(r"^#+ (.+)$", paper.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@each_paper
def test_every_file_and_function_named_exists(paper: Path) -> None:
    words = code_words(paper.read_text(encoding="utf-8"))
    files = {word for word in words if PLACE.fullmatch(word)} - {"hcrm/_data"}  # only in a wheel
    objects = {word for word in words if DOTTED.fullmatch(word)} - PERMISSIONS.keys()

    assert [word for word in sorted(files) if not (ROOT / word).exists()] == []
    assert [word for word in sorted(objects) if not is_importable(word)] == []


def is_importable(dotted: str) -> bool:
    """Whether it is a module, or a name found by walking from the longest module."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


@each_paper
def test_every_limit_named_is_one(paper: Path) -> None:
    known = {name for name in vars(limits) if name.isupper()}
    kinds = r"[A-Z]+(?:_[A-Z]+)*_(?:SECONDS|BYTES|LIMIT|TRIES|ATTEMPTS|POINTS|SIZE|ID|MESSAGES|TOTAL)"
    named = {word for word in code_words(paper.read_text(encoding="utf-8")) if re.fullmatch(kinds, word)}

    assert named - known == set()


def test_every_name_of_the_vocabulary_is_one_of_the_code() -> None:
    named: set[str] = set()
    for line in doc("vocabulary.md").partition("## States")[0].splitlines():
        if line.startswith("| ") and "---" not in line:
            named |= set(re.findall(r"[A-Za-z_]{3,}", " ".join(CODE.findall(line.split("|")[3]))))

    assert "Instruction" in named
    assert {name for name in named if not re.search(rf"\b{name}\b", sources_of_code())} == set()


@each_paper
def test_no_paper_points_out_of_the_tree(paper: Path) -> None:
    outside = re.compile(r"(?<![\w.])/work\b|\bshared/|/shared\b|(?<![\w./])/(?:home|root|Users)/")

    assert outside.findall(paper.read_text(encoding="utf-8")) == []


def section(text: str, title: str) -> str:
    """A chapter of a document, up to the next of its kind."""
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
