"""The part of a file a player asks for (RFC 9110 section 14): one range, also counted from the end."""

import re

_ONE = re.compile(r"bytes[ \t]*=[ \t]*([0-9]{0,100})-([0-9]{0,100})[ \t]*", re.IGNORECASE)


class UnsatisfiableError(Exception):
    """A range that begins behind the end, or of the last no bytes: answered 416."""


def asked_part(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last, of `size` bytes.

    None means the whole: no header, another unit, several ranges, or one nobody can read. A server may ignore those,
    and must not refuse the last.
    """
    found = _ONE.fullmatch(header.strip()) if header else None
    if found is None:
        return None
    first, last = found.groups()
    if not first:
        if not last:
            return None
        if int(last) == 0:
            raise UnsatisfiableError
        return max(size - int(last), 0), size
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise UnsatisfiableError
    return int(first), min(int(last) + 1, size) if last else size
