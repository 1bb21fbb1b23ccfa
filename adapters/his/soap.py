"""HL7 in a SOAP envelope (SOAP 1.1; 1.2 part 1, section 5), and XML that is no HL7 as a flat row.

The message stands in the element the source names, else in the first text that begins with MSH; escaped, in CDATA or
as elements. XML turns a carriage return into a line feed, which the reader takes as a segment's end too.
"""

from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from adapters.his.header import read_header
from hcrm.core.channels import Soap
from hcrm.core.charset import charset_named
from hcrm.core.sources import Source, Sources
from hcrm.core.xml import Element, XmlRefused, read_xml

SOAP_11: Final = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP_12: Final = "http://www.w3.org/2003/05/soap-envelope"
_TYPES: Final = {SOAP_11: "text/xml; charset=utf-8", SOAP_12: "application/soap+xml; charset=utf-8"}
_LINE_ENDS: Final = {"\r": "&#13;"}


@dataclass(frozen=True, slots=True)
class Envelope:
    """What was asked: HL7 bytes, or a flat row; and how to answer."""

    version: str  # namespace of the envelope
    operation: str
    namespace: str
    message: bytes = b""
    codec: str = "utf-8"
    row: tuple[tuple[str, str], ...] = ()

    @property
    def content_type(self) -> str:
        """Of the answer."""
        return _TYPES[self.version]


def read_envelope(body: bytes, charset: str, *, sources: Sources, source: Source | None) -> Envelope:
    """The message of an envelope; XmlRefused where there is none."""
    root = read_xml(body, charset)
    if root.name != "Envelope" or root.namespace not in _TYPES:
        raise XmlRefused("不是 SOAP 1.1 或 1.2 的信封")
    content = root.child("Body")
    operation = content.children[0] if content is not None and content.children else None
    if content is None or operation is None:
        raise XmlRefused("信封里没有内容")
    soap = source.soap if source and source.soap else Soap()
    holder = _holder(content, soap)
    text = holder.text.strip() if holder is not None else ""
    if text.startswith("MSH"):
        message, codec = _encoded(text, sources)
        return Envelope(root.namespace, operation.name, operation.namespace, message, codec)
    if soap.rows is None:
        raise XmlRefused("信封里没有 HL7 消息")
    inner = read_xml(text) if text.startswith("<") else _document(holder) if holder else operation
    return Envelope(root.namespace, operation.name, operation.namespace, row=tuple(flatten(inner).items()))


def write_answer(envelope: Envelope, text: str, element: str) -> bytes:
    """The answer's envelope: `<operationResponse><return>…`, as document/literal services name it."""
    name = f"{envelope.operation}Response"
    space = f" xmlns:m={quoteattr(envelope.namespace)}" if envelope.namespace else ""
    prefix = "m:" if space else ""
    return _envelope(
        envelope.version,
        f"<{prefix}{name}{space}><{element}>{escape(text, _LINE_ENDS)}</{element}></{prefix}{name}>",
    )


def write_fault(version: str, text: str, *, by_sender: bool) -> tuple[bytes, int, str]:
    """A Fault, its status and content type (SOAP 1.1 section 6.2; 1.2 part 2 section 7.5.2.2)."""
    if version == SOAP_12:
        code = "env:Sender" if by_sender else "env:Receiver"
        fault = (
            f"<env:Fault><env:Code><env:Value>{code}</env:Value></env:Code>"
            f'<env:Reason><env:Text xml:lang="zh">{escape(text)}</env:Text></env:Reason></env:Fault>'
        )
        return _envelope(version, fault), 400 if by_sender else 500, _TYPES[version]
    code = "env:Client" if by_sender else "env:Server"
    fault = f"<env:Fault><faultcode>{code}</faultcode><faultstring>{escape(text)}</faultstring></env:Fault>"
    return _envelope(SOAP_11, fault), 500, _TYPES[SOAP_11]


def flatten(root: Element) -> dict[str, str]:
    """Texts and attributes by path below the root; what repeats is numbered from the second on: `a/b[2]/c`."""
    found: dict[str, str] = {}
    waiting = [(root, "")]
    while waiting:
        element, path = waiting.pop()
        text = element.text.strip()
        if text and path:
            found[path] = text
        for name, value in element.attributes.items():
            found[f"{path}/@{name}".lstrip("/")] = value
        seen: dict[str, int] = {}
        for child in element.children:
            seen[child.name] = number = seen.get(child.name, 0) + 1
            step = child.name if number == 1 else f"{child.name}[{number}]"
            waiting.append((child, f"{path}/{step}".lstrip("/")))
    return found


def _holder(content: Element, soap: Soap) -> Element | None:
    elements = content.walk()
    if soap.payload:
        return next((each for each in elements if each.name == soap.payload), None)
    return next((each for each in elements if each.text.lstrip().startswith("MSH")), None)


def _document(holder: Element) -> Element:
    """What the payload element holds: one element with elements of its own is a document, as it is in CDATA."""
    only = holder.children[0] if len(holder.children) == 1 else None
    return only if only is not None and only.children else holder


def _encoded(text: str, sources: Sources) -> tuple[bytes, str]:
    """The bytes as the message itself declares them, since that is how they will be read."""
    header = read_header(text.encode())
    if header is None:
        return text.encode(), "utf-8"
    source = sources.find(header.sender, header.facility) or sources.default
    declared = None if source.charset_forced else charset_named(header.charset_word)
    for codec in (declared, charset_named(source.charset) or source.charset):
        if codec:
            try:
                return text.encode(codec), codec
            except UnicodeEncodeError:
                continue
    return text.encode(), "utf-8"


def _envelope(version: str, content: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        f'<env:Envelope xmlns:env="{version}"><env:Body>{content}</env:Body></env:Envelope>'
    ).encode()
