"""One view of a folder, an archive, or several uploads: numbered files under relative paths."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from app.errors import TooLarge

HEAD_BYTES = 512
_JUNK_NAMES = frozenset({"Thumbs.db", "desktop.ini", "__MACOSX"})


class FileTree(Protocol):
    """Files numbered 0 … n−1 in the order of the source; safe to read from several threads."""

    name: str
    paths: list[str]
    folders: list[str]
    """All folders, the empty ones too."""
    problems: dict[str, str]
    """Files that were seen and may not be read, with the reason."""

    def size(self, number: int) -> int:
        """Bytes of a file."""

    def read(self, number: int) -> bytes:
        """Whole content of a file."""

    def head(self, number: int) -> bytes:
        """The first 512 bytes of a file."""

    def local_path(self, number: int) -> Path:
        """A path of the file on disk, unpacked into the work folder when it lies in an archive."""


class UnionTree:
    """Several trees as one; each is mounted under a prefix, which may be empty."""

    problems: dict[str, str]

    def __init__(self, name: str, mounts: Sequence[tuple[str, FileTree]]) -> None:
        self.name = name
        self._trees = [tree for _, tree in mounts]
        self.paths = [_join(prefix, path) for prefix, tree in mounts for path in tree.paths]
        self.folders = [_join(prefix, path) for prefix, tree in mounts for path in tree.folders]
        self.folders += [prefix for prefix, _ in mounts if prefix]
        self.problems = {_join(prefix, p): why for prefix, tree in mounts for p, why in tree.problems.items()}
        self._starts: list[int] = []
        total = 0
        for tree in self._trees:
            self._starts.append(total)
            total += len(tree.paths)

    def size(self, number: int) -> int:
        """Bytes of a file."""
        tree, inner = self._find(number)
        return tree.size(inner)

    def read(self, number: int) -> bytes:
        """Whole content of a file."""
        tree, inner = self._find(number)
        return tree.read(inner)

    def head(self, number: int) -> bytes:
        """The first 512 bytes of a file."""
        tree, inner = self._find(number)
        return tree.head(inner)

    def local_path(self, number: int) -> Path:
        """A path of the file on disk."""
        tree, inner = self._find(number)
        return tree.local_path(inner)

    def _find(self, number: int) -> tuple[FileTree, int]:
        # Empty trees share their start with the next one; the last of equal starts holds the file.
        which = bisect.bisect_right(self._starts, number) - 1
        return self._trees[which], number - self._starts[which]


class SingleFile:
    """One uploaded file that is no archive, under the name that the person knows."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self.paths = [name]
        self.folders: list[str] = []
        self.problems: dict[str, str] = {}
        self._path = path

    def size(self, number: int) -> int:
        """Bytes of the file."""
        return self._path.stat().st_size

    def read(self, number: int) -> bytes:
        """Whole content of the file."""
        return self._path.read_bytes()

    def head(self, number: int) -> bytes:
        """The first 512 bytes of the file."""
        with self._path.open("rb") as stream:
            return stream.read(HEAD_BYTES)

    def local_path(self, number: int) -> Path:
        """The file's path."""
        return self._path


def is_junk(path: str) -> bool:
    """Whether a file is what operating systems and editors leave lying around."""
    return any(part in _JUNK_NAMES or part.startswith(".") for part in path.split("/"))


def checked_read(tree: FileTree, number: int, max_bytes: int) -> bytes:
    """Read a file whole, unless it is larger than `max_bytes`.

    Raises:
        TooLarge: it is.
    """
    size = tree.size(number)
    if size > max_bytes:
        raise TooLarge(f"The file has {size:,} bytes; the limit for one file is {max_bytes:,}.")
    return tree.read(number)


def stem(name: str) -> str:
    """The name of an archive without its endings: `train-000.tar.gz` → `train-000`."""
    for ending in (".gz", ".bz2", ".xz", ".zst", ".tar", ".zip", ".tgz", ".tbz2", ".txz"):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name


def _join(prefix: str, path: str) -> str:
    return f"{prefix}/{path}" if prefix else path
