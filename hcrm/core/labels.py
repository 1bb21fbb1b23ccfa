"""Closed lists with the label people read beside each stored word. Pure: adapters use them too."""

import enum
from typing import Self


class LabelledEnum(enum.StrEnum):
    """A closed list of states: the stored word and the label people read, side by side and nowhere else."""

    label: str

    def __new__(cls, value: str, label: str = "") -> Self:
        """Keep the label beside the word; the default only lets `State(value)` look one up."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.label = label
        return member
