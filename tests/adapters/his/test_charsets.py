"""Characters survive the way from the socket into the archive: every CJK ideograph, both charsets, escapes (A11)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2 import decode, read_header, read_message
from hcrm.archive.models import Patient, PatientIdentifier
from hcrm.archive.terms import IdentifierKind
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from tests.support.adt import adt
from tests.support.changes import EVENING, SOURCES
from tests.support.hospital import Hospital

IDEOGRAPHS = [chr(number) for number in range(0x4E00, 0x9FA6)]  # the 20,902 of Unicode 1.1
CHARSETS = (("UNICODE UTF-8", "utf-8"), ("GB 18030-2000", "gb18030"))
NAME = 60  # characters of one patient's name


def names() -> list[str]:
    return ["".join(IDEOGRAPHS[start : start + NAME]) for start in range(0, len(IDEOGRAPHS), NAME)]


def test_every_ideograph_reaches_the_archive_in_both_charsets_switching_on_one_connection(database: Database):
    wanted = {}
    with Hospital(database, FixedClock(EVENING)) as hospital:
        peer = hospital.connect()
        for number, name in enumerate(names()):
            raws = []
            for offset, (word, codec) in enumerate(CHARSETS):
                patient = f"{number}{offset}"
                wanted[patient] = name
                raws.append(adt("A28", c=patient, p=patient, name=name, charset=word, encoding=codec))
            peer.send(b"".join(b"\x0b" + raw + b"\x1c\r" for raw in raws))
            assert all(b"\rMSA|CA|" in peer.answer() for _ in raws)
        hospital.settle()

        with hospital.look() as work:
            numbers = {
                row.patient_id: row.value
                for row in work.all(PatientIdentifier, PatientIdentifier.kind == IdentifierKind.RECORD)
            }
            found = {numbers[row.id]: row.name for row in work.all(Patient)}
            raws = {row.control_id: database.keys.open(row.raw) for row in hospital.messages()}

    assert sum(map(len, names())) == 20_902
    assert found == wanted
    assert all(name.encode(CHARSETS[int(c[-1])][1]) in raws[c] for c, name in wanted.items()), (
        "raw bytes kept"
    )


@pytest.mark.parametrize(
    ("word", "codec", "name"),
    [
        ("", "ascii", "SMITH"), ("ASCII", "ascii", "SMITH"), ("8859/1", "latin-1", "MÜLLER é"),
        ("UNICODE", "utf-8", "𠮷田"), ("GB2312", "gb18030", "张珅㑇𠮷"), ("GBK", "gb18030", "啰䶮"),
        ("BIG5", "big5", "陳大文"),
    ],
)  # fmt: skip
def test_each_charset_senders_name_reaches_the_archive(database: Database, word, codec, name):
    with Hospital(database, FixedClock(EVENING)) as hospital:
        hospital.receive(adt("A28", name=name, address="", charset=word, encoding=codec))
        assert hospital.patient(100).name == name


# ── escapes ─────────────────────────────────────────────────────────────────

ESCAPES = {"|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\",
           "\\": "\\E\\", "\r": "\\X0D\\", "\n": "\\.br\\"}  # fmt: skip
texts = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")) | st.sampled_from("|^&~\\\n"), max_size=60
).map("a{}b".format)  # blanks at the ends of a field say nothing


def escaped(text: str) -> str:
    """As chapter 2.7 writes it."""
    return "".join(ESCAPES.get(char, char) for char in text)


@given(text=texts, charset=st.sampled_from(CHARSETS), sub=st.booleans())
def test_what_a_sender_escaped_is_read_as_it_was_meant(text, charset, sub):
    word, codec = charset
    written = escaped(text)
    field = f"a&{written}" if sub else f"a^{written}"
    raw = adt("A01", charset=word, encoding=codec, segments=[f"ZZZ|{field}|{written}"])

    header = read_header(raw)
    assert header is not None
    segment = read_message(decode(raw, header, SOURCES.default)[0]).segment("ZZZ")

    assert (segment.text(1, 1, 1, 2) if sub else segment.text(1, 2)) == text
    assert segment.text(2) == text
