"""What people put right of a value that a message told, and what later messages may do to it.

The word of whoever stands before us counts until the sender says something new: the value that was put right, told
again, changes nothing; any other one is the sender's own correction and counts by its clock, as does the right one.
The mark is the fourth word of the value's stamp in the patient's `provenance`, so that it costs no query.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Stamp = Sequence[Any]


def mark_of(standing: Stamp | None) -> Mapping[str, Any] | None:
    """`was` the value told (as history writes it), `told` its stamp, `by` an `Evidence`, `actor`; else None."""
    mark = standing[3] if standing and len(standing) > 3 else None
    return mark if isinstance(mark, Mapping) else None


def marked(standing: Stamp, *, was: Any, told: Stamp, by: str, actor: str) -> list[Any]:
    """A stamp with its mark; of a correction of a correction the mark names what the message told."""
    former = mark_of(told)
    first = (
        {"was": former["was"], "told": former["told"]}
        if former
        else {"was": written(was), "told": list(told[:3])}
    )
    return [*standing[:3], {**first, "by": by, "actor": actor}]


def is_put_right(standing: Stamp | None, value: Any) -> bool:
    """Whether a message repeats the very value that people put right."""
    mark = mark_of(standing)
    return mark is not None and mark["was"] == written(value)


def written(value: Any) -> str | None:
    """A value as the history keeps it."""
    return None if value is None else str(value)
