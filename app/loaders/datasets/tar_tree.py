"""A tar archive, read in place by the offsets of its members."""

from __future__ import annotations

import mmap
import tarfile
from array import array
from collections.abc import Iterator
from pathlib import Path

from app.loaders.datasets.guard import ArchiveGuard, BadArchive
from app.loaders.datasets.request import Limits
from app.loaders.datasets.tree import HEAD_BYTES, is_junk

_CHUNK = 1 << 20


class TarTree:
    """The ordinary files of an uncompressed tar archive.

    Raises:
        BadArchive: truncated, damaged, with links, special or sparse files, or names that lead outside or twice.
        TooLarge: over the limits.
    """

    def __init__(self, path: Path, name: str, limits: Limits, work: Path) -> None:
        self.name = name
        self.paths: list[str] = []
        self.folders: list[str] = []
        self.problems: dict[str, str] = {}
        self._work = work
        self._bytes = path.stat().st_size
        self._guard = ArchiveGuard(name, self._bytes, limits)
        self._offsets = array("q")
        self._sizes = array("q")
        for member in _members(path, name):
            self._admit(member)
        with path.open("rb") as stream:
            self._content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def size(self, number: int) -> int:
        """Bytes of a file."""
        return self._sizes[number]

    def read(self, number: int) -> bytes:
        """Whole content of a file."""
        return self._content[self._offsets[number] : self._offsets[number] + self._sizes[number]]

    def head(self, number: int) -> bytes:
        """The first 512 bytes of a file."""
        start = self._offsets[number]
        return self._content[start : start + min(HEAD_BYTES, self._sizes[number])]

    def local_path(self, number: int) -> Path:
        """The file, unpacked into the work folder."""
        target = self._work / f"{id(self):x}-{number}"
        if not target.exists():
            start, stop = self._offsets[number], self._offsets[number] + self._sizes[number]
            with target.open("xb") as sink:
                for offset in range(start, stop, _CHUNK):
                    sink.write(self._content[offset : min(offset + _CHUNK, stop)])
        return target

    def _admit(self, member: tarfile.TarInfo) -> None:
        self._guard.count()
        if member.issym() or member.islnk():
            raise self._guard.link(member.name, member.linkname)
        if member.isdir():
            if member.name not in ("", "."):
                self.folders.append(self._guard.path(member.name))
            return
        if not member.isreg() or member.issparse():
            raise self._guard.special(member.name)
        self._guard.size(member.name, member.size)
        if member.offset_data + member.size > self._bytes:
            raise BadArchive(_truncated(self.name))
        path = self._guard.path(member.name)
        if not is_junk(path):
            self.paths.append(path)
            self._offsets.append(member.offset_data)
            self._sizes.append(member.size)


def _members(path: Path, name: str) -> Iterator[tarfile.TarInfo]:
    """Yield the members; tarfile takes damage after the first member for the end, so the end is checked here."""
    try:
        with tarfile.open(path, mode="r:") as archive:
            while (member := archive.next()) is not None:
                yield member
                # tarfile would keep a kilobyte per member.
                archive.members.clear()  # type: ignore[attr-defined]
            _require_end(path, archive.offset, name)
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise BadArchive(_truncated(name)) from error


def _require_end(path: Path, offset: int, name: str) -> None:
    with path.open("rb") as stream:
        stream.seek(offset)
        if any(stream.read(tarfile.BLOCKSIZE)):
            raise BadArchive(_truncated(name))


def _truncated(name: str) -> str:
    return f"{name} is a damaged or truncated tar archive. Pack or upload it again."
