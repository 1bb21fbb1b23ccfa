"""An upload is taken by what it is inside, whatever its name and its first bytes say."""

import io
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hcrm.contact_log.byte_range import UnsatisfiableError, asked_part
from hcrm.contact_log.recordings import store_sound
from hcrm.contact_log.sound_form import sound_form
from hcrm.core.errors import HcrmError
from tests.support.sounds import amr, m4a, mp3, ogg, wav

WAV = wav(b"\x80" * 800)
OPEN_WAV = WAV[:4] + b"\xff" * 4 + WAV[8:40] + b"\xff" * 4 + WAV[44:]
HTML = b"<!doctype html><script>alert(1)</script>" * 40


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (WAV, "audio/wav"), (OPEN_WAV, "audio/wav"), (mp3(), "audio/mpeg"), (mp3(tag=None), "audio/mpeg"),
        (mp3(2)[:-100], "audio/mpeg"), (ogg(), "audio/ogg"), (ogg(b"\x01vorbis"), "audio/ogg"),
        (ogg(b"Speex   "), "audio/ogg"), (m4a(), "audio/mp4"), (m4a(last=False), "audio/mp4"),
        (m4a(brand=b"3gp5"), "audio/mp4"), (amr(), "audio/amr"), (amr(1), "audio/amr"),
        (b"#!AMR-WB\n" + (b"\x44" + b"\0" * 60) * 3, "audio/amr"),
    ],
)  # fmt: skip
def test_a_recording_is_known_by_its_content_to_which_the_file_is_wound_back(content, kind):
    file = io.BytesIO(content)
    file.seek(9)

    assert sound_form(file) == kind
    assert file.tell() == 0


@pytest.mark.parametrize(
    "content",
    [
        b"", b"<html><script>", b"%PDF-1.7", b"MZ\x90\0", b"\xff\xd8\xff\xe0" + b"\0" * 99, b"PK\x03\x04",
        "你好".encode() * 99, b"\0\0\0\x20ftypheic\0\0\0\0",
    ],
)  # fmt: skip
def test_what_is_no_recording_is_refused_whatever_its_name(tmp_path, keys, content):
    with pytest.raises(HcrmError, match="只能上传") as refusal:
        store_sound(keys, tmp_path, io.BytesIO(content), file_name="a" * 32)

    assert refusal.value.field == "recording"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (WAV[:12] + HTML, "WAV"), (WAV[:36] + HTML, "WAV"), (WAV[:44], "WAV"), (WAV[:-400], "WAV"),
        (WAV[:20] + b"\x99\x99" + WAV[22:], "WAV"), (b"ID3" + HTML, "MP3"), (mp3()[:14] + HTML, "MP3"),
        (mp3(2)[:-417] + HTML, "MP3"), (b"\xff\xfb\x90\x64" + HTML, "MP3"), (b"OggS" + HTML, "OGG"),
        (ogg(b"\x80theora"), "OGG"), (ogg()[:-34] + HTML, "OGG"), (ogg().replace(b"d\x01\x01", b"d\x01\x02"), "OGG"),
        (m4a()[:20] + HTML, "M4A"), (m4a(b"soun", b"vide"), "M4A"), (m4a(b"text"), "M4A"), (m4a()[:-5], "M4A"),
        (b"#!AMR\n" + HTML, "AMR"), (b"#!AMR\n", "AMR"), (b"#!AMR" + HTML, "AMR"),
    ],
)  # fmt: skip
def test_what_only_begins_like_one_is_refused_too(tmp_path, keys, content, word):
    with pytest.raises(HcrmError, match=f"开头像 {word}，里面却不是录音"):
        store_sound(keys, tmp_path, io.BytesIO(content), file_name="a" * 32)

    assert list(tmp_path.iterdir()) == []


BEGINNINGS = (WAV[:12], WAV[:36], b"ID3\x04", b"\xff\xfb\x90\x64", b"OggS", b"#!AMR\n", m4a()[:20])


@given(st.sampled_from(BEGINNINGS), st.binary(max_size=400))
@example(m4a()[:16], b"\0" * 400)
@example(b"", b"\0\0\0\0ftypM4A " + b"\0\0\0\x01moov" + b"\xff" * 20)
def test_whatever_comes_is_answered_with_a_form_or_a_refusal(head, rest):
    with suppress(HcrmError):
        assert sound_form(io.BytesIO(head + rest)).startswith("audio/")


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None), ("", None), ("bytes=0-0", (0, 1)), ("bytes=0-", (0, 1000)), ("bytes=990-5000", (990, 1000)),
        ("bytes=-500", (500, 1000)), ("bytes=-5000", (0, 1000)), ("BYTES = 10-19 ", (10, 20)), ("bytes=5-2", None),
        ("bytes=-", None), ("bytes=a-b", None), ("bytes=0-1,5-6", None), ("items=0-1", None), ("bytes=٣-٥", None),
        ("bytes=0-" + "9" * 100, (0, 1000)), ("bytes=0-" + "9" * 5000, None),
    ],
)  # fmt: skip
def test_one_range_is_that_part_and_what_cannot_be_read_is_the_whole(header, part):
    assert asked_part(header, 1000) == part


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=1000-2000", "bytes=-0"])
def test_a_range_without_a_byte_is_unsatisfiable(header):
    with pytest.raises(UnsatisfiableError):
        asked_part(header, 1000)
