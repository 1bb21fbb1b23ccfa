"""The framer: what comes out depends on the bytes alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.his.framing import Frame, Framer, HalfFrame, Junk, Piece, TooLong

MESSAGE = b"MSH|^~\\&|A\rPID|1"


def cut(stream: bytes, *sizes: int, max_frame: int = 100, max_junk: int = 50) -> list[Piece]:
    """All pieces of a stream delivered in chunks of these sizes, the rest in one."""
    framer = Framer(max_frame, max_junk)
    pieces: list[Piece] = []
    for size in sizes:
        pieces += framer.feed(stream[:size])
        stream = stream[size:]
    return [*pieces, *framer.feed(stream), *framer.close()]


def framed(*messages: bytes) -> bytes:
    return b"".join(b"\x0b" + message + b"\x1c\r" for message in messages)


streams = st.lists(
    st.sampled_from([b"\x0b", b"\x1c", b"\r", b"\x1c\r", b"\n", b"\x00", b"x", b"MSH|", b"\x0bMSH|a\x1c\r", b"y" * 60]),
    max_size=25,
).map(b"".join)  # fmt: skip


@given(streams, st.lists(st.integers(1, 40), max_size=12))
def test_the_pieces_do_not_depend_on_how_the_stream_was_cut(stream, sizes):
    whole = cut(stream)

    assert cut(stream, *sizes) == whole
    assert cut(stream, *[1] * len(stream)) == whole


@given(st.lists(st.binary(max_size=40).map(lambda content: b"MSH" + bytes(set(content) - {0x0B, 0x1C})), max_size=5),
       st.lists(st.integers(1, 40), max_size=12))  # fmt: skip
def test_no_frame_is_lost_and_none_invented(messages, sizes):
    assert cut(framed(*messages), *sizes) == [Frame(message) for message in messages]


def test_bytes_outside_frames_are_junk_but_fillers_are_not():
    assert cut(b"\r\n\x00" + framed(MESSAGE) + b"\r\n" + framed(MESSAGE) + b"\x00") == [Frame(MESSAGE)] * 2
    assert cut(b"\rab\n\rc\r" + framed(MESSAGE) + b"GET / HTTP/1.1\r\n\r\n") == [
        Junk(b"ab\n\rc"),
        Frame(MESSAGE),
        Junk(b"GET / HTTP/1.1"),
    ]


def test_junk_with_frame_bytes_in_it_does_not_swallow_the_next_frame():
    assert cut(b"j\x0bunk\x1cx" + framed(MESSAGE)) == [Junk(b"j"), HalfFrame(b"unk\x1cx"), Frame(MESSAGE)]


@pytest.mark.parametrize("after", [b"\r", b"\n", b"\x00", b""])
def test_the_carriage_return_after_an_end_block_may_be_missing(after):
    assert cut(b"\x0b" + MESSAGE + b"\x1c" + after + framed(MESSAGE)) == [Frame(MESSAGE), Frame(MESSAGE)]


def test_an_end_block_that_nothing_follows_ends_the_frame_after_a_silence():
    framer = Framer()

    assert framer.feed(b"\x0b" + MESSAGE + b"\x1c") == []
    assert framer.awaits_end
    assert framer.settle() == [Frame(MESSAGE)]
    assert framer.feed(b"\r" + framed(MESSAGE)) == [Frame(MESSAGE)]
    assert not framer.awaits_end
    assert framer.settle() == []


def test_an_end_block_inside_a_text_does_not_cut_the_message():
    assert cut(framed(MESSAGE + b"\x1cmore")) == [Frame(MESSAGE + b"\x1cmore")]


def test_a_sender_that_begins_anew_inside_a_frame_loses_only_the_first_part():
    assert cut(b"\x0bMSH|1\x0bMSH|2\x0b" + MESSAGE + b"\x1c\r") == [
        HalfFrame(b"MSH|1\x0bMSH|2"),
        Frame(MESSAGE),
    ]
    assert cut(framed(b"MSH|line one\x0bline two")) == [Frame(b"MSH|line one\x0bline two")]


def test_a_frame_whose_end_never_comes_is_half_a_frame():
    assert cut(b"\x0bMSH|") == [HalfFrame(b"MSH|")]
    assert cut(b"\x0b") == [HalfFrame(b"")]


def test_a_frame_of_exactly_the_limit_passes_and_one_byte_more_ends_everything():
    assert cut(framed(b"x" * 100)) == [Frame(b"x" * 100)]
    assert cut(framed(b"x" * 101, MESSAGE)) == [TooLong(b"x" * 100, is_frame=True)]
    assert cut(b"x" * 51 + framed(MESSAGE)) == [TooLong(b"x" * 50, is_frame=False)]


def test_an_endless_frame_holds_no_more_than_the_limit():
    framer = Framer(max_frame=1000)
    framer.feed(b"\x0b")

    pieces = [piece for _ in range(100) for piece in framer.feed(b"x" * 100)]

    assert pieces == [TooLong(b"x" * 1000, is_frame=True)]
    assert framer.held == 0
