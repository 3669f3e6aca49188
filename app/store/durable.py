"""What every durable write needs: fsync, names of partial files, and one error for a full disk."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.errors import StorageFull

if TYPE_CHECKING:
    import numpy as np

PARTIAL = ".partial"
NO_SPACE = (
    "No space is left where Faultline stores its files; nothing was half written. Free some space, then try again."
)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NUMPY_FULL = re.compile(r"\d+ requested and \d+ written|Not enough free space to write")


def is_full(error: OSError) -> bool:
    """Whether `error` says that no space is left; `numpy.save` says it without an errno."""
    return error.errno in _FULL or bool(_NUMPY_FULL.search(str(error)))


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn the operating system's "no space left" into `StorageFull`; other errors pass."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise StorageFull(NO_SPACE) from error
        raise


def new_array(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.float32]]:
    """Make a .npy file of float32 and map it for writing, its space reserved: a full disk would else kill the process.

    Raises:
        OSError: no space is left.
    """
    import numpy as np  # noqa: PLC0415 - the store is imported where no array is needed

    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    reserve(path)
    return array


def reserve(path: Path) -> None:
    """Reserve the space of a file that was mapped for writing.

    Raises:
        OSError: no space is left.
    """
    with path.open("r+b") as target:
        os.posix_fallocate(target.fileno(), 0, max(path.stat().st_size, 1))


def sync_file(path: Path) -> None:
    """Flush one file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Flush all files of `folder`, then its folders, from the leaves up."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync_file(Path(parent, name))
        sync_file(Path(parent))


def partial_path(root: Path, stem: str) -> Path:
    """A fresh name below `root`, in the same file system as what will replace it."""
    folder = root / PARTIAL
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{stem}.{uuid.uuid4().hex}"


@contextmanager
def partial(root: Path, stem: str) -> Iterator[Path]:
    """Yield a `partial_path`; what still lies there at the end, published or not, is dropped.

    Raises:
        StorageFull: no space is left.
    """
    with storage_errors():
        path = partial_path(root, stem)
        try:
            yield path
        finally:
            discard(path)


def discard(path: Path) -> None:
    """Remove a file or a folder, whether or not it is still there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sweep_partials(root: Path, older_than_seconds: float) -> int:
    """Remove what killed writers left below `root`; return how many entries went."""
    limit = time.time() - older_than_seconds
    stale = [path for path in (root / PARTIAL).glob("*") if path.lstat().st_mtime <= limit]
    for path in stale:
        discard(path)
    return len(stale)
