"""Every field a segment may ask for: our own, and what other parts bring."""

from collections.abc import Sequence

from hcrm.core.work import Work
from hcrm.segments.fields import segment_fields
from hcrm.segments.filters import FieldMaker, Fields

_makers: tuple[FieldMaker, ...] = (segment_fields,)


def use_fields(makers: Sequence[FieldMaker]) -> None:
    """Say once, at start, who brings fields: what lies above is handed in, never imported."""
    global _makers
    _makers = tuple(makers)


def fields_for(work: Work) -> Fields:
    """The fields this actor may ask for, in the order they are offered."""
    every = (field for maker in _makers for field in maker(work))
    return {
        field.code: field for field in every if field.permission is None or work.actor.may(field.permission)
    }
