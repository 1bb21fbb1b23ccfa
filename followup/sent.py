"""The form of one instruction as a page sent it, read into what the inputs take or into the page again."""

from typing import Any

from werkzeug.datastructures import MultiDict

from followup.form_page import Typed, contact_result
from hcrm.forms.render import sent_answers

Sent = MultiDict[str, str]


def draft_values(sent: Sent) -> dict[str, Any]:
    """What `DraftInput` takes."""
    return {
        "record_id": sent.get("record_id", ""), "version": sent.get("version", "0"),
        "answers": sent_answers(sent.lists()), "note": sent.get("note", ""),
    }  # fmt: skip


def outcome_values(sent: Sent) -> dict[str, str]:
    """What `FollowupInput` takes besides."""
    outcome = sent.get("outcome", "")
    result = contact_result(outcome, heard=sent.get("heard", ""), missed=sent.get("missed", ""))
    words = {name: sent.get(name, "") for name in ("channel", "number", "confirm_death")}
    return {"outcome": outcome, "result": result, **words}


def typed_again(
    sent: Sent, *, record_id: str | None = None, version: int | None = None, base: str | None = None
) -> Typed:
    """The form as it was sent, to be shown again."""
    number = sent.get("version", "0")
    readable = number.isdecimal() and len(number) <= 10  # int() refuses thousands of digits
    return Typed(
        record_id=record_id or sent.get("record_id", ""),
        version=version if version is not None else int(number) if readable else 0,
        answers=sent_answers(sent.lists()),
        outcome=sent.get("outcome", ""),
        heard=sent.get("heard", ""),
        missed=sent.get("missed", ""),
        channel=sent.get("channel", ""),
        number=sent.get("number", ""),
        note=sent.get("note", ""),
        confirm_death=sent.get("confirm_death", ""),
        base=sent.get("base", "") if base is None else base,
    )
