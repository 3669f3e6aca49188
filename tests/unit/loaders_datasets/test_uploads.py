"""Uploads stream, resume, and fail clean."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest

from app.errors import Conflict, NotFound, StorageFull, TooLarge, UserError
from app.loaders import uploads as uploads_module
from app.loaders.uploads import UploadInfo, Uploads
from app.store.blobs import BlobStore

DATA = bytes(range(256)) * 40
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "parts", BlobStore(str(tmp_path / "blobs"), tmp_path / "cache"), max_bytes=20_000)


def restarted(uploads: Uploads) -> Uploads:
    return Uploads(uploads.folder, uploads.blobs, uploads.max_bytes)


def leftovers(uploads: Uploads) -> list[Path]:
    return list(uploads.folder.iterdir()) + list(uploads.folder.parent.rglob(".partial/*"))


def test_an_upload_in_pieces_becomes_a_blob(uploads: Uploads) -> None:
    session = uploads.start(UploadInfo("ein Modell é.onnx", len(DATA), SHA.upper()))
    for offset in range(0, len(DATA), 1000):
        assert session.append(offset, DATA[offset : offset + 1000]) == session.offset
    blob = session.finish()
    assert (blob.sha256, blob.size) == (SHA, len(DATA))
    assert uploads.blobs.local(SHA).read_bytes() == DATA
    assert leftovers(uploads) == []
    with pytest.raises(NotFound, match="start it again"):
        uploads.resume(session.id)


def test_an_upload_goes_on_after_a_restart(uploads: Uploads) -> None:
    session = uploads.start(UploadInfo("x", len(DATA)))
    session.append(0, DATA[:3000])
    again = restarted(uploads).resume(session.id)
    assert (again.offset, again.info.name) == (3000, "x")
    again.append(3000, DATA[3000:])
    assert again.finish().sha256 == SHA


def test_the_same_session_is_given_while_the_process_lives(uploads: Uploads) -> None:
    session = uploads.start(UploadInfo("x"))
    session.append(0, DATA[:10])
    assert uploads.resume(session.id) is session


def test_many_uploads_at_once_keep_their_offsets(uploads: Uploads) -> None:
    sessions = [uploads.start(UploadInfo(str(i))) for i in range(uploads_module._OPEN_HASHES + 5)]
    for i, session in enumerate(sessions):
        session.append(0, DATA[: i + 1])
    for i, session in enumerate(sessions):
        again = uploads.resume(session.id)
        assert again.offset == i + 1
        assert again.finish().sha256 == hashlib.sha256(DATA[: i + 1]).hexdigest()


@pytest.mark.parametrize("offset", [0, 99, 101])
def test_a_piece_at_the_wrong_place_is_refused(uploads: Uploads, offset: int) -> None:
    session = uploads.start(UploadInfo("x"))
    session.append(0, DATA[:100])
    with pytest.raises(Conflict, match="send on from byte 100"):
        session.append(offset, DATA[:5])
    assert session.offset == 100


def test_pieces_that_race_are_taken_once(uploads: Uploads) -> None:
    session = uploads.start(UploadInfo("x"))
    outcomes: list[bool] = []

    def send() -> None:
        try:
            session.append(0, DATA)
            outcomes.append(True)
        except Conflict:
            outcomes.append(False)

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 5 + [True]
    assert session.finish().sha256 == SHA


def test_limits(uploads: Uploads) -> None:
    with pytest.raises(TooLarge, match="'big' has 30,000 bytes; the limit is 20,000"):
        uploads.start(UploadInfo("big", 30_000))
    unannounced = uploads.start(UploadInfo("x"))
    unannounced.append(0, DATA)
    with pytest.raises(TooLarge, match="larger than the limit of 20,000"):
        unannounced.append(len(DATA), DATA)
    announced = uploads.start(UploadInfo("y", 10))
    with pytest.raises(TooLarge, match="announced with 10 bytes, and more came"):
        announced.append(0, DATA[:11])
    assert announced.offset == 0


def test_an_incomplete_upload_is_not_finished_and_not_lost(uploads: Uploads) -> None:
    session = uploads.start(UploadInfo("x", len(DATA)))
    session.append(0, DATA[:50])
    with pytest.raises(UserError, match=r"50 of 10,240 bytes came\. Send on from byte 50"):
        session.finish()
    session.append(50, DATA[50:])
    assert session.finish().sha256 == SHA


def test_a_damaged_upload_is_dropped(uploads: Uploads) -> None:
    session = uploads.start(UploadInfo("x", 5, SHA))
    session.append(0, b"wrong")
    with pytest.raises(UserError, match="arrived damaged"):
        session.finish()
    assert leftovers(uploads) == []


def test_forget(uploads: Uploads) -> None:
    session = uploads.start(UploadInfo("x"))
    uploads.forget(session.id)
    uploads.forget(session.id)
    assert leftovers(uploads) == []


@pytest.mark.parametrize("upload_id", ["../x", "", "0" * 32, "A" * 32])
def test_ids_that_are_none(uploads: Uploads, upload_id: str) -> None:
    with pytest.raises(NotFound):
        uploads.resume(upload_id)


@pytest.mark.parametrize("written", [0, 7])
def test_a_full_disk_keeps_what_came_before(uploads: Uploads, monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    """The disk takes `written` bytes of the second piece, then no more."""
    session = uploads.start(UploadInfo("x", len(DATA)))
    session.append(0, DATA[:4000])
    real, left = os.write, [written]

    def full(handle: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken, left[0] = real(handle, bytes(data)[: left[0]]), 0
        return taken

    with monkeypatch.context() as patch:
        patch.setattr(uploads_module.os, "write", full)
        with pytest.raises(StorageFull):
            session.append(4000, DATA[4000:])
    for same in (session, restarted(uploads).resume(session.id)):
        assert same.offset == 4000
    session.append(4000, DATA[4000:])
    assert session.finish().sha256 == SHA


def test_a_full_disk_at_the_end_loses_nothing(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    session = uploads.start(UploadInfo("x", len(DATA)))
    session.append(0, DATA)
    with monkeypatch.context() as patch:
        patch.setattr("app.store.durable.os.fsync", full)
        with pytest.raises(StorageFull):
            session.finish()
    assert not uploads.blobs.has(SHA)
    assert restarted(uploads).resume(session.id).finish().sha256 == SHA
