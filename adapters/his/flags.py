"""What a person may want to see of a message that was mapped: warnings, and local codes that nothing maps. Pure."""


class Flags(list[str]):
    """Warnings in the order they were met, and the codes that wait to be mapped: kind and code as sent."""

    def __init__(self, flags: tuple[str, ...] | list[str] = ()) -> None:
        super().__init__(flags)
        self.codes: dict[tuple[str, str], None] = {}

    def unmapped(self, place: str, kind: str, code: str) -> None:
        """A code that means nothing here: a warning with its place, and a line for whoever maps codes."""
        self.append(f"unmapped:{place}")
        self.sight(kind, code)

    def sight(self, kind: str, code: str) -> None:
        """A code that is kept as it was sent and would read better mapped."""
        self.codes[kind, code] = None
