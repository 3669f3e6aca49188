"""Rows in the order in which they arrive, kept as Arrow columns rather than as Python objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.errors import UserError
from app.loaders.datasets.examine import Example, Refusal
from app.loaders.datasets.packs import PackWriter

_BATCH_ROWS = 8192
_MOST_CLASSES = 50_000
EMBEDDINGS = "embeddings.f32"
SCHEMA = pa.schema(
    [
        ("example_id", pa.string()),
        ("given", pa.bool_()),
        ("split", pa.int32()),
        ("label", pa.int32()),
        ("sha256", pa.binary(32)),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("pixels", pa.uint64()),
        ("path", pa.string()),
        ("deviation", pa.float32()),
        ("renamed", pa.bool_()),
    ]
)


@dataclass
class Arrived:
    """All rows in the order of arrival.

    `table` has the columns of `SCHEMA`, `meta` the user's; `index` is uint64 [N, 6] as in `index.npy`; `splits` and
    `labels` are the names that the table's numbers stand for; `dimensions` is d of the embeddings, if there are any.
    """

    table: pa.Table
    meta: pa.Table
    index: NDArray[np.uint64]
    splits: list[str]
    labels: list[str]
    packs: int
    dimensions: int | None


class RowWriter:
    """Takes examples, writes their bytes into packs and embeddings into a file, and keeps their columns.

    `refusals` lists what was set aside.
    """

    def __init__(self, output: Path, work: Path, default_split: str) -> None:
        self.splits: dict[str, int] = {}
        self.labels: dict[str, int] = {}
        self.refusals: list[Refusal] = []
        self.dimensions: int | None = None
        self.count = 0
        self._default_split = default_split
        self._files = ExitStack()
        self._packs = PackWriter(output)
        self._files.callback(self._packs.close)
        self._vectors = self._files.enter_context((work / EMBEDDINGS).open("xb"))
        self._pending: list[Example] = []
        self._places: list[tuple[int, ...]] = []
        self._index: list[NDArray[np.uint64]] = []
        self._batches: list[pa.RecordBatch] = []
        self._meta: list[dict[str, pa.Array]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()

    def add(self, found: Example | Refusal) -> None:
        """Take one example, or note why it is set aside."""
        if isinstance(found, Example):
            found = self._checked_vector(found)
        if isinstance(found, Refusal):
            self.refusals.append(found)
            return
        self._places.append(self._packs.add("original", found.data) + self._packs.add("thumbnail", found.thumbnail))
        if found.item.embedding is not None:
            self._vectors.write(np.ascontiguousarray(found.item.embedding, np.float32).data)
        found.data = found.thumbnail = b""
        self._pending.append(found)
        self.count += 1
        if len(self._pending) >= _BATCH_ROWS:
            self._flush()

    def finish(self) -> Arrived:
        """Close the files and return the rows."""
        self._flush()
        self._files.close()
        return Arrived(
            table=pa.Table.from_batches(self._batches, SCHEMA),
            meta=_join_meta(self._meta, self._batches),
            index=np.concatenate([np.empty((0, 6), np.uint64), *self._index]),
            splits=list(self.splits),
            labels=list(self.labels),
            packs=self._packs.count,
            dimensions=self.dimensions,
        )

    def _checked_vector(self, example: Example) -> Example | Refusal:
        vector = example.item.embedding
        size = None if vector is None else len(vector)
        if self.count == 0:
            self.dimensions = size
        if size == self.dimensions:
            return example
        return Refusal(example.item.path, f"The embedding has {size or 0} numbers; others have {self.dimensions or 0}.")

    def _flush(self) -> None:
        rows, self._pending = self._pending, []
        places, self._places = self._places, []
        if rows:
            self._index.append(np.array(places, np.uint64))
            self._batches.append(self._columns(rows))
            self._meta.append(_meta_columns(rows))
            self._require_classes()

    def _columns(self, rows: Sequence[Example]) -> pa.RecordBatch:
        items = [row.item for row in rows]
        columns = [
            [item.example_id or item.path for item in items],
            [item.example_id is not None for item in items],
            [self.splits.setdefault(item.split or self._default_split, len(self.splits)) for item in items],
            [-1 if item.label is None else self.labels.setdefault(item.label, len(self.labels)) for item in items],
            [row.sha256 for row in rows],
            [row.width for row in rows],
            [row.height for row in rows],
            [row.pixels for row in rows],
            [item.path for item in items],
            [row.deviation for row in rows],
            [row.renamed for row in rows],
        ]
        arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)

    def _require_classes(self) -> None:
        if len(self.labels) > _MOST_CLASSES:
            raise UserError(
                f"The labels take more than {_MOST_CLASSES:,} different values, such as "
                f"'{next(iter(self.labels))}'. Choose the column that holds the class."
            )


def _meta_columns(rows: Sequence[Example]) -> dict[str, pa.Array]:
    names = dict.fromkeys(name for row in rows for name in row.item.meta)
    return {name: _array([row.item.meta.get(name) for row in rows]) for name in names}


def _array(values: list[Any]) -> pa.Array:
    if not any(isinstance(value, list | dict) for value in values):
        try:
            return pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            pass
    return pa.array([_as_text(value) for value in values], pa.string())


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _join_meta(parts: Sequence[dict[str, pa.Array]], batches: Sequence[pa.RecordBatch]) -> pa.Table:
    """One table from batches that need not have the same columns, nor the same types."""
    names = dict.fromkeys(name for part in parts for name in part)
    columns = {}
    for name in names:
        kind = _common_type([part[name].type for part in parts if name in part])
        chunks = [
            part[name].cast(kind) if name in part else pa.nulls(batch.num_rows, kind)
            for part, batch in zip(parts, batches, strict=True)
        ]
        columns[name] = pa.chunked_array(chunks, kind)
    return pa.table(columns)


def _common_type(kinds: Sequence[pa.DataType]) -> pa.DataType:
    found = {kind for kind in kinds if not pa.types.is_null(kind)}
    if not found:
        return pa.string()
    if len(found) == 1:
        return found.pop()
    numbers = all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in found)
    return pa.float64() if numbers else pa.string()
