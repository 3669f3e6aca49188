"""From the paths that a manifest names to the files that came with it; none leaves its root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from app.errors import UserError
from app.loaders.datasets.contents import IMAGE_ENDINGS, Contents
from app.loaders.datasets.guard import safe_path
from app.loaders.datasets.request import Limits
from app.loaders.datasets.tree import FileTree, checked_read

_MOST_FOLDERS = 64


class ImageLookup:
    """Finds the images of one manifest.

    Paths are tried below the manifest's own folder, below the top, and below the few folders that hold images; with
    the ending that the manifest leaves out. The rule that finds the first rows is used for all. A table that lies
    below an administrator's roots also finds the files of its own folder there, `beside`.
    """

    def __init__(
        self,
        tree: FileTree,
        contents: Contents,
        table: str,
        within: Sequence[Path],
        limits: Limits,
        beside: Path | None = None,
    ) -> None:
        self._tree = tree
        self._beside = beside
        self._table = table
        self._within = [folder.resolve() for folder in within]
        self._limits = limits
        self._numbers = {tree.paths[number]: number for number in contents.images + contents.others}
        folders = dict.fromkeys(tree.paths[number].rpartition("/")[0] for number in contents.images)
        self._folders = list(dict.fromkeys([table.rpartition("/")[0], "", *list(folders)[:_MOST_FOLDERS]]))
        self._rules = [("", "")]
        self._images = contents.images
        self._found = bytearray(len(tree.paths))

    def learn(self, paths: Sequence[str]) -> int:
        """Choose the rule that finds most of `paths`; return how many it finds."""
        rules = [(folder, tail) for folder in self._folders for tail in ("", *(f".{e}" for e in IMAGE_ENDINGS))]
        rules.sort(key=lambda rule: rule[1] != "")
        known = [self._relative(path) for path in paths]
        found = {rule: sum(self._apply(rule, path) is not None for path in known if path) for rule in rules}
        best = max(rules, key=lambda rule: found[rule])
        own = [(folder, "") for folder in self._folders[:2]]
        self._rules = list(dict.fromkeys([best, *own]))
        return found[best] or self._lying_beside([path for path in known if path])

    def _lying_beside(self, paths: Sequence[str]) -> int:
        return sum((self._beside / path).is_file() for path in paths) if self._beside else 0

    def find(self, path: str) -> Callable[[], bytes] | None:
        """Return the loader of the image that a row names; None when no such file came.

        Raises:
            UserError: the path leads outside of the data set, or of the allowed folders.
        """
        relative = self._relative(path)
        if relative is None:
            return self._absolute(Path(path))
        for rule in self._rules:
            number = self._apply(rule, relative)
            if number is not None:
                self._found[number] = 1
                return partial(checked_read, self._tree, number, self._limits.max_file_bytes)
        return self._absolute(self._beside / relative) if self._beside else None

    def unnamed(self) -> set[int]:
        """Numbers of the images that no row has named so far."""
        return {number for number in self._images if not self._found[number]}

    def _apply(self, rule: tuple[str, str], path: str) -> int | None:
        folder, tail = rule
        return self._numbers.get((f"{folder}/{path}" if folder else path) + tail)

    def _relative(self, path: str) -> str | None:
        """The normalised path; None for an absolute one that the administrator's roots may allow."""
        if self._within and path.startswith("/"):
            return None
        return safe_path(path, f"The table {self._table}")

    def _absolute(self, path: Path) -> Callable[[], bytes] | None:
        real = path.resolve()
        if not any(real.is_relative_to(folder) for folder in self._within):
            raise UserError(
                f"The table {self._table} names '{path}', which is not below the folders that an administrator allowed."
            )
        return partial(_read_file, real, self._limits.max_file_bytes) if real.is_file() else None


def _read_file(path: Path, max_bytes: int) -> bytes:
    size = path.stat().st_size
    if size > max_bytes:
        raise UserError(f"The file has {size:,} bytes; the limit for one file is {max_bytes:,}.")
    return path.read_bytes()
