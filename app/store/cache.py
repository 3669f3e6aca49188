"""The local cache of a remote store: what was not used for longest goes first, and nothing that is in use."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from app.store.durable import discard, partial_path

KEPT_SECONDS = 3600.0
"""How long an entry stays after its last use, whatever the limit: its path was handed out and may yet be opened."""
_EVERY_SECONDS = 60.0


class Entry(NamedTuple):
    """A blob or an artifact in the cache."""

    used: float
    """When it was last asked for, in seconds since 1970."""
    size: int
    path: Path


class Cache:
    """The folder in which stores keep what they fetched, as `<store>/<two letters>/<key>`.

    All processes of a machine share it. The modification time of an entry says when it was last asked for.
    """

    def __init__(self, root: Path, limit: int) -> None:
        """`limit` is in bytes; 0 means none."""
        self._root, self._limit = root, limit
        self._looked = 0.0
        self._lock = threading.Lock()

    def has(self, path: Path) -> bool:
        """Whether the entry is there; if so, it counts as used now."""
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def trim_soon(self) -> None:
        """Trim, unless this process has looked a moment ago."""
        with self._lock:
            due = time.monotonic() - self._looked > _EVERY_SECONDS or not self._looked
            if due:
                self._looked = time.monotonic()
        if due:
            self.trim()

    def trim(self) -> int:
        """Remove what was not used for longest until the limit holds; return how many entries went.

        Entries that a process of this machine has open or mapped stay, and those asked for within the last hour.
        """
        entries = sorted(self._entries()) if self._limit else []
        over = sum(entry.size for entry in entries) - self._limit
        in_use: set[Path] | None = None
        gone = 0
        for entry in entries:
            if over <= 0 or entry.used > time.time() - KEPT_SECONDS:
                break
            in_use = _in_use(self._root) if in_use is None else in_use
            if entry.path not in in_use and self._remove(entry):
                over, gone = over - entry.size, gone + 1
        return gone

    def _entries(self) -> Iterator[Entry]:
        for path in self._root.glob("*/[!.]*/*"):
            with contextlib.suppress(FileNotFoundError):
                yield Entry(path.stat().st_mtime, _size(path), path)

    def _remove(self, entry: Entry) -> bool:
        """Take the entry away whole, so that no reader sees a part of it; not if somebody asked for it meanwhile."""
        grave = partial_path(entry.path.parents[1], entry.path.name)
        try:
            if entry.path.stat().st_mtime != entry.used:
                return False
            entry.path.rename(grave)
        except FileNotFoundError:
            return False
        discard(grave)
        return True


def _size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    if path.is_dir():
        return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    return path.stat().st_size


def _in_use(root: Path) -> set[Path]:
    """The entries below `root` of which some process that we may look into has a file open or mapped."""
    place = root.resolve()
    found: set[Path] = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for name in _files_of(process):
                if name.is_relative_to(place):
                    parts = name.relative_to(place).parts[:3]
                    found.add(root.joinpath(*parts))
    return found


def _files_of(process: Path) -> Iterator[Path]:
    for line in (process / "maps").read_text(errors="replace").splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5].startswith("/"):
            yield Path(fields[5])
    for handle in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            yield handle.readlink()
