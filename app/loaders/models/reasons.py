"""Why a network gives no gradients, left as an array where its gradients would be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NAME = "reason"
_BYTES = 300


def save_reason(folder: Path, sentence: str, rows: int) -> dict[str, Any]:
    """Write `reason` uint8 [rows, 300]: the sentence in UTF-8 in each row, as arrays of a stage have rows.

    Returns name → [shape, dtype].
    """
    text = sentence.encode()
    if len(text) > _BYTES:
        text = text[: _BYTES - 3].decode(errors="ignore").encode() + "…".encode()
    folder.mkdir(parents=True, exist_ok=True)
    line = np.frombuffer(text.ljust(_BYTES), np.uint8)
    np.save(folder / f"{NAME}.npy", np.tile(line, (rows, 1)), allow_pickle=False)
    return {NAME: [[rows, _BYTES], "uint8"]}


def read_reason(rows: NDArray[np.generic]) -> str:
    """The sentence that `save_reason` wrote."""
    return bytes(rows[0]).decode().rstrip()
