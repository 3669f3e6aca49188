"""A folder on the server; links are followed only to where an administrator allowed."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.errors import TooLarge, UserError
from app.loaders.datasets.request import Limits
from app.loaders.datasets.tree import HEAD_BYTES, is_junk


class FolderTree:
    """The ordinary files below a folder, in the order of their names.

    Links inside the folder are followed where they lead below `within` (the folder itself always counts); others are
    listed as problems.
    """

    def __init__(self, root: Path, name: str, within: Sequence[Path], limits: Limits) -> None:
        self.name = name
        self.paths: list[str] = []
        self.folders: list[str] = []
        self.problems: dict[str, str] = {}
        self._root = root.resolve()
        self._within = [self._root, *(path.resolve() for path in within)]
        self._sizes = array("q")
        self._limits = limits
        for path, size in self._walk("", {str(self._root)}):
            self._add(path, size)

    def size(self, number: int) -> int:
        """Bytes of a file."""
        return self._sizes[number]

    def read(self, number: int) -> bytes:
        """Whole content of a file."""
        return self.local_path(number).read_bytes()

    def head(self, number: int) -> bytes:
        """The first 512 bytes of a file."""
        with self.local_path(number).open("rb") as stream:
            return stream.read(HEAD_BYTES)

    def local_path(self, number: int) -> Path:
        """The file's path."""
        return self._root / self.paths[number]

    def _add(self, path: str, size: int) -> None:
        if len(self.paths) >= self._limits.max_archive_members:
            raise TooLarge(f"{self.name} holds more than {self._limits.max_archive_members:,} files, the limit.")
        self.paths.append(path)
        self._sizes.append(size)

    def _walk(self, relative: str, ancestors: set[str]) -> Iterator[tuple[str, int]]:
        try:
            with os.scandir(self._root / relative) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except PermissionError as error:
            raise UserError(f"The folder '{relative or self.name}' may not be read by the server.") from error
        for entry in entries:
            path = f"{relative}/{entry.name}" if relative else entry.name
            if not is_junk(entry.name):
                yield from self._visit(entry, path, ancestors)

    def _visit(self, entry: os.DirEntry[str], path: str, ancestors: set[str]) -> Iterator[tuple[str, int]]:
        real = self._real_path(entry, path)
        if real is None:
            return
        info = real.stat()
        if stat.S_ISDIR(info.st_mode):
            if str(real) in ancestors:
                self.problems[path] = "This link leads back to a folder that contains it."
                return
            self.folders.append(path)
            yield from self._walk(path, ancestors | {str(real)})
        elif stat.S_ISREG(info.st_mode):
            yield path, info.st_size
        else:
            self.problems[path] = "This is no ordinary file (a device, a pipe or a socket)."

    def _real_path(self, entry: os.DirEntry[str], path: str) -> Path | None:
        if not entry.is_symlink():
            return Path(entry.path)
        real = Path(entry.path).resolve()
        if not any(real.is_relative_to(folder) for folder in self._within):
            self.problems[path] = "This link leads outside of the allowed folders; copy the file itself."
            return None
        if not real.exists():
            self.problems[path] = "This link leads nowhere."
            return None
        return real
