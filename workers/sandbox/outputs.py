"""Read what a child left in its folder without trusting it."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from workers.sandbox.errors import SandboxCrashed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def checked_file(folder: Path, name: str) -> Path:
    """Return `folder/name` if it is a plain file of its own that lies inside `folder`.

    Raises:
        SandboxCrashed: missing, a link, something else than a file, or outside of the folder.
    """
    path = folder / name
    try:
        status = path.lstat()
        inside = path.parent.resolve(strict=True).is_relative_to(folder.resolve(strict=True))
    except OSError as error:
        raise SandboxCrashed(f"The sandboxed process left no file {name!r}.") from error
    if not inside or not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        raise SandboxCrashed(f"The sandboxed process left {name!r} as something else than a plain file.")
    return path


def load_array(folder: Path, name: str, shape: tuple[int | None, ...], dtype: str) -> NDArray[np.generic]:
    """Memory-map the .npy file `name`, whose shape (None: any length) and dtype must be as given.

    Raises:
        SandboxCrashed: no such array.
    """
    import numpy as np  # noqa: PLC0415 - children import this package too, and start sooner without

    path = checked_file(folder, name)
    try:
        array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise SandboxCrashed(f"The sandboxed process left a damaged array {name!r}.") from error
    fits = array.ndim == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype != np.dtype(dtype):
        raise SandboxCrashed(
            f"The sandboxed process left {name!r} as {array.dtype} {array.shape}, not {dtype} {shape}."
        )
    return array
