"""The files of a data set, from its rows in their final order."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app.loaders.datasets.arrange import Arranged
from app.loaders.datasets.report import SplitCounts
from app.store.durable import new_array

MANIFEST = "manifest.parquet"
INDEX = "index.npy"
EMBEDDINGS = "embeddings.npy"
INTEGRITY = "integrity.json"
_GROUP_ROWS = 65_536
_WHOLE_NUMBER = r"^(0|-?[1-9][0-9]{0,17})$"
_NUMBER = r"^-?(0|[1-9][0-9]{0,14})?(\.[0-9]*)?([eE][-+]?[0-9]{1,3})?$|^(?i:nan|-?inf)$"
_TRUTH = r"^(?i:true|false)$"


def write_manifest(output: Path, data: Arranged, meta: pa.Table) -> None:
    """Write `manifest.parquet` in row groups of 65,536."""
    table = _manifest(data, meta)
    with pq.ParquetWriter(output / MANIFEST, table.schema, compression="zstd") as writer:
        for start in range(0, max(len(table), 1), _GROUP_ROWS):
            writer.write_table(table.slice(start, _GROUP_ROWS))


def write_index(output: Path, index: NDArray[np.uint64], order: NDArray[np.int64]) -> None:
    """Write `index.npy`, uint64 [N, 6], in the final order."""
    np.save(output / INDEX, index[order])


def write_embeddings(output: Path, arrived: Path, order: NDArray[np.int64], dimensions: int) -> None:
    """Write `embeddings.npy`, float32 [N, d], from the vectors in the order of arrival, a block at a time."""
    shape = (len(order), dimensions)
    source = np.memmap(arrived, np.float32, "r", shape=shape)
    target = new_array(output / EMBEDDINGS, shape)
    for start in range(0, len(order), _GROUP_ROWS):
        target[start : start + _GROUP_ROWS] = source[order[start : start + _GROUP_ROWS]]
    target.flush()


def typed_meta(meta: pa.Table) -> pa.Table:
    """Give columns of text the type that all their cells have: whole numbers, numbers, truth values, else text."""
    columns = {name: _typed(meta.column(name)) for name in meta.column_names}
    return pa.table(columns) if columns else meta


def count_splits(data: Arranged) -> list[SplitCounts]:
    """The range of rows of each split and its rows per class."""
    starts = np.searchsorted(data.split, np.arange(len(data.split_names) + 1)).tolist()
    return [
        _split_counts(name, start, stop, data.label[start:stop], len(data.classes))
        for name, start, stop in zip(data.split_names, starts[:-1], starts[1:], strict=True)
    ]


def data_hash(data: Arranged) -> str:
    """SHA-256 over the rows' (example id, content hash, class name, split name) as JSON lines, sorted by id."""
    digest = hashlib.sha256()
    order = np.asarray(pc.sort_indices(data.ids))
    hashes = data.table.column("sha256").combine_chunks()
    for start in range(0, len(order), _GROUP_ROWS):
        block = order[start : start + _GROUP_ROWS]
        rows = zip(
            data.ids.take(pa.array(block)).to_pylist(),
            hashes.take(pa.array(block)).to_pylist(),
            (data.classes[label] if label >= 0 else None for label in data.label[block].tolist()),
            (data.split_names[split] for split in data.split[block].tolist()),
            strict=True,
        )
        lines = (json.dumps([name, sha.hex(), label, split]) for name, sha, label, split in rows)
        digest.update("".join(f"{line}\n" for line in lines).encode())
    return digest.hexdigest()


def _manifest(data: Arranged, meta: pa.Table) -> pa.Table:
    names = pa.array(data.split_names, pa.string())
    columns = {
        "row": pa.array(np.arange(len(data.order)), pa.int64()),
        "example_id": data.ids,
        "split": names.take(pa.array(data.split)),
        "label": pa.array(data.label, pa.int32()),
        "sha256": _hex(data.table.column("sha256")),
        "width": data.table.column("width"),
        "height": data.table.column("height"),
        "group": pa.array(data.group, pa.int64()),
        "path": data.table.column("path"),
    }
    columns |= {f"meta.{name}": meta.column(name) for name in meta.column_names}
    return pa.table(columns)


def _hex(hashes: pa.ChunkedArray) -> pa.Array:
    """64 hex digits from each hash of 32 bytes, made in one go: two digits per byte."""
    raw = b"".join(hashes.to_pylist()).hex().encode()
    offsets = np.arange(len(hashes) + 1, dtype=np.int32) * 64
    return pa.StringArray.from_buffers(len(hashes), pa.py_buffer(offsets), pa.py_buffer(raw))


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_string(column.type) or column.null_count == len(column):
        return column
    # 007 is a name, not a number, and so is what a float could not hold.
    for pattern, kind in ((_WHOLE_NUMBER, pa.int64()), (_NUMBER, pa.float64()), (_TRUTH, pa.bool_())):
        if pc.all(pc.match_substring_regex(column, pattern)).as_py():
            try:
                return column.cast(kind)
            except pa.ArrowInvalid:
                return column
    return column


def _split_counts(name: str, start: int, stop: int, label: NDArray[np.int64], classes: int) -> SplitCounts:
    counts = np.bincount(label + 1, minlength=classes + 1).tolist()
    return SplitCounts(name=name, start=start, stop=stop, label_counts=counts[1:], unlabelled=counts[0])
