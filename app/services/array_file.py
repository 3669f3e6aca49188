"""Arrays of a run as one .npz file, written piece by piece: nothing of it is in memory at once."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.audits.base import RunArrays
from app.store.score_reader import manifest_columns

MEDIA = "application/zip"
_PIECE = 2**20
_IDS = 50_000
_MOMENT = (1980, 1, 1, 0, 0, 0)


def npz_pieces(file: RunArrays, manifest: Path) -> Iterator[bytes]:
    """Yield the bytes of the file: `README.txt`, the arrays, and for each `rows` its `_rows` and `_ids.json`.

    The same run gives the same bytes. `manifest` is the data set's `manifest.parquet`.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, pieces in _members(file, manifest):
            with archive.open(zipfile.ZipInfo(name, _MOMENT), "w", force_zip64=True) as member:
                for piece in pieces:
                    member.write(piece)
                    yield sink.taken()
    yield sink.taken()


def _members(file: RunArrays, manifest: Path) -> Iterator[tuple[str, Iterator[bytes]]]:
    yield "README.txt", iter([file.text.encode()])
    rows = {f"{name}_rows": values for name, values in file.rows.items()}
    for name, array in {**file.arrays, **rows}.items():
        yield f"{name}.npy", _array(array)
    for name, values in file.rows.items():
        yield f"{name}_ids.json", _ids(values, manifest)


def _array(array: NDArray[np.generic]) -> Iterator[bytes]:
    head = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(head, described)
    yield head.getvalue()
    step = max(_PIECE // max(array[:1].nbytes, 1), 1)
    for start in range(0, len(array), step):
        yield np.ascontiguousarray(array[start : start + step]).tobytes()


def _ids(rows: NDArray[np.int64], manifest: Path) -> Iterator[bytes]:
    """A JSON list of example ids, one a line."""
    for start in range(0, len(rows), _IDS):
        found = manifest_columns(manifest, rows[start : start + _IDS], ["example_id"])["example_id"]
        yield (",\n" if start else "[").encode() + ",\n".join(json.dumps(one) for one in found).encode()
    yield b"]" if len(rows) else b"[]"


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken; cannot be sought in, so the archive is written front to back."""

    def __init__(self) -> None:
        super().__init__()
        self._kept = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Keep the bytes."""
        self._kept += data
        return len(data)

    def taken(self) -> bytes:
        """Return what was written since the last call."""
        found = bytes(self._kept)
        self._kept.clear()
        return found
