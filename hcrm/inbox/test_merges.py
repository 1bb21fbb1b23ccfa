"""Merges that would make a patient and a test patient one: what the archive is afterwards is for a person to say.

By hand such two are refused until the marks agree (`hcrm.archive.identity.pairs`).
"""

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from hcrm.archive.matching import record_numbers
from hcrm.archive.models import Patient
from hcrm.archive.records import Change, IdentifierRecord
from hcrm.archive.terms import ActKind, PatientMark
from hcrm.archive.test_patients.rules import TestPatientRules, published_test_rules
from hcrm.core.work import Work

_CHUNK = 5_000
Number = tuple[str, str]
Owners = Mapping[Number, Iterable[str]]


def uniting_with_tests(
    work: Work, merges: Mapping[int, Change], changes: Iterable[Change], owners: Owners
) -> set[int]:
    """Those of the merges, in their order, that unite a patient with a test patient.

    Judged by the marks, and by the rules over numbers nobody knows yet and names told in the same batch: an archive
    the rules have not met is judged as it will be.
    """
    if not merges:
        return set()
    known = _Known(work, owners, published_test_rules(work), _names(changes))
    found = set()
    for seq, change in merges.items():
        for act in change.acts:
            if act.kind is ActKind.MERGE_PATIENTS and known.differ(act.subject, act.other):
                found.add(seq)
    return found


class _Known:
    """What the archive, the rules and the batch say of the numbers of merges."""

    def __init__(
        self, work: Work, owners: Owners, rules: TestPatientRules | None, names: Mapping[Number, set[str]]
    ) -> None:
        self.owners = owners
        self.rules = rules
        self.names = names
        self.marks: dict[str, tuple[bool, PatientMark | None]] = {}
        ids = sorted({owner for each in owners.values() for owner in each})
        for start in range(0, len(ids), _CHUNK):
            for row in work.execute(
                sa.select(Patient.id, Patient.is_test, Patient.test_mark).where(
                    Patient.id.in_(ids[start : start + _CHUNK])
                )
            ):
                self.marks[row.id] = (row.is_test, row.test_mark)

    def differ(self, subject: Sequence[IdentifierRecord], other: Sequence[IdentifierRecord]) -> bool:
        """Whether one of the two is a test patient and the other is not."""
        sides = [[(item.authority, item.value) for item in record_numbers(side)] for side in (subject, other)]
        into, gone = ({owner for number in side for owner in self.owners.get(number, ())} for side in sides)
        if into and into == gone:
            return False  # one archive already
        made = self._words(sides[0], into) or {False}  # who nobody knows yet will be a patient's archive
        return len(made | self._words(sides[1], gone)) > 1

    def _words(self, numbers: Sequence[Number], owners: set[str]) -> set[bool]:
        """What is said of one side; nothing where nobody knows it and no rule fits."""
        is_test = self._is_test_by_rule(numbers)
        if not owners:
            return {True} if is_test else set()
        marks = [self.marks[owner] for owner in owners]
        return {was or (is_test and mark is None) for was, mark in marks}

    def _is_test_by_rule(self, numbers: Sequence[Number]) -> bool:
        if self.rules is None:
            return False
        names = {name for number in numbers for name in self.names.get(number, ())} | {""}
        values = [value for _, value in numbers]
        return any(self.rules.reason(name, values) for name in names)


def _names(changes: Iterable[Change]) -> dict[Number, set[str]]:
    """What the batch calls whom."""
    names: dict[Number, set[str]] = {}
    for change in changes:
        for part in change.parts:
            if part.patient is not None and part.patient.name:
                for item in record_numbers(part.patient.identifiers):
                    names.setdefault((item.authority, item.value), set()).add(part.patient.name)
    return names
