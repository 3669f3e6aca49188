"""What a worker process keeps between units: one sandboxed child with its model loaded, one encoder, some arrays."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from app.settings import get_settings
from workers.sandbox import Limits, Sandbox

if TYPE_CHECKING:
    from app.loaders.encoders import Encoder

_lock = threading.Lock()
_child: tuple[str, Sandbox] | None = None
_place = "here"


def limits() -> Limits:
    """The administrator's bounds of a child."""
    settings = get_settings()
    return Limits(seconds=settings.child_seconds, memory_bytes=settings.child_memory_bytes)


def settle(identity: str) -> None:
    """Give this worker's sandboxes a place of their own, emptied of what a killed predecessor left there."""
    global _place  # noqa: PLW0603 - one worker per process
    _place = identity
    shutil.rmtree(get_settings().home / "sandbox" / identity, ignore_errors=True)


def new_sandbox(readable: Sequence[Path], device: str) -> Sandbox:
    """Return a sandbox with a fresh private folder; the caller hands it to `drop`."""
    home = get_settings().home / "sandbox" / _place
    home.mkdir(parents=True, exist_ok=True)
    return Sandbox(Path(tempfile.mkdtemp(dir=home)), limits(), readable=readable, device=device)


def drop(sandbox: Sandbox) -> None:
    """End a sandbox and remove its folder."""
    sandbox.close()
    shutil.rmtree(sandbox.folder, ignore_errors=True)


def take_over(folder: Path) -> None:
    """Make this process the owner of what a child left, where the child ran as another user."""
    if os.geteuid() == 0:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, 0, 0, follow_symlinks=False)


def model_child(model_hash: str, checkpoints: Sequence[Path], device: str) -> Sandbox:
    """Return the warm child of a model version; the one of another version, or of other files of it, ends."""
    global _child  # noqa: PLW0603 - one warm child per process
    name = "\n".join([model_hash, *map(str, checkpoints)])
    with _lock:
        if _child is not None and (_child[0] != name or not _child[1].folder.is_dir()):
            drop(_child[1])
            _child = None
        if _child is None:
            _child = (name, new_sandbox(checkpoints, device))
        return _child[1]


@atexit.register
def _drop_child() -> None:
    if _child is not None:
        drop(_child[1])


@lru_cache(maxsize=1)
def encoder(spec: str, device: str) -> Encoder:
    """Return the encoder that `spec` names, loaded once; it never shares a process with uploads."""
    from app.loaders.encoders import load_encoder  # noqa: PLC0415 - torch, in the workers that embed only

    return load_encoder(spec, device)
