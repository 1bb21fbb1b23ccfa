"""A drop folder: files are taken by renaming, stored durably, then moved to the archive folder of their day.

Taking is one rename into `_work`, so two processes never take one file. After a crash the next turn goes through
`_work` first; what was stored already is known to the inbox and changes nothing. Names of files may name patients:
they are not logged.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatch
from itertools import count, islice
from pathlib import Path
from stat import S_ISREG
from typing import Final

import structlog

from adapters.his.lists import SUFFIXES, FileRefused, read_list
from adapters.his.reception import receive
from adapters.his.taking import Taking, is_note
from hcrm.core import limits
from hcrm.core.sources import Source, Sources
from hcrm.inbox.records import Incoming, Refused, Stored
from hcrm.inbox.rows import row_message

WORK, ARCHIVE, ERROR = "_work", "_archive", "_error"
_UNFINISHED: Final = (".tmp", ".part", ".partial", ".filepart", ".crdownload", ".ok", "~")
_DAY: Final = re.compile(r"\d{8}")
_ROWS_AT_ONCE: Final = 500
_HEAD_BYTES: Final = 64
_MLLP: Final = b"\x0b\x1c"
_REASON: Final = ".reason.txt"
_WORDS: Final = {
    "oversize": "文件过大，或行数、消息数超过上限",
    "charset": "字符集无法识别，请核对来源配置中的 charset",
    "columns": "表头缺少来源配置中写明的列",
    "unreadable": "文件内容无法读取",
    "empty": "文件为空",
    "crashed": "读取这个文件时进程两次中断；如因停机所致，放回即可",
    "no_list": "来源配置没有 list_file，无法读取表格",
    "refused": "没有可读的消息头（MSH），或消息头有误；详见“拒收”",
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
        return work.is_dir() and any(not is_note(path) for path in work.iterdir())

    def put_aside(self) -> int | None:
        """How many files lie in the error folder; None where it cannot be read."""
        try:
            return sum(not entry.name.endswith(_REASON) for entry in os.scandir(self._path / ERROR))
        except OSError:
            return None

    def take_all(self, store: Store, now: Callable[[], datetime], on_file: Callable[[Taken], object]) -> int:
        """Take in what is left in `_work`, then every whole file; how many files."""
        for name in (WORK, ARCHIVE, ERROR):
            folder = self._path / name
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.is_symlink():  # whoever may write here could lead us elsewhere
                raise NotADirectoryError(name)
        taken = 0
        for left in sorted(path for path in (self._path / WORK).iterdir() if not is_note(path)):
            on_file(self._take_in(left, store, now()))
            taken += 1
        for name in self.waiting(now()):
            path = self._grab(name)
            if path is not None:
                on_file(self._take_in(path, store, now()))
                taken += 1
        self._prune(now())
        return taken

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
        Taking(target).forget()  # of a file of this name that is gone
        try:
            (self._path / name).rename(target)
        except FileNotFoundError:
            return None
        (self._path / f"{name}.ok").unlink(missing_ok=True)
        return target

    def _take_in(self, path: Path, store: Store, at: datetime) -> Taken:
        """Store what the file holds, then move it; where the store fails the file stays in `_work`."""
        taking = Taking(path)
        taking.begin()
        try:
            taken = self._store_and_move(path, taking, store, at)
        except Exception:  # the store is away and this process lives: no fault of the file's
            taking.take_back()
            raise
        taking.forget()
        return taken

    def _store_and_move(self, path: Path, taking: Taking, store: Store, at: datetime) -> Taken:
        messages = new = accepted = 0
        reason = detail = ""
        try:
            if taking.tries > limits.FILE_TRIES:
                raise FileRefused("crashed")
            for arriving in self._arriving(path, at, taking.token):
                stored = store(arriving)
                messages += len(arriving)
                accepted += sum(isinstance(item, Incoming) for item in arriving)
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
            text = f"{_WORDS[reason]}{f'：{detail}' if detail else ''}。{_kept(accepted)}"
            if reason == "refused":
                detail = str(accepted)  # the page says how much of the file was taken in all the same
            self._put_aside(path, day, text, self._refusal(path, reason, detail, at), store)
        else:
            folder = self._path / ARCHIVE / day
            folder.mkdir(exist_ok=True)
            _move(path, folder / path.name)
        return Taken(messages, new, reason)

    def _arriving(self, path: Path, at: datetime, token: str) -> Iterator[list[Incoming | Refused]]:
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
            for part in count():
                if not (batch := list(islice(rows, _ROWS_AT_ONCE))):
                    return
                taking = f"{token}{part:04x}"
                yield [
                    row_message(self.source, "list_file", row, peer=peer, at=at, taking=taking)
                    for row in batch
                ]
        if size > limits.MAX_FRAME_BYTES:
            raise FileRefused("oversize")
        content = path.read_bytes().translate(None, _MLLP)  # some write the frames into the file
        yield [
            item._replace(door="folder", source=item.source or self.source.code, name=path.name)
            if isinstance(item, Refused)
            else item
            for item in receive(content, sources=self._sources, peer=peer, at=at)
        ]

    def _put_aside(self, path: Path, day: str, text: str, refusal: Refused, store: Store) -> None:
        log.warning("folder.refused", source=self.source.code, reason=refusal.detail.partition(" ")[0])
        store([refusal])
        target = _move(path, self._path / ERROR / f"{day}-{path.name}")
        if target is not None:
            target.with_name(f"{target.name}{_REASON}").write_text(f"{text}\n", encoding="utf-8")

    def _refusal(self, path: Path, reason: str, detail: str, at: datetime) -> Refused:
        """For the page of what was refused; stored before the file moves, so that a crash tells twice, not never."""
        content, size = b"", 0
        try:
            status = path.lstat()
            if S_ISREG(status.st_mode):  # no pipe to hang in, no link that leads elsewhere
                size = status.st_size
                with path.open("rb") as file:
                    content = file.read(limits.MAX_FRAME_BYTES)
        except OSError:  # put aside by another process meanwhile
            size = 0
        return Refused(
            "file", size, hashlib.sha256(content).digest(), content[:_HEAD_BYTES], f"folder {self.source.code}", at,
            detail=f"{reason} {detail}".strip(), source=self.source.code, door="folder", name=path.name,
        )  # fmt: skip

    def _prune(self, now: datetime) -> None:
        """Days of the archive folder that are older than the hospital keeps them."""
        oldest = now.astimezone(self.source.zoneinfo) - timedelta(days=self.settings.keep_days)
        for folder in (self._path / ARCHIVE).iterdir():
            is_old = _DAY.fullmatch(folder.name) and folder.name < oldest.strftime("%Y%m%d")
            if is_old and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)


def _kept(accepted: int) -> str:
    """What of the file lies in the inbox all the same."""
    return f"文件中另有 {accepted} 条已接收" if accepted else "文件中没有消息被接收"


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
