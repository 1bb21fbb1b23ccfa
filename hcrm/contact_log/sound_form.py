"""What an upload is, by its content: a name says nothing, and the first bytes alone can be put before anything.

Each form is read as far in as a text, a page or a picture under its first bytes would fail: WAV to its samples, OGG to
its second page, AMR and MP3 over several frames, M4A to the handler of its tracks.
"""

import struct
from collections.abc import Callable, Iterator
from typing import IO

from hcrm.core.errors import HcrmError

_FRAMES = 8
"""Frames that have to follow each other, unless the file ends before."""
_MOST_CHUNKS = 200
_WAV_FORMATS = frozenset({0x0001, 0x0002, 0x0003, 0x0006, 0x0007, 0x0011, 0x0031, 0x0055, 0xFFFE})
"""PCM, ADPCM, float, A-law, u-law, IMA, GSM, MP3, extensible."""
_WAV_OPEN = 0x7FFF0000  # sizes from here on, and 0, are of a recorder that could not go back to write them
_OGG_CODECS = (b"\x01vorbis", b"OpusHead", b"Speex   ", b"\x7fFLAC")
_M4A_BRANDS = frozenset({
    b"M4A ", b"M4B ", b"mp42", b"mp41", b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"3gp4", b"3gp5", b"3gp6",
})  # fmt: skip
_M4A_HOLDERS = frozenset({b"moov", b"trak", b"mdia"})
_AMR_NARROW = (12, 13, 15, 17, 19, 20, 26, 31, 5, -1, -1, -1, -1, -1, -1, 0)
_AMR_WIDE = (17, 23, 32, 36, 40, 46, 50, 58, 60, 5, -1, -1, -1, -1, 0, 0)
"""Bytes after the head of a frame, by its type (RFC 4867); -1: there is no such type."""
_MP3_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MP3_BITS = {
    True: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}  # fmt: skip
_MP3_PADDING = 4096
"""Zeros some programs leave between the tag and the first frame."""


def sound_form(source: IO[bytes]) -> str:
    """The media type of a seekable file, which is at its start again afterwards; refused where it is no sound."""
    source.seek(0)
    head = source.read(16)
    word, media_type, is_sound = _claim(head)
    source.seek(0)
    found = is_sound(source)
    source.seek(0)
    if not found:
        raise HcrmError(
            "recording.content",
            f"这个文件开头像 {word}，里面却不是录音，或已损坏；请重新导出后再上传",
            field="recording",
        )
    return media_type


def _claim(head: bytes) -> tuple[str, str, Callable[[IO[bytes]], bool]]:
    """What the first bytes say it is, and who looks further."""
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "WAV", "audio/wav", _is_wav
    if head[:4] == b"OggS":
        return "OGG", "audio/ogg", _is_ogg
    if head[:5] == b"#!AMR":
        return "AMR", "audio/amr", _is_amr
    if head[4:8] == b"ftyp" and head[8:12] in _M4A_BRANDS:
        return "M4A", "audio/mp4", _is_m4a
    if head[:3] == b"ID3" or _mp3_frame(head) is not None:
        return "MP3", "audio/mpeg", _is_mp3
    raise HcrmError("recording.type", "只能上传 WAV、MP3、OGG、M4A、AMR 录音", field="recording")


def _size_of(source: IO[bytes]) -> int:
    here = source.tell()
    size = source.seek(0, 2)
    source.seek(here)
    return size


def _is_wav(source: IO[bytes]) -> bool:
    """A format we know, then samples."""
    size, place, has_format = _size_of(source), 12, False
    for _ in range(_MOST_CHUNKS):
        source.seek(place)
        head = source.read(8)
        if len(head) < 8:
            return False
        name, length = head[:4], struct.unpack("<I", head[4:])[0]
        if name == b"data":
            return (
                has_format
                and place + 8 < size
                and (length == 0 or length >= _WAV_OPEN or place + 8 + length <= size)
            )
        if name == b"fmt ":
            has_format = _is_wav_format(source.read(16))
            if not has_format:
                return False
        place += 8 + length + length % 2
    return False


def _is_wav_format(body: bytes) -> bool:
    if len(body) < 16:
        return False
    kind, channels, rate = struct.unpack("<HHI", body[:8])
    return kind in _WAV_FORMATS and 1 <= channels <= 8 and 1_000 <= rate <= 384_000


def _is_ogg(source: IO[bytes]) -> bool:
    """A first page whose sum is right and whose codec is one of sound, then another page."""
    head = source.read(27)
    if len(head) < 27 or head[4] != 0 or not head[5] & 0x02:
        return False
    segments = source.read(head[26])
    body = source.read(sum(segments))
    whole = head[:22] + b"\0\0\0\0" + head[26:] + segments + body
    if _ogg_sum(whole) != struct.unpack("<I", head[22:26])[0]:
        return False
    return body.startswith(_OGG_CODECS) and source.read(4) == b"OggS"


def _ogg_sum(data: bytes) -> int:
    """The check sum of a page (RFC 3533): CRC-32 of 0x04C11DB7, bits as they come."""
    total = 0
    for byte in data:
        total ^= byte << 24
        for _ in range(8):
            total = (total << 1 ^ 0x04C11DB7 if total & 0x80000000 else total << 1) & 0xFFFFFFFF
    return total


def _is_amr(source: IO[bytes]) -> bool:
    """Frames of known types, one after the other."""
    line = source.readline(16)
    if line not in (b"#!AMR\n", b"#!AMR-WB\n"):
        return False
    sizes = _AMR_NARROW if line == b"#!AMR\n" else _AMR_WIDE
    count = 0
    while count < _FRAMES and (head := source.read(1)):
        size = sizes[head[0] >> 3 & 0x0F]
        if head[0] & 0x83 or size < 0 or len(source.read(size)) < size:
            return False
        count += 1
    return count > 0


def _is_mp3(source: IO[bytes]) -> bool:
    """Frames of layer III, each where the one before says the next is."""
    place = _after_tag(source)
    source.seek(place)
    place += len(lead := source.read(_MP3_PADDING)) - len(lead.lstrip(b"\0"))
    size, first = _size_of(source), None
    for count in range(_FRAMES):
        source.seek(place)
        frame = _mp3_frame(source.read(4))
        if frame is None or frame[:2] != (first or frame)[:2] or place + 4 > size:
            return False
        first = first or frame
        place += frame[2]
        if place >= size:  # cut within a frame, as a recorder that was switched off leaves it
            return count > 0 or place == size
    return True


def _after_tag(source: IO[bytes]) -> int:
    """Where the ID3 tag ends; 0 where there is none."""
    head = source.read(10)
    if head[:3] != b"ID3" or len(head) < 10 or any(byte & 0x80 for byte in head[6:10]):
        return 0
    length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + length + (10 if head[5] & 0x10 else 0)


def _mp3_frame(head: bytes) -> tuple[int, int, int] | None:
    """Version, rate and length in bytes of a frame of layer III, by its first four bytes."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, bits, rate = head[1] >> 3 & 0x03, head[2] >> 4, head[2] >> 2 & 0x03
    if version == 1 or bits in (0, 15) or rate == 3:
        return None
    is_first = version == 3
    hertz = _MP3_RATES[version][rate]
    length = (144 if is_first else 72) * _MP3_BITS[is_first][bits - 1] * 1_000 // hertz + (head[2] >> 1 & 1)
    return version, hertz, length


def _is_m4a(source: IO[bytes]) -> bool:
    """Tracks of sound, none of pictures, and the sound itself."""
    names, handlers = set(), set()
    for name, start, _ in _boxes(source, 0, _size_of(source)):
        names.add(name)
        if name == b"hdlr":
            source.seek(start + 8)
            handlers.add(source.read(4))
    return b"mdat" in names and b"soun" in handlers and b"vide" not in handlers


def _boxes(source: IO[bytes], place: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, first and last place of the content of each box, and of those within; a box that lies ends it."""
    for _ in range(_MOST_CHUNKS):
        source.seek(place)
        head = source.read(16)
        if place + 8 > stop or len(head) < 8:
            return
        length, name, start = struct.unpack(">I", head[:4])[0], head[4:8], place + 8
        if length == 1 and len(head) == 16:
            length, start = struct.unpack(">Q", head[8:])[0], place + 16
        end = stop if length == 0 else place + length
        if end < start or end > stop:
            return
        yield name, start, end
        if name in _M4A_HOLDERS:
            yield from _boxes(source, start, end)
        place = end
