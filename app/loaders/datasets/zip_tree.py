"""A zip archive, read in place."""

from __future__ import annotations

import lzma
import shutil
import stat
import zipfile
import zlib
from pathlib import Path

from app.loaders.datasets.guard import ArchiveGuard, BadArchive
from app.loaders.datasets.request import Limits
from app.loaders.datasets.tree import HEAD_BYTES, is_junk

_ENCRYPTED = 0x1
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError, ValueError)


class ZipTree:
    """The ordinary files of a zip archive.

    Raises:
        BadArchive: truncated, damaged, encrypted, with links, special files, names that lead outside or twice, or a
            decompression bomb.
        TooLarge: over the limits.
    """

    def __init__(self, path: Path, name: str, limits: Limits, work: Path) -> None:
        self.name = name
        self.problems: dict[str, str] = {}
        self._work = work
        self._zip = _open(path, name)
        self._guard = ArchiveGuard(name, path.stat().st_size, limits)
        self._members: list[zipfile.ZipInfo] = []
        self.paths: list[str] = []
        self.folders: list[str] = []
        for member in self._zip.infolist():
            self._admit(member)

    def size(self, number: int) -> int:
        """Bytes of a file."""
        return self._members[number].file_size

    def read(self, number: int) -> bytes:
        """Whole content of a file."""
        try:
            return self._zip.read(self._members[number])
        except _DAMAGE as error:
            raise BadArchive(_damaged(self.paths[number])) from error

    def head(self, number: int) -> bytes:
        """The first 512 bytes of a file."""
        try:
            with self._zip.open(self._members[number]) as stream:
                return stream.read(HEAD_BYTES)
        except _DAMAGE as error:
            raise BadArchive(_damaged(self.paths[number])) from error

    def local_path(self, number: int) -> Path:
        """The file, unpacked into the work folder."""
        target = self._work / f"{id(self):x}-{number}"
        if not target.exists():
            try:
                with self._zip.open(self._members[number]) as source, target.open("xb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
            except zipfile.BadZipFile as error:
                raise BadArchive(_damaged(self.paths[number])) from error
        return target

    def _admit(self, member: zipfile.ZipInfo) -> None:
        self._guard.count()
        mode = member.external_attr >> 16
        if stat.S_ISLNK(mode):
            raise self._guard.link(member.filename, "")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise self._guard.special(member.filename)
        if member.flag_bits & _ENCRYPTED:
            raise BadArchive(f"{self.name} is encrypted; pack it again without a password.")
        if member.is_dir():
            self.folders.append(self._guard.path(member.filename))
            return
        self._guard.size(member.filename, member.file_size, member.compress_size)
        path = self._guard.path(member.filename)
        if not is_junk(path):
            self._members.append(member)
            self.paths.append(path)


def _open(path: Path, name: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise BadArchive(
            f"{name} is a damaged or truncated zip file: its list of files is missing. Pack or upload it again."
        ) from error


def _damaged(path: str) -> str:
    return f"'{path}' cannot be unpacked: the archive is damaged there."
