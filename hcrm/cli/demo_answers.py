"""Believable answers to any questionnaire: most raise nothing, some raise exactly what they should."""

import random
from collections.abc import Mapping

from hcrm.forms.answers import Raw, read_answers
from hcrm.forms.definition import AnswerTest, Item, ItemType, Questionnaire
from hcrm.forms.scoring import raise_flags

_SETS = 24
_TRIES = 60
_USUAL = {
    "℃": (36.5, 0.25), "mmHg": (126, 9), "次/分": (73, 6), "mmol/L": (6.8, 0.8), "kg": (63, 9), "%": (96, 1.2),
    "分钟": (6, 2),
}  # fmt: skip
"""What people mostly measure, by unit: middle and spread."""
_USUAL_OF = {"diastolic": (78, 6), "ldl": (1.8, 0.3), "hba1c": (6.9, 0.6)}
"""The same by item, where the unit does not tell."""
_SYSTOLIC, _DIASTOLIC = "systolic", "diastolic"
_PULSE_PRESSURE = (30, 60)


class AnswerSets:
    """Some ready answers to one form, with and without red flags."""

    def __init__(self, form: Questionnaire, dice: random.Random) -> None:
        self._form = form
        self._dice = dice
        self._quiet = [self._settle(self._fill()) for _ in range(_SETS)]
        self._alarming = [self._alarm(dice.choice(self._quiet)) for _ in range(_SETS // 2)]

    def draw(self, *, alarming: bool) -> Mapping[str, Raw]:
        """One of them."""
        return self._dice.choice(self._alarming if alarming else self._quiet)

    def _fill(self) -> dict[str, Raw]:
        return self._paired({item.code: self._answer(item) for item in self._form.questions})

    def _settle(self, answers: dict[str, Raw]) -> dict[str, Raw]:
        """Change what raises a flag or is refused until nothing does."""
        for _ in range(_TRIES):
            read = read_answers(self._form, answers)
            wrong = {flag.item_code for flag in raise_flags(self._form, read.values)} | set(read.errors)
            if not wrong:
                break
            answers |= {code: self._answer(self._form.by_code[code]) for code in sorted(wrong)}
            answers = self._paired(answers)
        return answers

    def _alarm(self, answers: dict[str, Raw]) -> dict[str, Raw]:
        """Let one flag of the form be raised."""
        flags = [flag for flag in self._form.flags if flag.when.item in answers]
        if not flags:
            return answers
        for _ in range(_TRIES):
            test = self._dice.choice(flags).when
            tried = self._paired(answers | {test.item: self._alarming_answer(test)}, given=test.item)
            read = read_answers(self._form, tried)
            if not read.errors and raise_flags(self._form, read.values):
                return tried
        return answers

    def _alarming_answer(self, test: AnswerTest) -> Raw:
        """Where a number is tested, one just beyond the limit: what people measure, not what a form may hold."""
        item = self._form.by_code[test.item]
        if test.limit is None or item.type is not ItemType.NUMBER:
            return self._answer(item, wide=True)
        is_high = test.at_least is not None or test.above is not None
        factor = self._dice.uniform(1.01, 1.15) if is_high else self._dice.uniform(0.8, 0.97)
        return _text(item, float(test.limit) * factor)

    def _paired(self, answers: dict[str, Raw], *, given: str = _SYSTOLIC) -> dict[str, Raw]:
        """The two pressures fit each other; the `given` one stands."""
        if _SYSTOLIC not in answers or _DIASTOLIC not in answers:
            return answers
        pulse = self._dice.uniform(*_PULSE_PRESSURE)
        follows, pulse = (_SYSTOLIC, pulse) if given == _DIASTOLIC else (_DIASTOLIC, -pulse)
        leads = _DIASTOLIC if follows == _SYSTOLIC else _SYSTOLIC
        value = float(str(answers[leads])) + pulse
        return answers | {follows: _text(self._form.by_code[follows], value)}

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
        by_unit = _USUAL.get(item.unit or "", (low + (high - low) * 0.25, (high - low) * 0.05))
        middle, spread = _USUAL_OF.get(item.code, by_unit)
        return _text(item, self._dice.uniform(low, high) if wide else self._dice.gauss(middle, spread))


def _text(item: Item, value: float) -> str:
    """As it is typed, within the bounds of the item."""
    low, high = (float(bound) for bound in item.bounds)
    return f"{min(high, max(low, value)):.{item.decimals}f}"
