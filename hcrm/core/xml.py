"""XML from outside, read safely: a DOCTYPE is refused, so no entity is ever declared; depth and number are limited.

The standard parser (expat) with handlers of our own: nothing is fetched, nothing expanded (C26).
"""

import codecs
import re
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat  # hardened below: no DOCTYPE, hence no entities

from hcrm.core import limits

_DECLARED: Final = re.compile(rb"""\A\s*<\?xml[^>]*?\bencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_CHINESE: Final = frozenset({"gbk", "gb2312", "hz", "cp936"})
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class XmlRefused(ValueError):
    """No XML we read; the text says why, never what stood there."""


@dataclass(slots=True)
class Element:
    """An element: local name, namespace, attributes, what is inside."""

    name: str
    namespace: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    children: list["Element"] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Its own text, CDATA included."""
        return "".join(self.parts)

    def walk(self) -> list["Element"]:
        """Itself and all below, in the order of the document."""
        found, waiting = [], [self]
        while waiting:
            element = waiting.pop()
            found.append(element)
            waiting += reversed(element.children)
        return found

    def child(self, name: str) -> "Element | None":
        """The first child of that local name."""
        return next((each for each in self.children if each.name == name), None)


def read_xml(content: bytes | str, charset: str = "") -> Element:
    """The root element. `charset` is what the transport says, which wins over the declaration (RFC 7303, 3.2)."""
    reader = _Reader()
    try:
        reader.parser.Parse(content if isinstance(content, str) else _decode(content, charset), True)
    except expat.ExpatError as error:
        raise XmlRefused(f"XML 第 {error.lineno} 行有误") from error
    except (UnicodeError, LookupError) as error:
        raise XmlRefused("XML 的字符集无法识别") from error
    assert reader.root is not None  # expat refuses a document without one
    return reader.root


def _decode(content: bytes, charset: str) -> str:
    for mark, codec in _MARKS:
        if content.startswith(mark):
            return content.decode(codec)
    declared = _DECLARED.match(content[:200])
    name = codecs.lookup(charset or (declared[1].decode("ascii") if declared else "utf-8")).name
    return content.decode("gb18030" if name in _CHINESE else name)


class _Reader:
    """Builds elements as expat meets them."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._count = 0
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def _refuse(self, *_: object) -> None:
        raise XmlRefused("XML 中不得有 DOCTYPE")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1 + len(attributes)
        if len(self._open) >= limits.XML_DEPTH or self._count > limits.XML_ELEMENTS:
            raise XmlRefused("XML 嵌套过深或元素过多")
        namespace, _, local = name.rpartition(" ")
        named = {key.rpartition(" ")[2]: value for key, value in attributes.items()}
        element = Element(local, namespace, named)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def _end(self, _name: str) -> None:
        self._open.pop()

    def _text(self, text: str) -> None:
        self._open[-1].parts.append(text)
