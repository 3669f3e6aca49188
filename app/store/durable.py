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

from app.errors import StorageFull

PARTIAL = ".partial"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")


def is_full(error: OSError) -> bool:
    """Whether `error` says that no space is left; `numpy.save` reports a short write without an errno."""
    return error.errno in _FULL or bool(_SHORT_WRITE.search(str(error)))


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn the operating system's "no space left" into `StorageFull`; other errors pass."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise StorageFull(
                "No space is left where Faultline stores its files; nothing was half written. "
                "Free some space, then try again."
            ) from error
        raise


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
