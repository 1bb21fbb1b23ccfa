"""An indicator as a definition: which rows are counted, and which of them count as hits. FHIR: Measure.

A measure names rows, never numbers: the numerator is a mark on the rows of the denominator, so that every figure can
open exactly what it counted. What runs it is `hcrm.statistics`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from hcrm.core.db import LabelledEnum


class Unit(LabelledEnum):
    """How the figure is read."""

    RATIO = "ratio", "%"
    COUNT = "count", "例"


@dataclass(frozen=True, slots=True)
class Population:
    """The rows a measure counts, one row once: from where, under which conditions, and which of them hit.

    `day` (a date or a moment) decides the month by the hospital's calendar, `department_id` the department.
    """

    source: sa.FromClause
    row_id: Any
    patient_id: Any
    department_id: Any
    day: Any
    counts: sa.ColumnElement[bool]  # part of the numerator
    where: tuple[sa.ColumnElement[bool], ...] = ()


@dataclass(frozen=True, slots=True)
class Measure:
    """One indicator of one version. `numerator` and `denominator` say in words what is counted, for readers."""

    code: str
    version: int
    title: str
    unit: Unit
    subject: str  # what a row is: encounter, instruction
    numerator: str
    denominator: str  # empty where it is a plain count
    rows: Callable[[date], Population]  # given the hospital's date of today
    good_is_high: bool = True
