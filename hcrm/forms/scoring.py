"""Judging answers: which red flags they raise. FHIR: DetectedIssue."""

from dataclasses import dataclass

from hcrm.forms.answers import Answered, display_answer, is_asked, meets
from hcrm.forms.definition import AnswerTest, Flag, Item, Questionnaire


@dataclass(frozen=True)
class RaisedFlag:
    """A red flag with the answer that raised it."""

    flag: Flag
    item_code: str
    evidence: str


def raise_flags(form: Questionnaire, answers: Answered) -> list[RaisedFlag]:
    """The flags these answers raise, the most urgent first.

    Judged on the server from what was answered: a draft raises what it can, an open item raises nothing, and an
    answer to an item that is no longer asked does not count.
    """
    asked = _asked_answers(form, answers)
    raised = [
        RaisedFlag(flag, flag.when.item, _evidence(form.by_code[flag.when.item], flag.when, asked))
        for flag in form.flags
        if meets(flag.when, asked)
    ]
    return sorted(raised, key=lambda hit: hit.flag.level)


def _asked_answers(form: Questionnaire, answers: Answered) -> Answered:
    asked: dict[str, bool | int | str | list[str]] = {}
    for item in form.questions:
        if item.code in answers and is_asked(item, asked):
            asked[item.code] = answers[item.code]
    return asked


def _evidence(item: Item, test: AnswerTest, answers: Answered) -> str:
    """For people: the question's short name, the answer, and the limit it met."""
    said = f"{item.name}：{display_answer(item, answers[item.code])}"
    signs = {"at_least": "≥", "above": "＞", "at_most": "≤", "below": "＜"}
    for name, sign in signs.items():
        if (limit := getattr(test, name)) is not None:
            return f"{said}（界值 {sign} {limit}{' ' + item.unit if item.unit else ''}）"
    return said
