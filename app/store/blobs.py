"""Blobs: files stored by the SHA-256 of their content (uploads, checkpoints, packs of images)."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.errors import NotFound, TooLarge, UserError
from app.store.artifacts import local_folder
from app.store.cache import Cache
from app.store.durable import partial, sweep_partials, sync_file

CHUNK_BYTES = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = "blob"


@dataclass(frozen=True)
class Blob:
    """One stored file: its content hash (64 hex digits) and its size in bytes."""

    sha256: str
    size: int


class BlobStore:
    """Content-addressed files at a local path or an fsspec URL with a local cache; equal contents are stored once."""

    def __init__(self, root: str, cache: Path, limited: Cache | None = None) -> None:
        """`limited` keeps the cache of a remote store within its limit."""
        self._root, self._mirror = local_folder(root, cache)
        self._cache = limited if self._mirror else None

    def put(
        self,
        chunks: Iterable[bytes] | BinaryIO,
        *,
        expected_sha256: str | None = None,
        max_bytes: int | None = None,
    ) -> Blob:
        """Store a stream, hashed on its way; it is never whole in memory.

        Raises:
            UserError: the content is not what `expected_sha256` names.
            TooLarge: the stream is longer than `max_bytes`.
            StorageFull: no space is left; nothing was stored.
        """
        with partial(self._root, _NAME) as path:
            blob = _write_hashed(path, _chunks(chunks), max_bytes)
            _require_hash(blob, expected_sha256)
            # A sandboxed child may read files, not names: a file that replaced this one would be closed to it.
            if not self._whole(blob):
                self._publish(path, blob.sha256)
        return blob

    def put_file(self, path: Path, move: bool = False, *, known_sha256: str | None = None) -> Blob:
        """Store the file `path`; with `move` it is taken, not copied, where the file system allows.

        `known_sha256` is the hash of a file that this process has just written, so that it is not read twice.
        """
        blob = Blob(known_sha256, path.stat().st_size) if known_sha256 else hash_file(path)
        if self.has(blob.sha256):
            if move:
                path.unlink()
            return blob
        with partial(self._root, _NAME) as copy:
            (shutil.move if move else shutil.copyfile)(path, copy)
            self._publish(copy, blob.sha256)
        return blob

    def has(self, sha256: str) -> bool:
        """Whether the blob is there."""
        path = self._path(sha256)
        return self._mirror.has(sha256) if self._mirror else path.is_file()

    def _whole(self, blob: Blob) -> bool:
        path = self._path(blob.sha256)
        return self.has(blob.sha256) and (not path.is_file() or path.stat().st_size == blob.size)

    def local(self, sha256: str) -> Path:
        """Return the blob's path on this machine, fetched from the remote when needed; treat it as read-only.

        Raises:
            NotFound: there is no such blob.
            StorageFull: the cache has no space.
        """
        path = self._path(sha256)
        if self._cache.has(path) if self._cache else path.is_file():
            return path
        if not self._mirror or not self._mirror.has(sha256):
            raise NotFound(f"The stored file {sha256} is not there.")
        with partial(self._root, _NAME) as folder:
            folder.mkdir()
            self._mirror.download(sha256, folder)
            _replace(folder / _NAME, path)
        if self._cache:
            self._cache.trim_soon()
        return path

    def open(self, sha256: str) -> BinaryIO:
        """Open the blob for reading."""
        return self.local(sha256).open("rb")

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, without fetching the whole blob."""
        path = self._path(sha256)
        if self._mirror and not path.is_file():
            return self._mirror.read(sha256, _NAME, offset, offset + length)
        with self.open(sha256) as stream:
            return os.pread(stream.fileno(), length, offset)

    def delete(self, sha256: str) -> None:
        """Remove the blob; nothing happens when it is not there."""
        path = self._path(sha256)
        if self._mirror:
            self._mirror.delete(sha256)
        path.unlink(missing_ok=True)

    def sizes(self) -> dict[str, int]:
        """Bytes of every blob by hash."""
        if self._mirror:
            return self._mirror.sizes()
        return {path.name: path.stat().st_size for path in self._root.glob("[!.]*/*")}

    def sweep(self, older_than_seconds: float = 86_400.0) -> int:
        """Remove what killed writers left behind; return how many files went."""
        return sweep_partials(self._root, older_than_seconds)

    def _path(self, sha256: str) -> Path:
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is no SHA-256: 64 hex digits.")
        return self._root / sha256[-2:] / sha256

    def _publish(self, path: Path, sha256: str) -> None:
        sync_file(path)
        if self._mirror:
            self._mirror.upload(sha256, {_NAME: path})
        _replace(path, self._path(sha256))


def hash_file(path: Path) -> Blob:
    """Return the content hash and size of a file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    return Blob(digest.hexdigest(), path.stat().st_size)


def _chunks(source: Iterable[bytes] | BinaryIO) -> Iterable[bytes]:
    read = getattr(source, "read", None)
    return iter(lambda: read(CHUNK_BYTES), b"") if read else source


def _write_hashed(path: Path, chunks: Iterable[bytes], max_bytes: int | None) -> Blob:
    digest, size = hashlib.sha256(), 0
    with path.open("xb") as target:
        for chunk in chunks:
            size += len(chunk)
            if max_bytes is not None and size > max_bytes:
                raise TooLarge(f"The file is larger than the limit of {max_bytes:,} bytes; upload a smaller one.")
            digest.update(chunk)
            target.write(chunk)
    return Blob(digest.hexdigest(), size)


def _require_hash(blob: Blob, expected: str | None) -> None:
    if expected is not None and blob.sha256 != expected.lower():
        raise UserError(
            f"The file arrived damaged: its SHA-256 is {blob.sha256}, {expected} was announced. Upload it again."
        )


def _replace(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)  # noqa: PTH105 - the atomic rename, by its name
    sync_file(target.parent)
