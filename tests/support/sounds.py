"""Small recordings of each form, built as their specifications say."""

import io
import struct
import wave


def wav(samples: bytes) -> bytes:
    """Mono, 8 bits, 8 kHz: a byte is a sample."""
    file = io.BytesIO()
    with wave.open(file, "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(1)
        target.setframerate(8_000)
        target.writeframes(samples)
    return file.getvalue()


def mp3(frames: int = 12, *, tag: bytes | None = b"TIT2") -> bytes:
    """MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes a frame; with an ID3 tag unless it is None."""
    head = b"" if tag is None else b"ID3\x04\0\0" + bytes((0, 0, 0, len(tag))) + tag
    return head + (b"\xff\xfb\x90\x64" + b"\0" * 413) * frames


def amr(frames: int = 12) -> bytes:
    """Narrow band at 12.2 kbit/s."""
    return b"#!AMR\n" + (b"\x3c" + b"\x55" * 31) * frames


def ogg(codec: bytes = b"OpusHead\x01\x01") -> bytes:
    """Two pages of a stream of that codec."""
    return _page(codec, first=True) + _page(b"sound", first=False)


def _page(body: bytes, *, first: bool) -> bytes:
    head = b"OggS\0" + (b"\x02" if first else b"\0") + b"\0" * 8 + struct.pack("<II", 7, 0 if first else 1)
    tail = bytes((1, len(body))) + body
    return head + struct.pack("<I", _crc(head + b"\0\0\0\0" + tail)) + tail


def _crc(data: bytes) -> int:
    """CRC-32 with the polynomial 0x04C11DB7, most significant bit first, by long division."""
    bits = int.from_bytes(data, "big") << 32
    for shift in range(bits.bit_length() - 33, -1, -1):
        if bits >> (shift + 32) & 1:
            bits ^= 0x104C11DB7 << shift
    return bits


def m4a(*handlers: bytes, brand: bytes = b"M4A ", last: bool = True) -> bytes:
    """A file with a track of each handler, the index behind the sound or before it."""
    tracks = b"".join(
        _box(b"trak", _box(b"mdia", _box(b"hdlr", b"\0" * 8 + one + b"\0" * 12)))
        for one in handlers or (b"soun",)
    )
    parts = [_box(b"mdat", b"\x21" * 64), _box(b"moov", _box(b"mvhd", b"\0" * 100) + tracks)]
    return _box(b"ftyp", brand + b"\0\0\0\0" + brand) + b"".join(parts if last else reversed(parts))


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content
