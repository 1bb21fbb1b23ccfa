"""What is noted beside a file of a drop folder while it is taken in: which taking this is, and how often it was begun.

A file that ends the process that reads it would end it again at each turn; and the rows of a file read a second time
after a crash are told from the same rows put in again by the taking they belong to.
"""

import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import Final

_NOTE: Final = re.compile(r"\.[0-9a-f]{32}\.taking(?:\.[0-9a-f]{8})?")
_CONTENT: Final = re.compile(r"([0-9a-f]{8}) (\d{1,3}) ([0-9a-f]{8})")
_PROCESS: Final = secrets.token_hex(4)
"""This process; its number may be another one's after a restart."""


def is_note(path: Path) -> bool:
    """Whether this is such a note, and no file that was taken."""
    return _NOTE.fullmatch(path.name) is not None


class Taking:
    """Of one file in `_work`; the note lies beside it, by a name that has room whatever the file is called."""

    def __init__(self, file: Path) -> None:
        named = hashlib.sha256(os.fsencode(file.name)).hexdigest()[:32]
        self._note = file.with_name(f".{named}.taking")
        self.token = ""
        self.tries = 0

    def begin(self) -> None:
        """Count this try durably, before the file is opened. A process that began it before and lives was not ended."""
        self.token, self.tries, process = self._read()
        self.tries += process != _PROCESS or not self.tries
        self._write()

    def take_back(self) -> None:
        """This try came to an end the file has no part in; the next is of the same taking, for rows may lie stored."""
        self.tries -= 1
        self._write()

    def forget(self) -> None:
        """The file is done with."""
        self._note.unlink(missing_ok=True)

    def _read(self) -> tuple[str, int, str]:
        try:
            found = _CONTENT.fullmatch(self._note.read_text(encoding="ascii"))
        except (FileNotFoundError, UnicodeDecodeError):
            found = None
        return (found[1], int(found[2]), found[3]) if found else (secrets.token_hex(4), 0, "")

    def _write(self) -> None:
        new = self._note.with_name(f"{self._note.name}.{secrets.token_hex(4)}")
        with new.open("w", encoding="ascii") as file:
            file.write(f"{self.token} {max(0, self.tries)} {_PROCESS}")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._note)
