"""What lies in a tree, told by endings where they are known and by bytes where they are not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from app.loaders.datasets.tree import FileTree, is_junk

IMAGE_ENDINGS = frozenset(
    ("jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "pgm", "avif", "ico")
)
FOREIGN_IMAGES = frozenset(("heic", "heif", "dng", "cr2", "nef", "arw", "svg", "psd", "jxl", "dcm"))
SIDECAR_ENDINGS = frozenset(("cls", "json", "txt"))
_IMAGE_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")


@dataclass
class Contents:
    """Numbers of a tree's files by kind."""

    images: list[int] = field(default_factory=list)
    tables: list[int] = field(default_factory=list)
    arrays: list[int] = field(default_factory=list)
    sidecars: list[int] = field(default_factory=list)
    others: list[int] = field(default_factory=list)


def look_at(tree: FileTree) -> Contents:
    """Sort the files of `tree` by kind."""
    contents = Contents()
    for number, path in enumerate(tree.paths):
        if not is_junk(path):
            _kind(tree, number, path, contents).append(number)
    return contents


def ending(path: str) -> str:
    """The part of a file's name after its last dot, in lower case."""
    name = path.rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[-1].lower() if "." in name else ""


def some(paths: Iterable[str], most: int = 3) -> str:
    """Name a few paths for a sentence."""
    listed = list(paths)
    return ", ".join(f"'{path}'" for path in listed[:most]) + (" …" if len(listed) > most else "")


def _kind(tree: FileTree, number: int, path: str, contents: Contents) -> list[int]:
    suffix = ending(path)
    # A HEIC photo is an image that will be set aside with a reason, not a file to pass over.
    if suffix in IMAGE_ENDINGS or suffix in FOREIGN_IMAGES:
        return contents.images
    if suffix in SIDECAR_ENDINGS:
        return contents.sidecars
    if suffix in ("csv", "tsv", "parquet", "pq", "npy"):
        return contents.arrays if suffix == "npy" else contents.tables
    return _kind_by_bytes(tree.head(number), contents)


def _kind_by_bytes(head: bytes, contents: Contents) -> list[int]:
    if head.startswith(_IMAGE_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return contents.images
    if head.startswith(b"PAR1"):
        return contents.tables
    if head.startswith(b"\x93NUMPY"):
        return contents.arrays
    return contents.others
