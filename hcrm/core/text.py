"""Chinese names, phones and identity numbers as text: clean, judge, mask."""

import re
import unicodedata
from datetime import date

import phonenumbers

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK = "10X98765432"
_ZERO_FILLED = 12  # digits of a record or visit number; longer ones are typed whole
_COMPOUND_SURNAMES = frozenset((
    "欧阳", "司马", "上官", "诸葛", "东方", "皇甫", "尉迟", "公孙", "慕容", "令狐", "司徒", "夏侯", "南宫", "独孤",
    "长孙", "宇文",
))  # fmt: skip
# Most numbers are these; the library decides about the rest, forty times slower.
_MOBILE = re.compile(r"(?:13\d|14[5-9]|15[0-35-9]|16[2567]|17[0-8]|18\d|19\d)\d{8}", re.ASCII)
_FULL_WIDTH = re.compile(r"[\uff01-\uff5e\u3000]")
# Soft hyphen, zero-width signs, directions, byte order mark: they come along when one copies, and nobody sees them.
_UNSEEN = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
_HAN = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]")


_RELATIONS = {"子": "儿子", "女": "女儿"}  # GB/T 4761's words: alone, 女 beside a name reads as a sex


def relation_word(relation: str) -> str:
    """How a relative is related, as people say it."""
    return _RELATIONS.get(relation, relation)


def size_over(size: int, most: int) -> str:
    """What a file has and what it may have (bytes), in MB; they never read the same: one is rounded up, one down."""
    return f"{-(-size * 10 // 1024**2) / 10:.1f} MB，最大 {most * 10 // 1024**2 / 10:g} MB"


def half_width(text: str) -> str:
    """Full-width letters, digits and blanks made half-width (NFKC of those characters only)."""
    if not _FULL_WIDTH.search(text):
        return text
    return "".join(
        unicodedata.normalize("NFKC", c) if "\uff01" <= c <= "\uff5e" or c == "\u3000" else c for c in text
    )


def is_han(text: str) -> bool:
    """Whether the text holds a Chinese character."""
    return _HAN.search(text) is not None


def without_unseen(text: str) -> str:
    """The same without signs that nobody sees and nobody meant to type."""
    return _UNSEEN.sub("", text)


def clean_name(text: str) -> str:
    """A person's name without unseen signs, and without inner blanks where it is Chinese (`张  晋` is 张晋)."""
    return sent_name(without_unseen(text))


def sent_name(text: str) -> str:
    """The name as a sender wrote it: unseen signs are theirs and stay, a page isolates them."""
    text = " ".join(half_width(text).split())
    return text.replace(" ", "") if is_han(text) else text


def clean_id_number(text: str) -> str:
    """A citizen ID number in its comparable form: half width, upper case, 15 digits made 18."""
    text = re.sub(r"[\s-]", "", half_width(without_unseen(text))).upper()
    if re.fullmatch(r"\d{15}", text):
        body = text[:6] + "19" + text[6:]
        text = body + id_check_digit(body)
    return text


def id_check_digit(body: str) -> str:
    """The 18th character of a citizen ID number (GB 11643, ISO 7064 MOD 11-2)."""
    return _CHECK[sum(w * int(d) for w, d in zip(_WEIGHTS, body, strict=True)) % 11]


def is_id_number(text: str) -> bool:
    """Whether check digit and date are right; the area is a hint only (codes change, foreigners start with 9)."""
    if not re.fullmatch(r"\d{17}[\dX]", text) or id_check_digit(text[:17]) != text[17]:
        return False
    try:
        date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    return True


def clean_phone(text: str) -> str:
    """A number in E.164 where it is valid in China, else its digits; empty when there are none."""
    raw = half_width(without_unseen(text)).strip()
    digits = re.sub(r"[^\d+]", "", raw)
    if not digits:
        return ""
    if _MOBILE.fullmatch(digits):
        return f"+86{digits}"
    try:
        number = phonenumbers.parse(raw, "CN")
    except phonenumbers.NumberParseException:
        return digits
    if phonenumbers.is_valid_number(number):
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return digits


def national_phone(text: str) -> str:
    """How people here write it: +8613800138000 becomes 13800138000. Landlines stay: 010 begins with a 1 too."""
    return text.removeprefix("+86") if _MOBILE.fullmatch(text.removeprefix("+86")) else text


def mask_phone(text: str) -> str:
    """138****8000, a landline 0571****5678; short numbers keep their last two digits."""
    text = national_phone(text)
    if text.startswith("+86"):
        text = text[3:] if text[3:].startswith(("400", "800")) else f"0{text[3:]}"
    kept = 4 if re.match("0[3-9]", text) else 3
    return f"{text[:kept]}****{text[-4:]}" if len(text) >= 8 else f"***{text[-2:]}"


def mask_id_number(text: str) -> str:
    """110***********515X: first three and last four."""
    return f"{text[:3]}{'*' * (len(text) - 7)}{text[-4:]}" if len(text) > 7 else "*" * len(text)


def mask_name(text: str) -> str:
    """张*, 欧阳**: the surname stays."""
    if not text:
        return ""
    keep = 2 if text[:2] in _COMPOUND_SURNAMES and len(text) > 2 else 1
    return text[:keep] + "*" * max(1, len(text) - keep)


def zero_filled(number: str) -> list[str]:
    """The number with the zeros that may have been left out before it, to 12 digits; each is an equal on an index."""
    digits = number.lstrip("0")
    if not number.isdecimal() or not digits or len(digits) > _ZERO_FILLED:
        return [number]
    return sorted({number, *(digits.zfill(length) for length in range(len(digits), _ZERO_FILLED + 1))})
