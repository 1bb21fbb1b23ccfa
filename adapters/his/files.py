"""Messages out of a file someone saved: with or without MLLP framing, alone, in a batch or many in a row."""

from adapters.his.batch import BatchTooLong, Part, split_batch
from adapters.his.framing import END, START, Frame, Framer, HalfFrame
from hcrm.core import limits


class NotMessages(ValueError):
    """The file is no collection of messages; the text says why, in Chinese."""


def messages_of(raw: bytes) -> list[Part]:
    """The messages in order; what stands in no message is a part without MSH."""
    if not raw.strip(b"\xef\xbb\xbf \t\r\n\x00"):
        raise NotMessages("文件是空的")
    if len(raw) > limits.CHECK_FILE_BYTES:
        raise NotMessages(f"文件超过 {limits.CHECK_FILE_BYTES // 1024**2} MB，请分成几个")
    try:
        return [part for content in _contents(raw) for part in split_batch(content)]
    except BatchTooLong as error:
        raise NotMessages(f"消息超过 {limits.MAX_BATCH_MESSAGES} 条，请分成几个文件") from error


def _contents(raw: bytes) -> list[bytes]:
    if START not in raw:
        return [raw.rstrip(END)]
    framer = Framer(max_frame=len(raw), max_junk=len(raw))
    pieces = framer.feed(raw if raw.endswith(END) else raw + END) + framer.close()
    return [piece.content for piece in pieces if isinstance(piece, Frame | HalfFrame)]
