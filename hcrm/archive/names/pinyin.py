"""Names as people type them: full pinyin and initials, in every reading that is in use.

`config/names.yaml` holds what a dictionary of words gets wrong: surnames, and characters with several readings.
"""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from hcrm.core import limits
from hcrm.core.config_file import read_config_file
from hcrm.core.errors import HcrmError
from hcrm.core.paths import config_path
from hcrm.core.text import is_han

_LONGEST_SURNAME = 2
_NOT_LETTERS = re.compile(r"[^a-z0-9]")
_UMLAUT = re.compile(r"(?<=[ln])v")

Syllables = tuple[str, ...]
Reading = Annotated[str, StringConstraints(pattern=r"^[a-z]{1,6}( [a-z]{1,6})?$")]


class NameReadings(BaseModel):
    """The file: readings by surname, one or two syllables each, and by character of a given name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    surnames: dict[str, tuple[Reading, ...]]
    given: dict[str, tuple[Reading, ...]]


@cache
def load_readings(path: Path | None = None) -> NameReadings:
    """What the hospital's file says."""
    return read_config_file(
        NameReadings,
        path or config_path("names.yaml"),
        lambda sentence: HcrmError("names.invalid", f"config/names.yaml 有误：{sentence}"),
    )


@lru_cache(maxsize=4096)
def name_pinyin(name: str) -> tuple[str, str]:
    """Full pinyin without blanks and the initials of a name: 曾国藩 is (`zengguofan`, `zgf`)."""
    if not is_han(name):
        words = name.lower().split()
        return "".join(words), "".join(word[0] for word in words)
    surname, given = _parts("".join(name.split()))
    syllables = (*_surname_readings(surname)[0], *_syllables(given))
    return "".join(syllables), "".join(syllable[0] for syllable in syllables)


@lru_cache(maxsize=4096)
def spellings(name: str) -> frozenset[str]:
    """What may be typed for a name, in letters and digits: initials and full pinyin of every reading in use.

    吕 is lv, lu and lyu; a foreign name is found from the beginning of each of its words.
    """
    if not is_han(name):
        words = [letters for letters in map(_plain_letters, name.split()) if letters]
        tails = {"".join(words[start:]) for start in range(min(len(words), limits.NAME_SPELLINGS))}
        return frozenset(tails | {"".join(word[0] for word in words)} - {""})
    surname, given = _parts("".join(name.split()))
    readings = [_given_readings(syllable, char) for syllable, char in _aligned(given)]
    found: set[str] = set()
    # The surname's readings first: where a name has too many, those of the given name are left out.
    every = itertools.product(itertools.product(*readings), _surname_readings(surname))
    for rest, family in itertools.islice(every, limits.NAME_SPELLINGS):
        syllables = [_NOT_LETTERS.sub("", part) for part in (*family, *rest)]
        full = "".join(syllables)
        found |= {full, "".join(part[:1] for part in syllables)}
        if _UMLAUT.search(full):
            found |= {_UMLAUT.sub(vowel, full) for vowel in ("u", "yu")}
    return frozenset(found - {""})


def _parts(name: str) -> tuple[str, str]:
    """Surname and given name; a compound surname that is all of a name is no surname with a given name."""
    if len(name) > _LONGEST_SURNAME and name[:_LONGEST_SURNAME] in load_readings().surnames:
        return name[:_LONGEST_SURNAME], name[_LONGEST_SURNAME:].replace("·", "")
    # Apart from what is given: names are countless, surnames and given names are not.
    return name[:1], name[1:].replace("·", "")


def _surname_readings(surname: str) -> Sequence[Syllables]:
    known = load_readings().surnames.get(surname)
    if known:
        return [tuple(reading.split()) for reading in known]
    return [_syllables(surname)]


def _given_readings(syllable: str, char: str) -> Sequence[str]:
    return list(dict.fromkeys((syllable, *load_readings().given.get(char, ()))))


def _aligned(given: str) -> Iterable[tuple[str, str]]:
    """Each syllable with its character. The dictionary keeps letters and unknown characters together as they are."""
    syllables = _syllables(given)
    if len(syllables) == len(given):
        return zip(syllables, given, strict=True)
    return ((syllable, "") for syllable in syllables)


def _plain_letters(word: str) -> str:
    """Letters without their accents, and digits: José is jose."""
    return _NOT_LETTERS.sub("", unicodedata.normalize("NFKD", word).lower())


@lru_cache(maxsize=16384)
def _syllables(text: str) -> Syllables:
    from pypinyin import lazy_pinyin  # noqa: PLC0415  66 MB: only processes that write names load them

    return tuple(syllable.lower() for syllable in lazy_pinyin(text, errors="default"))
