"""Page: the disease groups of the rules in force, with their conditions and how many stays each holds."""

from dataclasses import dataclass

import sqlalchemy as sa
from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from hcrm.archive.scope import not_test
from hcrm.archive.visit_models import Encounter
from hcrm.centre.classification_rules import Axis, AxisRules
from hcrm.centre.condition_words import condition_words
from hcrm.centre.models import Classification
from hcrm.centre.published import published_rules
from hcrm.core.work import Work
from hcrm.directory.queries import count_unverified
from hcrm.web.shell import console_work, require

bp = Blueprint("disease_groups", __name__)


@dataclass(frozen=True, slots=True)
class GroupLine:
    """A group as the page lists it."""

    code: str
    label: str
    sensitive: bool
    codes: str
    stays: int


@bp.get("/directory/disease-groups")
@require("directory.read", audit="none:counts only, no patient is shown")
def show() -> ResponseReturnValue:
    """Every group in the order of the rules."""
    with console_work() as work:
        rules = next((one for one in published_rules(work) if one.code is Axis.DISEASE_GROUP), None)
        groups = list_groups(work, rules) if rules else []
        unverified = count_unverified(work)
    return render_template("desk/disease_groups.html", rules=rules, groups=groups, unverified=unverified)


def list_groups(work: Work, rules: AxisRules) -> list[GroupLine]:
    """A line for each class the rules can give; stays of test patients are not counted."""
    counts = {
        row.code: row.number
        for row in work.execute(
            sa.select(Classification.code, sa.func.count().label("number"))
            .where(
                Classification.axis == Axis.DISEASE_GROUP.value,
                Classification.encounter_id.not_in(
                    sa.select(Encounter.id).where(sa.not_(not_test(Encounter.patient_id)))
                ),
            )
            .group_by(Classification.code)
        )
    }
    lines: dict[str, GroupLine] = {}
    for rule in rules.rules:
        words = condition_words(rule.when)
        before = lines.get(rule.gives)
        lines[rule.gives] = GroupLine(
            rule.gives, rule.label, rule.sensitive, f"{before.codes}；或 {words}" if before else words,
            counts.get(rule.gives, 0),
        )  # fmt: skip
    return list(lines.values())
