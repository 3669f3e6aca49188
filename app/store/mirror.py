"""Folders of files at an fsspec URL (S3, GCS, memory): a folder exists once its marker does."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

_MARKER = "done.json"


class Mirror:
    """Remote folders under keys.

    Each writer uploads below a name of its own and writes the marker last, so that readers see the whole of one
    writer's files or nothing, however many write the same key.
    """

    def __init__(self, url: str) -> None:
        self._fs, root = url_to_fs(url)
        self._root = str(root).rstrip("/")

    def has(self, key: str) -> bool:
        """Whether a whole folder lies under `key`."""
        return self._marker(key) is not None

    def upload(self, key: str, files: Mapping[str, Path]) -> None:
        """Publish `files` (relative name → local path); a later writer of the same key changes nothing."""
        if self.has(key):
            return
        writer = uuid.uuid4().hex
        for name, path in files.items():
            target = f"{self._folder(key)}/{writer}/{name}"
            self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._fs.put_file(str(path), target)
        marker = {"writer": writer, "files": sorted(files)}
        self._fs.pipe_file(f"{self._folder(key)}/{_MARKER}", json.dumps(marker).encode())

    def download(self, key: str, target: Path) -> None:
        """Fetch the files of `key` into the folder `target`.

        Raises:
            FileNotFoundError: no whole folder lies under `key`.
        """
        marker = self._require(key)
        for name in marker["files"]:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            self._fs.get_file(f"{self._folder(key)}/{marker['writer']}/{name}", str(target / name))

    def names(self, key: str) -> frozenset[str]:
        """Names of the files of `key`; none where no whole folder lies there."""
        marker = self._marker(key)
        return frozenset(marker["files"]) if marker else frozenset()

    def read(self, key: str, name: str, start: int | None = None, stop: int | None = None) -> bytes:
        """Fetch one file of `key`, or its bytes [start, stop)."""
        path = f"{self._folder(key)}/{self._require(key)['writer']}/{name}"
        return bytes(self._fs.cat_file(path, start=start, end=stop))

    def delete(self, key: str) -> None:
        """Remove the folder of `key`, its marker first."""
        if self.has(key):
            self._fs.rm_file(f"{self._folder(key)}/{_MARKER}")
        if self._fs.exists(self._folder(key)):
            self._fs.rm(self._folder(key), recursive=True)

    def sizes(self) -> dict[str, int]:
        """Bytes of each whole folder."""
        self._fs.invalidate_cache()
        sizes: dict[str, int] = {}
        whole: set[str] = set()
        for path, info in self._fs.find(self._root, detail=True).items():
            _, key, name = path[len(self._root) :].strip("/").split("/", 2)
            sizes[key] = sizes.get(key, 0) + int(info["size"])
            if name == _MARKER:
                whole.add(key)
        return {key: size for key, size in sizes.items() if key in whole}

    def _folder(self, key: str) -> str:
        return f"{self._root}/{key[-2:]}/{key}"

    def _marker(self, key: str) -> dict[str, Any] | None:
        try:
            found = json.loads(self._fs.cat_file(f"{self._folder(key)}/{_MARKER}"))
        except FileNotFoundError:
            return None
        return dict(found)

    def _require(self, key: str) -> dict[str, Any]:
        marker = self._marker(key)
        if marker is None:
            raise FileNotFoundError(key)
        return marker
