"""Blobs are stored by content, whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.errors import NotFound, StorageFull, TooLarge, UserError
from app.store import durable
from app.store.blobs import Blob, BlobStore, hash_file

DATA = b"some bytes " * 1000
SHA = hashlib.sha256(DATA).hexdigest()


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("source", [[DATA[:10], b"", DATA[10:]], io.BytesIO(DATA)])
def test_a_stream_is_stored_under_its_hash(blobs: BlobStore, source: list[bytes] | io.BytesIO) -> None:
    if isinstance(source, io.BytesIO):
        source.seek(0)
    assert blobs.put(source, expected_sha256=SHA.upper()) == Blob(SHA, len(DATA))
    assert blobs.has(SHA)
    assert blobs.local(SHA).read_bytes() == DATA
    assert blobs.read(SHA, 5, 11) == DATA[5:16]
    with blobs.open(SHA) as stream:
        assert stream.read() == DATA


def test_equal_contents_are_stored_once(blobs: BlobStore) -> None:
    assert blobs.put([DATA]) == blobs.put(iter([DATA]))
    assert blobs.sizes().keys() == {SHA}


def test_a_file_that_is_there_stays_the_same_file(blobs: BlobStore) -> None:
    blobs.put([DATA])
    first = blobs.local(SHA).stat()
    blobs.put([DATA])
    assert (blobs.local(SHA).stat().st_ino, blobs.local(SHA).stat().st_mtime_ns) == (first.st_ino, first.st_mtime_ns)


def test_a_file_that_was_cut_short_is_mended(blobs: BlobStore) -> None:
    blobs.put([DATA])
    blobs.local(SHA).write_bytes(DATA[:5])
    blobs.put([DATA])
    assert blobs.local(SHA).read_bytes() == DATA


def test_an_empty_file_is_a_blob(blobs: BlobStore) -> None:
    blob = blobs.put([])
    assert blob == Blob(hashlib.sha256(b"").hexdigest(), 0)
    assert blobs.local(blob.sha256).read_bytes() == b""


def test_a_damaged_stream_is_refused(blobs: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="arrived damaged"):
        blobs.put([DATA, b"!"], expected_sha256=SHA)
    assert files_below(tmp_path) == []


def test_a_long_stream_stops_at_the_limit(blobs: BlobStore, tmp_path: Path) -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield DATA

    with pytest.raises(TooLarge, match="20,000 bytes"):
        blobs.put(endless(), max_bytes=20_000)
    assert read == 2
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("move", [False, True])
def test_a_file_is_copied_or_taken(blobs: BlobStore, tmp_path: Path, move: bool) -> None:
    source = tmp_path / "a model é.onnx"
    for _ in range(2):
        source.write_bytes(DATA)
        assert blobs.put_file(source, move=move) == Blob(SHA, len(DATA)) == blobs.put([DATA])
        assert source.exists() is not move
        assert blobs.local(SHA).read_bytes() == DATA


def test_a_known_hash_is_not_computed_again(blobs: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "x"
    source.write_bytes(DATA)
    other = "0" * 64
    assert blobs.put_file(source, known_sha256=other).sha256 == other


def test_delete(blobs: BlobStore) -> None:
    blobs.put([DATA])
    blobs.delete(SHA)
    blobs.delete(SHA)
    assert not blobs.has(SHA)
    with pytest.raises(NotFound):
        blobs.local(SHA)


def test_a_range_is_read_without_fetching_the_blob(tmp_path: Path) -> None:
    root = f"memory://{tmp_path.name}"
    BlobStore(root, tmp_path / "a").put([DATA])
    other = BlobStore(root, tmp_path / "b")
    assert other.read(SHA, 100, 7) == DATA[100:107]
    assert files_below(tmp_path / "b") == []
    other.local(SHA)
    assert hash_file(files_below(tmp_path / "b")[0]) == Blob(SHA, len(DATA))


def test_a_full_disk_stores_nothing(blobs: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    source = tmp_path / "kept"
    source.write_bytes(DATA)
    with monkeypatch.context() as patch:
        patch.setattr(durable.os, "fsync", full)
        with pytest.raises(StorageFull):
            blobs.put([DATA])
        with pytest.raises(StorageFull):
            blobs.put_file(source)
    assert not blobs.has(SHA)
    assert files_below(tmp_path) == [source]
    assert source.read_bytes() == DATA


def test_many_writers_of_one_blob(blobs: BlobStore) -> None:
    failures: list[BaseException] = []

    def write() -> None:
        try:
            blobs.put([DATA])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert blobs.local(SHA).read_bytes() == DATA


@pytest.mark.parametrize("sha256", ["../../etc/passwd", "", "A" * 64, "0" * 63])
def test_only_hashes_name_blobs(blobs: BlobStore, sha256: str) -> None:
    with pytest.raises(ValueError, match="no SHA-256"):
        blobs.local(sha256)
