"""Believable answers to any questionnaire: most raise nothing, some raise exactly what they should."""

import random
from collections.abc import Mapping

from hcrm.forms.answers import Raw, read_answers
from hcrm.forms.definition import Item, ItemType, Questionnaire
from hcrm.forms.scoring import raise_flags

_SETS = 24
_TRIES = 60
_USUAL = {
    "℃": (36.5, 0.25), "mmHg": (126, 9), "次/分": (73, 6), "mmol/L": (6.8, 0.8), "kg": (63, 9), "%": (96, 1.2),
}  # fmt: skip
"""What people mostly measure, by unit: middle and spread."""


class AnswerSets:
    """Some ready answers to one form, with and without red flags."""

    def __init__(self, form: Questionnaire, dice: random.Random) -> None:
        self._form = form
        self._dice = dice
        self._quiet = [self._settle(self._fill()) for _ in range(_SETS)]
        self._alarming = [self._alarm(dict(dice.choice(self._quiet))) for _ in range(_SETS // 2)]

    def draw(self, *, alarming: bool) -> Mapping[str, Raw]:
        """One of them."""
        return self._dice.choice(self._alarming if alarming else self._quiet)

    def _fill(self) -> dict[str, Raw]:
        return {item.code: self._answer(item) for item in self._form.questions}

    def _settle(self, answers: dict[str, Raw]) -> dict[str, Raw]:
        """Change what raises a flag or is refused until nothing does."""
        for _ in range(_TRIES):
            read = read_answers(self._form, answers)
            wrong = {flag.item_code for flag in raise_flags(self._form, read.values)} | set(read.errors)
            if not wrong:
                break
            answers |= {code: self._answer(self._form.by_code[code]) for code in wrong}
        return answers

    def _alarm(self, answers: dict[str, Raw]) -> dict[str, Raw]:
        """Let one flag of the form be raised."""
        flags = [flag for flag in self._form.flags if flag.when.item in answers]
        if not flags:
            return answers
        code = self._dice.choice(flags).when.item
        for _ in range(_TRIES):
            answers[code] = self._answer(self._form.by_code[code], wide=True)
            read = read_answers(self._form, answers)
            if not read.errors and raise_flags(self._form, read.values):
                break
        return answers

    def _answer(self, item: Item, *, wide: bool = False) -> Raw:
        dice = self._dice
        if item.type is ItemType.YES_NO:
            return "yes" if dice.random() < (0.5 if wide else 0.2) else "no"
        if item.type is ItemType.CHOICE:
            return dice.choice(item.options).code
        if item.type is ItemType.MULTI_CHOICE:
            return [dice.choice(item.options).code]
        if item.type is ItemType.SCALE:
            return str(dice.randint(0, 10) if wide else dice.choice((0, 0, 1, 2, 3)))
        if item.type is ItemType.NUMBER:
            return self._number(item, wide=wide)
        return "2026-12-08" if item.type is ItemType.DATE else "无特殊"

    def _number(self, item: Item, *, wide: bool) -> str:
        low, high = (float(bound) for bound in item.bounds)
        middle, spread = _USUAL.get(item.unit or "", (low + (high - low) * 0.25, (high - low) * 0.05))
        if "舒张" in item.text or "低压" in item.text:
            middle, spread = 78, 6
        value = self._dice.uniform(low, high) if wide else self._dice.gauss(middle, spread)
        return f"{min(high, max(low, value)):.{item.decimals}f}"
