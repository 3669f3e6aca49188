"""Embeddings that the person brings: columns of the table, or a .npy beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.errors import UserError
from app.loaders.datasets.contents import some
from app.loaders.datasets.tree import FileTree

Vectors = Sequence[NDArray[np.float32] | None] | NDArray[np.float32]
_NAMES = ("embedding", "feature", "emb")


class GivenEmbeddings:
    """A .npy of shape [rows, d] whose rows are those of the table, in order."""

    def __init__(self, tree: FileTree, number: int) -> None:
        self._name = tree.paths[number]
        try:
            values = np.load(tree.local_path(number), mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise UserError(
                f"{self._name} is no plain NumPy array (pickled objects are not read). "
                "Save float32 of shape [rows, dimensions] with numpy.save."
            ) from error
        if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating):
            raise UserError(
                f"{self._name} has shape {list(values.shape)} and type {values.dtype}; "
                "embeddings are floats of shape [rows, dimensions]."
            )
        self._values = values

    @classmethod
    def find(cls, tree: FileTree, arrays: Sequence[int]) -> GivenEmbeddings | None:
        """Take the array that is named like embeddings, or the only one."""
        named = [n for n in arrays if any(word in tree.paths[n].rsplit("/", 1)[-1].lower() for word in _NAMES)]
        chosen = named or list(arrays)
        if len(chosen) > 1:
            found = some(tree.paths[number] for number in chosen)
            raise UserError(f"{tree.name} holds several arrays ({found}); keep the one with the embeddings.")
        return cls(tree, chosen[0]) if chosen else None

    def rows(self, start: int, count: int) -> NDArray[np.float32]:
        """The embeddings of the table's rows [start, start + count), float32 [count, d]."""
        self.require_rows(start + count, exactly=False)
        return np.asarray(self._values[start : start + count], np.float32)

    def require_rows(self, rows: int, exactly: bool = True) -> None:
        """Refuse an array that has another number of rows than the table."""
        if len(self._values) < rows or (exactly and len(self._values) != rows):
            least = "" if exactly else "at least "
            raise UserError(
                f"{self._name} has {len(self._values):,} rows, the table {least}{rows:,}; "
                "save one embedding per row of the table, in its order."
            )


def batch_vectors(batch: pa.RecordBatch, columns: Sequence[str]) -> Vectors:
    """The embeddings of a batch: float32 [n, d], or a list with None where a row has none."""
    if len(columns) > 1:
        return np.stack([_floats(batch.column(name), name) for name in columns], axis=1)
    column = batch.column(columns[0])
    if isinstance(column, pa.FixedSizeListArray):
        column = column.cast(pa.list_(column.type.value_type))
    if not hasattr(column, "flatten"):
        raise UserError(f"The column '{columns[0]}' holds no lists of numbers, so it cannot be the embedding.")
    lengths = np.asarray(pc.list_value_length(column).fill_null(-1))
    values = _floats(column.flatten(), columns[0])
    if len(lengths) and (lengths == lengths[0]).all() and lengths[0] > 0:
        return values.reshape(len(lengths), -1)
    ends = np.cumsum(np.maximum(lengths, 0))
    return [values[e - n : e] if n > 0 else None for e, n in zip(ends, lengths, strict=True)]


def _floats(column: pa.Array, name: str) -> NDArray[np.float32]:
    try:
        return np.asarray(column.cast(pa.float32()).to_numpy(zero_copy_only=False), np.float32)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"The embedding column '{name}' holds something that is no number.") from error
