"""Recordings: sealed on the disk, read by range, gone after their time."""

import io
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcrm.contact_log.models import Channel, ContactEntry, ContactRecording, ContactResult
from hcrm.contact_log.recordings import (
    PIECE_BYTES,
    attach_recording,
    prune_recordings,
    read_sound,
    store_sound,
)
from hcrm.contact_log.service import record_contact
from hcrm.core import limits
from hcrm.core.errors import HcrmError
from hcrm.core.work import Work
from tests.support.builders import make_patient
from tests.support.sounds import wav

SOUND = wav(bytes(range(256)) * 1_000)


def test_one_that_is_too_large_leaves_nothing_behind(tmp_path, keys, monkeypatch):
    monkeypatch.setattr(limits, "MAX_RECORDING_BYTES", 1_000)

    with pytest.raises(HcrmError, match="50 MB"):
        store_sound(keys, tmp_path, io.BytesIO(SOUND), file_name="a" * 32)

    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def stored(tmp_path_factory, keys) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    said = store_sound(keys, folder, io.BytesIO(SOUND), file_name="b" * 32)
    assert said.size == len(SOUND)
    return folder / said.file_name


def test_on_the_disk_it_is_sealed_and_for_us_alone(stored):
    assert SOUND[:64] not in stored.read_bytes()
    assert stored.stat().st_mode & 0o077 == 0


@given(start=st.integers(0, len(SOUND) - 1), length=st.integers(1, len(SOUND)))
def test_every_range_is_that_part_of_the_sound(stored, keys, start, length):
    stop = min(start + length, len(SOUND))

    assert b"".join(read_sound(keys, stored, start=start, stop=stop)) == SOUND[start:stop]


def test_a_piece_in_the_place_of_another_is_noticed(tmp_path, stored, keys):
    raw = stored.read_bytes()
    sealed = len(raw) // (len(SOUND) // PIECE_BYTES + 1) and raw.index(raw[:3], 3)
    swapped = tmp_path / stored.name
    swapped.write_bytes(raw[sealed : 2 * sealed] + raw[:sealed] + raw[2 * sealed :])

    with pytest.raises(HcrmError, match="已损坏"):
        b"".join(read_sound(keys, swapped, start=0, stop=10))


def test_it_is_removed_after_its_time_and_the_entry_stays(work: Work, tmp_path, keys):
    entry_id = record_contact(
        work, patient_id=make_patient(work).id, channel=Channel.PHONE, result=ContactResult.REACHED
    )
    said = store_sound(keys, tmp_path / "sound", io.BytesIO(SOUND), file_name=work.new_id())
    attach_recording(work, entry_id=entry_id, stored=said)
    work.clock.move(days=9)
    assert prune_recordings(work, folder=tmp_path / "sound", keep_days=10) == 0
    assert prune_recordings(work, folder=tmp_path / "sound", keep_days=0) == 0
    work.clock.move(days=2)

    assert prune_recordings(work, folder=tmp_path / "sound", keep_days=10) == 1

    assert list((tmp_path / "sound").iterdir()) == []
    assert work.one(ContactRecording).removed_at is not None
    assert work.get(ContactEntry, entry_id).happened_at < work.clock.now() - timedelta(days=10)
