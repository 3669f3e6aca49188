"""Artifacts: immutable folders of files under keys, published whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.errors import NotFound
from app.store.cache import Cache
from app.store.durable import discard, partial, partial_path, sweep_partials, sync_file, sync_tree
from app.store.mirror import Mirror

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,200}")


def artifact_key(name: str, version: int, **parts: Any) -> str:
    """Return `<name>-<version>-<sha256 of the canonical JSON of name, version and parts>`.

    Raises:
        TypeError: a part is not JSON.
        ValueError: a part holds NaN or infinity, or `name` is not a stage's name.
    """
    canonical = json.dumps(
        {"name": name, "version": version, "parts": parts},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )
    return _checked(f"{name}-{version}-{hashlib.sha256(canonical.encode()).hexdigest()}")


def local_folder(root: str, cache: Path) -> tuple[Path, Mirror | None]:
    """Where the files of the store `root` lie on this machine, and the remote that they mirror, if any."""
    if root.startswith("file://"):
        return Path(root.removeprefix("file://")), None
    if "://" in root:
        return cache, Mirror(root)
    return Path(root), None


class ArtifactStore:
    """Folders under keys, at a local path or an fsspec URL with a local cache.

    Writes are atomic: a folder is built under a temporary name in the same file system, flushed and renamed; a remote
    folder is uploaded before its marker. A second writer of the same key loses silently.
    """

    def __init__(self, root: str, cache: Path, limited: Cache | None = None) -> None:
        """`limited` keeps the cache of a remote store within its limit."""
        self._root, self._mirror = local_folder(root, cache)
        self._cache = limited if self._mirror else None

    def has(self, key: str) -> bool:
        """Whether the whole artifact is there."""
        return self._mirror.has(_checked(key)) if self._mirror else self._path(key).is_dir()

    def local(self, key: str) -> Path:
        """Return the artifact's folder on this machine, fetched from the remote when needed; treat it as read-only.

        Raises:
            NotFound: there is no such artifact.
            StorageFull: the cache has no space.
        """
        path = self._path(key)
        if self._cache.has(path) if self._cache else path.is_dir():
            return path
        if not self._mirror or not self._mirror.has(key):
            raise NotFound(f"The stored result {key} is not there; run its stage again.")
        with partial(self._root, key) as folder:
            folder.mkdir()
            self._mirror.download(key, folder)
            self._publish(folder, path)
        if self._cache:
            self._cache.trim_soon()
        return path

    def names(self, key: str) -> frozenset[str]:
        """The names of the artifact's files, without fetching them; none when it is not there."""
        path = self._path(key)
        if self._mirror and not path.is_dir():
            return self._mirror.names(key)
        return frozenset(_files(path))

    def read(self, key: str, name: str) -> bytes:
        """Return one file of the artifact, without fetching the others.

        Raises:
            NotFound: there is no such artifact, or it holds no such file.
        """
        if name not in self.names(key):
            raise NotFound(f"The stored result {key} is not there; run its stage again.")
        path = self._path(key)
        if self._mirror and not path.is_dir():
            return self._mirror.read(key, name)
        return (path / name).read_bytes()

    @contextmanager
    def write(self, key: str) -> Iterator[Path]:
        """Yield an empty folder; publish it under `key` when the block ends, drop it when the block raises.

        Raises:
            StorageFull: no space is left; nothing was published.
        """
        path = self._path(key)
        with partial(self._root, key) as folder:
            folder.mkdir()
            yield folder
            sync_tree(folder)
            if self._mirror:
                self._mirror.upload(key, _files(folder))
            self._publish(folder, path)

    def delete(self, key: str) -> None:
        """Remove the artifact, whole; nothing happens when it is not there."""
        path = self._path(key)
        if self._mirror:
            self._mirror.delete(key)
        if path.is_dir():
            grave = partial_path(self._root, key)
            path.rename(grave)
            discard(grave)

    def sizes(self) -> dict[str, int]:
        """Bytes of every artifact by key."""
        if self._mirror:
            return self._mirror.sizes()
        folders = self._root.glob("[!.]*/*")
        return {folder.name: sum(p.stat().st_size for p in _files(folder).values()) for folder in folders}

    def sweep(self, older_than_seconds: float = 86_400.0) -> int:
        """Remove what killed writers left behind; return how many folders went."""
        return sweep_partials(self._root, older_than_seconds)

    def _path(self, key: str) -> Path:
        return self._root / _checked(key)[-2:] / key

    def _publish(self, folder: Path, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # A rename onto a folder that has files fails: that is how the second writer of a key loses.
            os.rename(folder, path)  # noqa: PTH104 - Path.rename documents no such guarantee
        except OSError:
            if not path.is_dir():
                raise
        sync_file(path.parent)


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no artifact key: letters, digits, '.', '_' and '-' only.")
    return key


def _files(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
