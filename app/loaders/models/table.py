"""Tables of predictions as CSV or Parquet: which columns are ids and which are classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from app.errors import UserError
from app.loaders.models.sniff import sniff

_ID_NAMES = ("example_id", "id", "image_id", "path", "image", "file", "filename", "file_name", "image_path")
_LIST_NAMES = ("probabilities", "probs", "logits", "scores")
_OTHER_NAMES = frozenset(
    ("label", "target", "split", "prediction", "pred", "predicted", "confidence", "correct", "row")
)
_PREFIXES = ("probability_", "prob_", "p_", "logit_", "score_", "prob:", "logit:", "p:")
_READ_ERRORS = (pa.ArrowException, OSError, ValueError)


class BadTable(UserError):
    """The table is not one of predictions; the message says what is missing."""


@dataclass(frozen=True)
class Columns:
    """The column of ids; either one column per class or one column of lists; class names where columns tell them."""

    identifier: str
    scores: tuple[str, ...]
    as_list: bool
    classes: tuple[str, ...]


def read_columns(path: Path, classes: tuple[str, ...] = ()) -> Columns:
    """Find the columns by their names and types; `classes`, where known, picks the columns of scores.

    Raises:
        BadTable: no id, no scores, or classes without a column.
    """
    first = next(_batches(path), None)
    if first is None or first.num_rows == 0:
        raise BadTable("The table has no rows.")
    schema = first.schema
    identifier = next((name for name in _ID_NAMES if name in schema.names), None)
    if identifier is None:
        raise BadTable(f"No column of example ids: name it example_id. The columns are {_some(schema.names)}.")
    listed = next((n for n in _LIST_NAMES if n in schema.names and _is_list(schema.field(n).type)), None)
    if listed is not None:
        return Columns(identifier, (listed,), as_list=True, classes=classes)
    numeric = {
        _class_name(field.name): field.name for field in schema if _is_number(field) and field.name != identifier
    }
    names = classes or tuple(numeric)
    missing = [name for name in names if name not in numeric]
    if missing:
        raise BadTable(
            f"No column of numbers for the class {missing[0]!r}: name one column per class, as the model does."
        )
    if len(names) < 2:
        raise BadTable("Fewer than two columns of numbers: give the probability (or logit) of every class.")
    return Columns(identifier, tuple(numeric[name] for name in names), as_list=False, classes=names)


def read_scores(path: Path, columns: Columns) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """Yield ids and scores float32 [n, C], part by part.

    Raises:
        BadTable: an empty id, a missing number, or lists of different lengths.
    """
    for batch in _batches(path):
        if batch.num_rows == 0:
            continue
        ids = batch.column(columns.identifier).cast(pa.string())
        if ids.null_count:
            raise BadTable(f"The column {columns.identifier} has an empty entry.")
        yield ids.to_pylist(), _matrix(batch, columns)


def require_finite(ids: list[str], scores: NDArray[np.float32]) -> None:
    """Look whether all scores [n, C] are numbers.

    Raises:
        BadTable: one is NaN or infinite; the message names its example.
    """
    bad = ~np.isfinite(scores).all(1)
    if bad.any():
        name = ids[int(np.flatnonzero(bad)[0])]
        raise BadTable(f"The example {name!r} has a score that is not a finite number. Give every class a number.")


def _matrix(batch: pa.RecordBatch, columns: Columns) -> NDArray[np.float32]:
    if columns.as_list:
        lists = batch.column(columns.scores[0])
        lengths = pc.unique(pc.list_value_length(lists)).to_pylist()
        if len(lengths) != 1 or not lengths[0]:
            raise BadTable(
                f"The lists in {columns.scores[0]} differ in length or are missing: give every class a number."
            )
        return _floats(pc.list_flatten(lists), columns.scores[0]).reshape(-1, lengths[0])
    return np.stack([_floats(batch.column(name), name) for name in columns.scores], 1)


def _floats(values: pa.Array, name: str) -> NDArray[np.float32]:
    if values.null_count:
        raise BadTable(f"The column {name} has an empty entry: every example needs a number for every class.")
    array: NDArray[np.float32] = values.cast(pa.float32()).to_numpy(zero_copy_only=False)
    return array


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    try:
        if sniff(path) == "parquet":
            yield from pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=16_384)
        else:
            parsing = pyarrow.csv.ParseOptions(delimiter=_delimiter(path))
            converting = pyarrow.csv.ConvertOptions(null_values=["", "NA", "null"])
            yield from pyarrow.csv.open_csv(path, parse_options=parsing, convert_options=converting)
    except _READ_ERRORS as error:
        raise BadTable(f"The table cannot be read: {str(error)[:200]}.") from error


def _delimiter(path: Path) -> str:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = file.readline(100_000)
    return max((",", ";", "\t"), key=first.count)


def _class_name(column: str) -> str:
    prefix = next((prefix for prefix in _PREFIXES if column.startswith(prefix)), "")
    return column.removeprefix(prefix)


def _is_number(field: Any) -> bool:
    number = pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
    return number and field.name.lower() not in _OTHER_NAMES


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
