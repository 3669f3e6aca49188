"""Cells of a table as Python values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from app.errors import UserError


def texts(batch: pa.RecordBatch, column: str) -> list[str]:
    """The column's cells as stripped strings; empty where the cell is, or where no column is named."""
    if not column:
        return [""] * batch.num_rows
    array = batch.column(column)
    if pa.types.is_nested(array.type) or pa.types.is_binary(array.type):
        raise UserError(f"The column '{column}' holds {array.type}, not text or numbers.")
    if pa.types.is_string(array.type):
        return [(value or "").strip() for value in array.to_pylist()]
    return [_text(value) for value in array.to_pylist()]


def metadata(batch: pa.RecordBatch, columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """One mapping of the named columns per row."""
    if not columns:
        return iter([{}] * batch.num_rows)
    values = zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
    return (dict(zip(columns, row, strict=True)) for row in values)


def _text(value: Any) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN, the only value that differs from itself
        return ""
    # A column of integers with one empty cell comes as floats.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
