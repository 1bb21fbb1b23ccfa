"""Recordings of contacts: taken by what they are, sealed outside the database, read by range, kept for a time.

A file is pieces of `PIECE_BYTES`, each sealed by itself with the file's name and its place in front, so that a range
is read without opening the whole, and no piece can stand for another.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import IO

import sqlalchemy as sa

from hcrm.archive.queries import patient_in_scope
from hcrm.audit.service import record_audit
from hcrm.contact_log.models import ContactEntry, ContactRecording
from hcrm.contact_log.queries import entry_statement, scope_entries
from hcrm.contact_log.sound_form import sound_form
from hcrm.core import limits
from hcrm.core.crypto import KeyRing
from hcrm.core.db import parse_url, sqlite_path
from hcrm.core.errors import HcrmError, NotFoundError
from hcrm.core.runtime import key_path
from hcrm.core.settings import Settings
from hcrm.core.work import Work

PIECE_BYTES = 64 * 1024
_SEAL_BYTES = 12 + 16  # nonce and tag


@dataclass(frozen=True, slots=True)
class StoredSound:
    """What was written to the disk."""

    file_name: str
    media_type: str
    size: int
    sha256: str


def recording_folder(settings: Settings) -> Path:
    """Where recordings lie: as configured, else beside an SQLite database, or beside the key file of PostgreSQL.

    Web processes on several machines must name one folder they share.
    """
    if settings.recordings.folder:
        return Path(settings.recordings.folder)
    url = parse_url(settings.db.url)
    if url.get_backend_name() == "sqlite":
        path = sqlite_path(url)
        return path.with_name(path.name + "-recordings")
    path = key_path(settings)
    return path.with_name(f"{path.stem}-recordings")


def store_sound(keys: KeyRing, folder: Path, source: IO[bytes], *, file_name: str) -> StoredSound:
    """Seal the sound of a seekable file into one of that random name; whole or not at all."""
    media_type = sound_form(source)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / file_name
    draft = path.with_suffix(".part")
    digest, size = hashlib.sha256(), 0
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            for place, piece in enumerate(iter(partial(source.read, PIECE_BYTES), b"")):
                size += len(piece)
                if size > limits.MAX_RECORDING_BYTES:
                    raise HcrmError("recording.size", "录音不能超过 50 MB", field="recording")
                digest.update(piece)
                target.write(keys.seal(_mark(file_name, place) + piece))
            target.flush()
            os.fsync(target.fileno())
        draft.rename(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return StoredSound(file_name, media_type, size, digest.hexdigest())


def read_sound(keys: KeyRing, path: Path, *, start: int, stop: int) -> Iterator[bytes]:
    """The bytes from `start` up to `stop`; a piece that was changed or exchanged raises."""
    with path.open("rb") as source:
        key_length = source.read(1)[0]
        marked = len(_mark(path.name, 0))
        sealed = 1 + key_length + _SEAL_BYTES + marked + PIECE_BYTES
        for place in range(start // PIECE_BYTES, -(-stop // PIECE_BYTES)):
            source.seek(place * sealed)
            plain = keys.open(source.read(sealed))
            if plain[:marked] != _mark(path.name, place):
                raise HcrmError("recording.damaged", "录音文件已损坏", status=500)
            begin = place * PIECE_BYTES
            yield plain[marked:][max(start - begin, 0) : stop - begin]


def attach_recording(work: Work, *, entry_id: str, stored: StoredSound) -> str:
    """Note the file with its entry; the recording's id."""
    entry = work.get(ContactEntry, entry_id)
    now, key = work.clock.now(), work.new_id()
    work.insert(
        ContactRecording,
        [
            {"id": key, "patient_id": entry.patient_id, "entry_id": entry.id, "file_name": stored.file_name,
             "media_type": stored.media_type, "size": stored.size, "sha256": stored.sha256,
             "recorded_at": entry.happened_at, "created_at": now, "actor_id": work.actor.id,
             "actor_name": work.actor.name, "removed_at": None}
        ],
    )  # fmt: skip
    record_audit(
        work,
        action="recording.upload",
        patients=[entry.patient_id],
        subject_type="contact_recording",
        subject_id=key,
    )
    return key


def get_recording(work: Work, *, recording_id: str) -> tuple[ContactRecording, ContactEntry]:
    """The recording and its entry for this actor; each time is noted."""
    recording = work.get(ContactRecording, recording_id)
    patient = patient_in_scope(work, recording.patient_id, "recording.listen")
    entry = work.scalar(scope_entries(entry_statement(recording.entry_id), work.actor))
    if entry is None or recording.removed_at is not None:
        raise NotFoundError
    record_audit(
        work, action="recording.listen", patients=[patient.id], subject_type="contact_recording",
        subject_id=recording.id,
    )  # fmt: skip
    return recording, entry


def prune_recordings(work: Work, *, folder: Path, keep_days: int) -> int:
    """Remove the sound of contacts longer ago than that, the row stays; how many. Called again until it answers 0."""
    if not keep_days:
        return 0
    rows = work.scalars(
        sa.select(ContactRecording)
        .where(
            ContactRecording.removed_at.is_(None),
            ContactRecording.recorded_at < work.clock.now() - timedelta(days=keep_days),
        )
        .order_by(ContactRecording.recorded_at, ContactRecording.id)
        .limit(limits.RECORDING_PRUNE_ROWS)
    )
    for row in rows:
        (folder / row.file_name).unlink(missing_ok=True)
        row.removed_at = work.clock.now()
    work.session.flush()
    if rows:
        record_audit(work, action="recording.prune", patients=[row.patient_id for row in rows])
    return len(rows)


def _mark(file_name: str, place: int) -> bytes:
    return f"{file_name}:{place:08d}:".encode()
