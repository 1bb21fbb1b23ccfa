"""Rules and protocols in force: the newest published definitions, parsed once per process."""

from collections.abc import Mapping
from functools import lru_cache

import sqlalchemy as sa

from hcrm.centre.classification_rules import AxisRules
from hcrm.centre.protocols import Protocol, Protocols, Step
from hcrm.core.definition_file import parse_definition
from hcrm.core.definitions import Definition, definition_body, draft_of, latest_definitions
from hcrm.core.errors import HcrmError
from hcrm.core.work import Work


def published_rules(work: Work) -> tuple[AxisRules, ...]:
    """The classification rules in force, one of each axis published."""
    rows = latest_definitions(work, kind="classification")
    return _parse_rules(tuple(row.body for row in rows.values()))


def rules_of(work: Work, versions: Mapping[str, int]) -> tuple[AxisRules, ...] | None:
    """The rules of these versions by axis, drafts too; None where one of them is no more."""
    rows = latest_definitions(work, kind="classification")
    bodies = []
    for axis, version in versions.items():
        row = rows.get(axis)
        if row is None or row.version != version:
            row = draft_of(work, kind="classification", code=axis)
        if row is None or row.version != version:
            return None
        bodies.append(row.body)
    return _parse_rules(tuple(bodies))


def published_protocols(work: Work) -> Protocols:
    """The protocols in force, one version of each."""
    rows = latest_definitions(work, kind="protocol")
    return _parse_protocols(tuple(row.body for row in rows.values()))


def published_step(work: Work, *, protocol_code: str, version: int, step_code: str) -> Step:
    """A step as it was when an instruction was issued under that version."""
    body = definition_body(work, kind="protocol", code=protocol_code, version=version)
    steps = next(iter(_parse_protocols((body,)))).steps
    return next(step for step in steps if step.code == step_code)


def published_form_versions(work: Work) -> dict[str, int]:
    """The newest version of each form: what an instruction issued now is answered with."""
    rows = work.execute(
        sa.select(Definition.code, sa.func.max(Definition.version).label("version"))
        .where(Definition.kind == "form", Definition.state == "published")
        .group_by(Definition.code)
    )
    return {row.code: row.version for row in rows}


def form_version(versions: dict[str, int], code: str) -> int:
    """The version in force of one form; a protocol that names an unknown form is refused, not passed over."""
    if code not in versions:
        raise HcrmError("definition.form_missing", f"随访方案引用的表单 {code} 没有发布")
    return versions[code]


# The text itself is the key: published rows never change, and a process may serve several databases in its life.
@lru_cache(maxsize=8)
def _parse_rules(bodies: tuple[str, ...]) -> tuple[AxisRules, ...]:
    return tuple(parse_definition(AxisRules, body, "classification") for body in bodies)


@lru_cache(maxsize=64)
def _parse_protocols(bodies: tuple[str, ...]) -> Protocols:
    return Protocols(parse_definition(Protocol, body, "protocol") for body in bodies)
