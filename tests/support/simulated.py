"""Reading simulated messages in tests, with no reader of the product in between."""

from datetime import date

from adapters.his.simulator import SimulatedMessage

START = date(2025, 11, 22)
"""The first day of the simulated year."""


def segments(message: SimulatedMessage, name: str, charset: str = "utf-8") -> list[list[str]]:
    """The segments of that name, each as its fields by number; those of MSH are one lower than HL7 counts."""
    return [line.split("|") for line in message.raw.decode(charset).split("\r") if line.startswith(name)]
