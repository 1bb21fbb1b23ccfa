"""A drop folder: files are taken by renaming, stored durably, then moved to the archive folder of their day.

Taking is one rename into `_work`, so two processes never take one file. After a crash the next turn goes through
`_work` first; what was stored already is known to the inbox and changes nothing. Names of files may name patients:
they are not logged.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from stat import S_ISREG
from typing import Final

import structlog

from adapters.his.lists import SUFFIXES, FileRefused, read_list
from adapters.his.reception import receive
from hcrm.core import limits
from hcrm.core.sources import Source, Sources
from hcrm.inbox.records import Incoming, Refused, Stored
from hcrm.inbox.rows import row_message

WORK, ARCHIVE, ERROR = "_work", "_archive", "_error"
_UNFINISHED: Final = (".tmp", ".part", ".partial", ".filepart", ".crdownload", ".ok", "~")
_DAY: Final = re.compile(r"\d{8}")
_ROWS_AT_ONCE: Final = 500
_MLLP: Final = b"\x0b\x1c"
_WORDS: Final = {
    "oversize": "文件过大，或行数、消息数超过上限",
    "charset": "字符集无法识别，请核对来源配置中的 charset",
    "columns": "表头缺少来源配置中写明的列",
    "unreadable": "文件内容无法读取",
    "empty": "文件为空",
    "no_list": "来源配置没有 list_file，无法读取表格",
    "refused": "有消息未被接收（消息头有误），其余消息已接收；详见“拒收记录”",
}
"""What stands in the reason file beside a file that was not taken in."""
log = structlog.get_logger(__name__)

Store = Callable[[Sequence[Incoming | Refused]], list[Stored]]
"""Stores durably, then returns (`hcrm.inbox.intake.store_now`)."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One file: how many messages it held, how many of them were new, and why it lies in the error folder."""

    messages: int
    new: int
    reason: str = ""


class DropFolder:
    """The folder of one source; remembers which files stood still."""

    def __init__(self, source: Source, sources: Sources) -> None:
        assert source.folder is not None
        self.source = source
        self.settings = source.folder
        self._sources = sources
        self._path = source.folder.path
        self._seen: dict[str, tuple[int, int, datetime]] = {}  # size, modification, since when

    def waiting(self, now: datetime) -> list[str]:
        """Names of files that are whole, the oldest first."""
        found: list[tuple[int, str]] = []
        seen: dict[str, tuple[int, int, datetime]] = {}
        for entry in os.scandir(self._path):
            if not self._is_ours(entry.name):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # taken by another process
                continue
            if not S_ISREG(status.st_mode):  # no folder, no pipe, no link that leads elsewhere
                continue
            before = self._seen.get(entry.name)
            same = before is not None and before[:2] == (status.st_size, status.st_mtime_ns)
            since = before[2] if before and same else now
            seen[entry.name] = (status.st_size, status.st_mtime_ns, since)
            if self._is_whole(entry.name, since, now):
                found.append((status.st_mtime_ns, entry.name))
        self._seen = seen
        return [name for _, name in sorted(found)]

    def has_left_over(self) -> bool:
        """Whether a process that died left a file behind."""
        work = self._path / WORK
        return work.is_dir() and any(work.iterdir())

    def take_all(self, store: Store, now: Callable[[], datetime], on_file: Callable[[Taken], object]) -> int:
        """Take in what is left in `_work`, then every whole file; how many files."""
        for name in (WORK, ARCHIVE, ERROR):
            folder = self._path / name
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.is_symlink():  # whoever may write here could lead us elsewhere
                raise NotADirectoryError(name)
        count = 0
        for left in sorted((self._path / WORK).iterdir()):
            on_file(self._take_in(left, store, now()))
            count += 1
        for name in self.waiting(now()):
            path = self._grab(name)
            if path is not None:
                on_file(self._take_in(path, store, now()))
                count += 1
        self._prune(now())
        return count

    # ── one file ────────────────────────────────────────────────────────────

    def _is_ours(self, name: str) -> bool:
        hidden = name.startswith((".", "_"))
        return not hidden and not name.lower().endswith(_UNFINISHED) and fnmatch(name, self.settings.pattern)

    def _is_whole(self, name: str, since: datetime, now: datetime) -> bool:
        if self.settings.ready == "ok":
            return (self._path / f"{name}.ok").exists()
        return now - since >= timedelta(seconds=self.settings.still_seconds)

    def _grab(self, name: str) -> Path | None:
        target = _free(self._path / WORK / name)
        try:
            (self._path / name).rename(target)
        except FileNotFoundError:
            return None
        (self._path / f"{name}.ok").unlink(missing_ok=True)
        return target

    def _take_in(self, path: Path, store: Store, at: datetime) -> Taken:
        """Store what the file holds, then move it; where the store fails the file stays in `_work`."""
        messages = new = 0
        reason = detail = ""
        try:
            for arriving in self._arriving(path, at):
                stored = store(arriving)
                messages += len(arriving)
                new += sum(
                    isinstance(item, Incoming) and not done.is_duplicate
                    for item, done in zip(arriving, stored, strict=True)
                )
                if any(isinstance(item, Refused) for item in arriving):
                    reason = "refused"
        except FileRefused as error:
            reason, detail = error.reason, error.detail
        except FileNotFoundError:  # another process took over and is done with it
            return Taken(messages, new)
        day = at.astimezone(self.source.zoneinfo).strftime("%Y%m%d")
        if reason:
            self._put_aside(path, day, reason, detail)
        else:
            folder = self._path / ARCHIVE / day
            folder.mkdir(exist_ok=True)
            _move(path, folder / path.name)
        return Taken(messages, new, reason)

    def _arriving(self, path: Path, at: datetime) -> Iterator[list[Incoming | Refused]]:
        peer = f"folder {self.source.code}"
        status = path.lstat()
        size = status.st_size
        if not S_ISREG(status.st_mode):  # put in a file's place after we had looked
            raise FileRefused("unreadable")
        if not size:
            raise FileRefused("empty")
        if path.suffix.lower() in SUFFIXES:
            if self.source.list_file is None:
                raise FileRefused("no_list")
            rows = read_list(path, self.source.list_file)
            while batch := list(islice(rows, _ROWS_AT_ONCE)):
                yield [row_message(self.source, "list_file", row, peer=peer, at=at) for row in batch]
            return
        if size > limits.MAX_FRAME_BYTES:
            raise FileRefused("oversize")
        content = path.read_bytes().translate(None, _MLLP)  # some write the frames into the file
        yield receive(content, sources=self._sources, peer=peer, at=at)

    def _put_aside(self, path: Path, day: str, reason: str, detail: str) -> None:
        log.warning("folder.refused", source=self.source.code, reason=reason)
        target = _move(path, self._path / ERROR / f"{day}-{path.name}")
        if target is not None:
            text = f"{_WORDS[reason]}{f'：{detail}' if detail else ''}\n"
            target.with_name(f"{target.name}.reason.txt").write_text(text, encoding="utf-8")

    def _prune(self, now: datetime) -> None:
        """Days of the archive folder that are older than the hospital keeps them."""
        oldest = now.astimezone(self.source.zoneinfo) - timedelta(days=self.settings.keep_days)
        for folder in (self._path / ARCHIVE).iterdir():
            is_old = _DAY.fullmatch(folder.name) and folder.name < oldest.strftime("%Y%m%d")
            if is_old and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)


def _move(path: Path, target: Path) -> Path | None:
    """By rename; None where another process has moved it."""
    target = _free(target)
    try:
        path.rename(target)
    except FileNotFoundError:
        return None
    return target


def _free(target: Path) -> Path:
    """The name, or one with a number where that is taken: nothing is written over."""
    found, number = target, 2
    while found.exists():
        found = target.with_name(f"{target.stem}-{number}{target.suffix}")
        number += 1
    return found
