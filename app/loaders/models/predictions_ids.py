"""The example ids that a table of predictions speaks of, as hashes; made once in the sandboxed child."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

IDS_FILE = "ids.npy"


def list_ids(payload: dict[str, Any], progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Write ids.npy, the sorted `hashed` ids uint64 [m] of a table.

    `payload`: `file` (the table) and `output` (a folder; made if missing), both absolute; `classes`, where known, in
    the model's order. Progress: `done`. Returns `ids` (m).

    Raises:
        UserError: not a table of predictions, or one with NaN in it.
    """
    from app.loaders.models.table import read_columns, read_scores, require_finite  # noqa: PLC0415 - pyarrow, in the child only

    file, output = Path(payload["file"]), Path(payload["output"])
    parts, columns = [np.empty(0, np.uint64)], read_columns(file, tuple(payload.get("classes", ())))
    for ids, scores in read_scores(file, columns):
        require_finite(ids, scores)
        parts.append(hashed(ids))
        progress({"done": sum(map(len, parts))})
    found = np.unique(np.concatenate(parts))
    output.mkdir(parents=True, exist_ok=True)
    np.save(output / IDS_FILE, found)
    return {"ids": len(found)}


def hashed(ids: Iterable[str]) -> NDArray[np.uint64]:
    """Return the first 8 bytes of each id's BLAKE2b, uint64 [m]: of a million ids, two are alike once in 37 million."""
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=8).digest() for name in ids)
    return np.frombuffer(digests, np.uint64)
