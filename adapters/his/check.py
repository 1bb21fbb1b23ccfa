"""Whether a message keeps to the standard of its version, or to a profile: by hl7apy, with its traps avoided.

hl7apy drops without a word what stands where its structure has no place (interop: Z segments, NK1, PID in answers),
so segments are counted before and after, and those that went missing are named and checked alone.
"""

import contextlib
import pickle
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any, Final

from hl7apy import load_reference  # type: ignore[import-untyped]
from hl7apy.consts import VALIDATION_LEVEL  # type: ignore[import-untyped]
from hl7apy.core import Element, Field, Message, Segment  # type: ignore[import-untyped]
from hl7apy.exceptions import HL7apyException  # type: ignore[import-untyped]
from hl7apy.factories import datatype_factory  # type: ignore[import-untyped]
from hl7apy.parser import parse_message, parse_segment  # type: ignore[import-untyped]

from adapters.his.outline import Hl7Outline
from adapters.his.trial import fitting_charset, only
from adapters.hl7v2 import BadTime, Header, Separators, moment, read_header, read_message
from hcrm.core.sources import Sources

VERSIONS: Final = ("2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.1", "2.8.2")
_TOLERANT: Final = VALIDATION_LEVEL.TOLERANT
_STRICT: Final = VALIDATION_LEVEL.STRICT
_MEASURED: Final = {"NM": "NM", "SI": "SI", "DT": "DT", "TM": "TM", "DTM": "DTM", "TS": "DTM"}
"""Types of OBX-2 whose values can be checked, and as what."""
_TIMES: Final = {"MSH": (7,), "EVN": (2, 6), "PID": (7, 29), "PV1": (44, 45), "DG1": (5,), "PR1": (5,)}
_DTM: Final = re.compile(
    r"\d{4}(?:\d\d(?:\d\d(?:\d{4}(?:\d\d(?:\.\d{1,4})?)?|\d\d)?)?)?(?:[+-]\d{4})?", re.ASCII
)
"""Chapter 2A, DTM; hours without minutes are allowed from 2.6 on and no harm before."""
_STRUCTURES: Final = {
    **{f"ADT_{event}": "ADT_A01" for event in ("A04", "A08", "A13")}, "ADT_A07": "ADT_A06",
    **{f"ADT_{event}": "ADT_A09" for event in ("A10", "A11", "A12")},
    **{f"ADT_{event}": "ADT_A05" for event in ("A14", "A28", "A31")},
    **{f"ADT_{event}": "ADT_A21" for event in ("A22", "A23", "A25", "A26", "A27", "A29", "A32", "A33")},
    **{f"ADT_{event}": "ADT_A30" for event in ("A34", "A35", "A36", "A46", "A47", "A48", "A49")},
    **{f"ADT_{event}": "ADT_A39" for event in ("A40", "A41", "A42")}, "ADT_A44": "ADT_A43", "ADT_A51": "ADT_A50",
    **{f"SIU_S{number}": "SIU_S12" for number in (*range(13, 25), 26)},
    **{f"MDM_T{number:02}": "MDM_T01" for number in (3, 5, 7, 9, 11)},
    **{f"MDM_T{number:02}": "MDM_T02" for number in (4, 6, 8, 10)},
}  # fmt: skip
"""HL7 table 0354 backwards: events whose structure has another's name."""
_FIELD: Final = re.compile(r"([A-Z][A-Z0-9]{2})_(\d+)")
_VERSION: Final = re.compile(r"[vV]?(\d+(?:\.\d+)+)")
_WORDS: Final = (
    (re.compile(r"Missing required child (\w+)\.(\w+)$"), "缺少必填的 {place}"),
    (re.compile(r"Child limit exceeded (\w+)\.(\w+)$"), "重复次数超过标准"),
    (re.compile(r"Datatype \S+ is not correct for (\w+)\.(\w+) "), "数据类型不对"),
    (
        re.compile(r"Value [^^~&]* not in table (?P<table>\w+) in element (\w+)\.(\w+)$"),
        "值不在表 {table} 中",
    ),
    (re.compile(r"Exceeded max length \((?P<most>\d+)\) of (\w+)\.(\w+)$"), "超过 {most} 个字符"),
)
"""hl7apy's sentences and ours; the last two groups are what holds the element, and the element."""
_OF_A_WHOLE: Final = re.compile(r"Value .* not in table \w+ in element")
"""A table compared with a value of several components, which no table holds: hl7apy's mistake."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be: where, and what; never the value. An error, or only a hint."""

    place: str  # PID-3, PID[2], MSH-12
    text: str
    is_error: bool = True


class BadProfile(ValueError):
    """The file is no message profile of hl7apy."""


def load_profile(path: Path) -> Mapping[str, Any]:
    """A profile as `hl7apy_profile_parser` writes it: a pickle, of which plain values only are taken."""
    try:
        with path.open("rb") as file:
            profile = _PlainUnpickler(file).load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, AttributeError) as error:
        raise BadProfile from error
    if not isinstance(profile, dict):
        raise BadProfile
    return profile


class _PlainUnpickler(pickle.Unpickler):
    """Refuses everything that would run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name}")


def check_message(
    raw: bytes, sources: Sources, profile: Mapping[str, Any] | None = None, *, charset: str = ""
) -> list[Finding]:
    """Everything hl7apy finds in one message, in order of the segments; read in `charset` where one is named."""
    header = read_header(raw)
    if header is None:
        return [Finding("MSH", "没有可读的 MSH 段")]
    findings: list[Finding] = []
    lines = _lines(raw, header, sources, charset, findings)
    if not lines:
        return findings
    version = _version(header.version, findings)
    separators = read_message("\r".join(lines)).separators
    if header.fields[2] != separators.encoding:
        findings.append(Finding("MSH-2", "分隔符不合标准，已按修正后的读取"))
    parts = lines[0].split(separators.field)
    parts[1] = separators.encoding
    parts += [""] * (12 - len(parts))
    parts[11] = version
    parts[8] = _kind(parts[8], header.type, header.event, version, separators.component)
    lines[0] = separators.field.join(parts)
    standard = [line for line in lines if not line.startswith("Z")]
    findings += _dates(standard, separators)
    try:
        message = parse_message(
            "\r".join(standard), validation_level=_TOLERANT, find_groups=True, message_profile=profile
        )
    except HL7apyException as error:
        findings.append(Finding("MSH-9", _unknown(error, profile)))
        findings += _alone(standard, version, separators)
        return list(dict.fromkeys(findings))
    if message.name is None:
        findings.append(Finding("MSH-9", "标准中没有这种消息或结构，只逐段检查"))
        findings += _alone(standard, version, separators)
        return list(dict.fromkeys(findings))
    findings += _reported(message)
    findings += _values(message, version)
    lost = _lost(standard, message)
    for name in lost:
        findings.append(Finding(name, "不在此消息结构允许的位置"))
    findings += _alone([line for line in standard if line[:3] in lost], version, separators)
    return list(dict.fromkeys(findings))


def _lines(raw: bytes, header: Header, sources: Sources, charset: str, findings: list[Finding]) -> list[str]:
    """The segments as text; where the charset is unknown or wrong, by the first usual one that fits, which is said."""
    source = sources.find(header.sender, header.facility) or sources.default
    readable = Hl7Outline().read(raw, only(source, charset) if charset else sources)
    if readable.codec is not None:
        return [line.text for line in readable.lines]
    if charset:
        findings.append(Finding("MSH-18", f"内容不是 {charset}，无法解码"))
        return []
    if codec := fitting_charset(raw, source):
        said = "字符集与内容不符" if header.charset_word else f"没有写字符集，内容也不是 {source.charset}"
        findings.append(Finding("MSH-18", f"{said}，以下按 {codec} 检查", is_error=bool(header.charset_word)))
        return [line.text for line in Hl7Outline().read(raw, only(source, codec)).lines]
    findings.append(Finding("MSH-18", "字符集与内容不符，无法解码"))
    return []


def _dates(lines: list[str], separators: Separators) -> Iterator[Finding]:
    """Times that matter to us, also in segments hl7apy cannot take apart: written by the standard, and possible."""
    for line in lines:
        values = line.split(separators.field)
        for number in _TIMES.get(values[0], ()):
            place = number - (values[0] == "MSH")
            value = values[place].split(separators.component)[0].strip() if place < len(values) else ""
            if value and value != '""' and not _is_time(value):
                yield Finding(f"{values[0]}-{number}", _value_words("DTM"))


def _is_time(value: str) -> bool:
    if not _DTM.fullmatch(value):
        return False
    try:
        moment(value, UTC)
    except BadTime:
        return False
    return True


def _version(sent: str, findings: list[Finding]) -> str:
    """A version hl7apy knows: the one sent, else the nearest below."""
    if sent in VERSIONS:
        return sent
    found = _VERSION.match(sent)
    wanted = _numbers(found[1]) if found else (2, 5)
    below = [each for each in VERSIONS if _numbers(each) <= wanted] or [VERSIONS[0]]
    findings.append(Finding("MSH-12", f"版本不是标准的写法，按 {below[-1]} 检查"))
    return below[-1]


def _kind(sent: str, kind: str, event: str, version: str, component: str) -> str:
    """MSH-9 with its structure; where the sender left it out, that of the event (HL7 table 0354)."""
    if sent.count(component) >= 2 or not event:
        return sent
    for name in (f"{kind}_{event}", _STRUCTURES.get(f"{kind}_{event}", "")):
        with contextlib.suppress(HL7apyException):
            load_reference(name, "Message", version)
            return component.join((kind, event, name))
    return sent


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part[:4]) for part in version.split("."))


def _unknown(error: HL7apyException, profile: Mapping[str, Any] | None) -> str:
    if profile is not None:
        return "规范文件中没有这种消息"
    return f"标准中没有这种消息或结构（{type(error).__name__}），只逐段检查"


def _reported(element: Element) -> Iterator[Finding]:
    """hl7apy's own report, which it only writes to a file, in our words."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        with contextlib.suppress(HL7apyException):  # the first of the errors that the file holds all of
            element.validate(report_file=str(report))
        if not report.exists():
            return
        for line in report.read_text(encoding="utf-8", errors="replace").splitlines():
            kind, _, text = line.partition(": ")
            if finding := _finding(text, is_error=kind == "Error"):
                yield finding


def _finding(text: str, *, is_error: bool) -> Finding | None:
    for pattern, words in _WORDS:
        if found := pattern.search(text):
            place = _place(*found.groups()[-2:])
            return Finding(place, words.format(place=place, **found.groupdict()), is_error)
    if _OF_A_WHOLE.search(text):
        return None
    named = _FIELD.search(text)
    return Finding(_place("", named[0]) if named else "", "不符合标准的结构或数据类型", is_error)


def _place(parent: str, name: str) -> str:
    """`PID.PID_3` as people write it: PID-3; `PID_3.CX_5`: PID-3.5."""
    if found := _FIELD.fullmatch(name):
        return f"{found[1]}-{found[2]}"
    number = name.rpartition("_")[2]
    if (held := _FIELD.fullmatch(parent)) and number.isdigit():
        return f"{held[1]}-{held[2]}.{number}"
    return name


def _values(element: Element, version: str) -> Iterator[Finding]:
    """Primitive values their data type does not allow: dates that are none, letters in a number, too long."""
    for segment in _segments(element):
        for field in segment.children:
            for leaf in _leaves(field):
                value = leaf.to_er7()
                if not value or value == '""':
                    continue
                datatype = leaf.datatype
                if field.name == "OBX_5":  # of the type that OBX-2 names
                    named = segment.obx_2.to_er7()
                    datatype = _MEASURED.get(named, datatype)
                try:
                    datatype_factory(datatype, value, version, _STRICT)
                except (HL7apyException, ValueError) as error:
                    is_long = type(error).__name__ == "MaxLengthReached"
                    yield Finding(
                        _place("", field.name or segment.name), _value_words(datatype, is_long=is_long)
                    )
                except KeyError:
                    continue


def _value_words(datatype: str, *, is_long: bool = False) -> str:
    if is_long:
        return f"值比 {datatype} 允许的长"
    also = "，或没有这个日期、时间" if datatype in ("DT", "TM", "DTM") else ""
    return f"值不是 {datatype} 的写法{also}"


def _leaves(element: Element) -> Iterator[Element]:
    children = [child for child in element.children if child.to_er7()]
    if isinstance(element, Field) and not children:
        return
    if not children:
        yield element
    for child in children:
        if getattr(child, "children", None):
            yield from _leaves(child)
        elif child.datatype:
            yield child


def _segments(element: Element) -> Iterator[Segment]:
    if isinstance(element, Segment):
        yield element
        return
    for child in element.children:
        yield from _segments(child)


def _lost(lines: list[str], message: Message) -> list[str]:
    """Names of segments that hl7apy dropped."""
    kept = Counter(segment.name for segment in _segments(message))
    sent = Counter(line[:3] for line in lines)
    return [name for name, count in sent.items() if kept[name] < count]


def _alone(lines: list[str], version: str, separators: Any) -> Iterator[Finding]:
    """Segments checked one by one, where the message as a whole could not be."""
    marks = {
        "FIELD": separators.field, "COMPONENT": separators.component, "REPETITION": separators.repetition,
        "ESCAPE": separators.escape, "SUBCOMPONENT": separators.sub, "SEGMENT": "\r", "GROUP": "\r",
    }  # fmt: skip
    for line in lines:
        try:
            segment = parse_segment(line, version, encoding_chars=marks, validation_level=_TOLERANT)
        except (HL7apyException, KeyError):
            yield Finding(line[:3], f"{version} 中没有这个段，或有多出的字段")
            continue
        yield from _reported(segment)
        yield from _values(segment, version)
