"""From the paths of an import to one tree of files: archives are recognised by their bytes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from app.errors import UserError
from app.loaders.datasets.folder_tree import FolderTree
from app.loaders.datasets.guard import ArchiveGuard, BadArchive
from app.loaders.datasets.request import IngestRequest, Limits
from app.loaders.datasets.tar_tree import TarTree
from app.loaders.datasets.tree import FileTree, SingleFile, UnionTree, stem
from app.loaders.datasets.zip_tree import ZipTree

_CHUNK = 1 << 20
_TAR_MAGIC_AT = 257
_UNREAD = {b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "RAR", b"\xd0\xcf\x11\xe0": "Microsoft Office"}
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)
_OPENERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": lambda path: pa.input_stream(str(path), compression="zstd"),
}


def open_sources(request: IngestRequest, work: Path) -> FileTree:
    """Open all sources as one tree; `work` is a folder for what has to be unpacked.

    One archive is mounted at the top, so that a table uploaded beside it finds its files; several are mounted under
    their own names. A folder or archive that holds archives only is opened one level deeper.

    Raises:
        UserError: a source is not there, is damaged, hostile or over the limits.
    """
    trees = [_open(Path(source.path), source.name, request, work) for source in request.sources]
    tree = trees[0] if len(trees) == 1 else _mount(trees)
    return _open_inner(tree, request.limits, work)


def archive_kind(head: bytes) -> str | None:
    """Recognise an archive by its first 512 bytes: zip, tar, or a compressed stream."""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar":
        return "tar"
    return "compressed" if _opener(head) else None


def _open(path: Path, name: str, request: IngestRequest, work: Path) -> FileTree:
    if path.is_dir():
        return FolderTree(path, name, [Path(folder) for folder in request.within], request.limits)
    if not path.is_file():
        raise UserError(f"'{name}' is not there, or is no ordinary file or folder.")
    return _open_file(path, name, request.limits, work)


def _open_file(path: Path, name: str, limits: Limits, work: Path) -> FileTree:
    head = SingleFile(path, name).head(0)
    kind = archive_kind(head)
    if kind == "compressed":
        path = _decompress(path, name, head, limits, work)
        name, kind = stem(name), archive_kind(SingleFile(path, name).head(0))
    if kind == "zip":
        return ZipTree(path, name, limits, work)
    if kind == "tar":
        return TarTree(path, name, limits, work)
    _refuse_unread(head, name)
    return SingleFile(path, name.replace("\\", "/").rsplit("/", 1)[-1])


def _refuse_unread(head: bytes, name: str) -> None:
    if not head:
        raise BadArchive(f"{name} is empty (0 bytes). Upload it again.")
    if not any(head):
        raise BadArchive(f"{name} begins with zeros only: it is an empty archive, or was not copied whole.")
    for magic, kind in _UNREAD.items():
        if head.startswith(magic):
            raise BadArchive(f"{name} is a {kind} file, which is not read; pack the files as zip or tar.")
    if name.lower().endswith((".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst")):
        raise BadArchive(f"{name} is named like an archive, but its bytes are none. Pack or upload it again.")


def _opener(head: bytes) -> Callable[[Path], Any] | None:
    return next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), None)


def _decompress(path: Path, name: str, head: bytes, limits: Limits, work: Path) -> Path:
    target = work / f"{stem(name).replace('/', '_')[-80:]}.{path.name[:16]}.plain"
    guard = ArchiveGuard(name, path.stat().st_size, limits)
    opener = _opener(head)
    assert opener is not None
    with target.open("xb") as sink:
        for chunk in _unpacked(opener, path, name):
            # A tar's members are counted when it is read; here only the whole stream is.
            guard.stream(len(chunk))
            sink.write(chunk)
    return target


def _unpacked(opener: Callable[[Path], Any], path: Path, name: str) -> Iterator[bytes]:
    try:
        with opener(path) as stream:
            while chunk := stream.read(_CHUNK):
                yield bytes(chunk)
    except _DAMAGE as error:
        raise BadArchive(f"{name} is damaged or truncated. Pack or upload it again.") from error


def _mount(trees: list[FileTree]) -> FileTree:
    archives = [tree for tree in trees if not isinstance(tree, SingleFile)]
    twice = [name for name, n in Counter(stem(tree.name) for tree in archives).items() if n > 1]
    twice += [name for name, n in Counter(t.name for t in trees if isinstance(t, SingleFile)).items() if n > 1]
    if twice:
        raise UserError(f"Two of the uploaded files are named '{twice[0]}'; give each its own name.")
    name = ", ".join(tree.name for tree in trees[:3]) + (" …" if len(trees) > 3 else "")
    if len(archives) < 2:
        return UnionTree(name, [("", tree) for tree in trees])
    return UnionTree(name, [("" if isinstance(t, SingleFile) else stem(t.name), t) for t in trees])


def _open_inner(tree: FileTree, limits: Limits, work: Path) -> FileTree:
    if isinstance(tree, SingleFile) or not tree.paths or not all(map(_named_archive, tree.paths)):
        return tree
    mounts = [
        (stem(path), _open_file(tree.local_path(number), path, limits, work)) for number, path in enumerate(tree.paths)
    ]
    return UnionTree(tree.name, mounts)


def _named_archive(path: str) -> bool:
    return path.lower().endswith((".tar", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"))
