"""Parquet files that carry the images' bytes, as Hugging Face's datasets write them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from app.errors import TooLarge, UserError
from app.loaders.datasets.cells import metadata, texts
from app.loaders.datasets.columns import Roles, find_roles
from app.loaders.datasets.embeddings import batch_vectors
from app.loaders.datasets.items import SourceItem
from app.loaders.datasets.report import IntegrityItem
from app.loaders.datasets.request import Columns, IngestRequest, Limits
from app.loaders.datasets.splits import split_in_path
from app.loaders.datasets.tables import Table

# A batch holds its images in memory; Parquet's own row groups bound it from below.
_BATCH_ROWS = 32


class ParquetImages:
    """Reader of one or several Parquet files with an image column (`struct<bytes, path>` or binary)."""

    format = "parquet_images"
    text_cells = False

    def __init__(self, tables: Sequence[Table], request: IngestRequest) -> None:
        self._tables = tables
        self._columns = request.options.columns
        self._limits = request.limits
        self._names = _label_names(tables, self._columns.label)
        self.classes: Sequence[str] = self._names
        self.total: int | None = sum(table.rows() for table in tables)

    def __iter__(self) -> Iterator[SourceItem]:
        for table in self._tables:
            image = image_column(table.schema)
            assert image is not None
            roles = _roles(table, image, self._columns)
            split = None if roles.split else split_in_path(table.name)
            row = 0
            for batch in table.batches(_used(image, roles), rows=_BATCH_ROWS):
                yield from self._items(batch, image, roles, split, f"{table.name}#", row)
                row += batch.num_rows

    def remarks(self) -> list[IntegrityItem]:
        """Nothing is passed over in this format."""
        return []

    def _items(
        self, batch: pa.RecordBatch, image: str, roles: Roles, split: str | None, prefix: str, first: int
    ) -> Iterator[SourceItem]:
        cells = zip(*(texts(batch, name) for name in (roles.label, roles.split, roles.id)), strict=True)
        metas = metadata(batch, roles.meta)
        vectors = batch_vectors(batch, roles.embedding) if roles.embedding else [None] * batch.num_rows
        for number, ((label, own_split, given), meta) in enumerate(zip(cells, metas, strict=True)):
            path, load = _image(batch.column(image)[number].as_py(), self._limits)
            item = SourceItem(path or f"{prefix}{first + number}", self._label(label), own_split or split, load, meta)
            item.embedding, item.example_id = vectors[number], given or None
            item.problem = None if load else "The row holds no image bytes."
            yield item

    def _label(self, text: str) -> str | None:
        if self._names and text.lstrip("-").isdigit():
            number = int(text)
            # −1 is how test sets without labels are published.
            return self._names[number] if 0 <= number < len(self._names) else None
        return text or None


def image_column(schema: pa.Schema) -> str | None:
    """The column of images: a struct with bytes (and a path), or plain binary named like an image."""
    structs = [field.name for field in schema if _is_image_struct(field.type)]
    binary = [
        field.name
        for field in schema
        if _is_bytes(field.type) and any(word in field.name.lower() for word in ("image", "img", "bytes", "jpg", "png"))
    ]
    found = structs or binary
    return found[0] if found else None


def _is_image_struct(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind)) and any(
        field.name == "bytes" and _is_bytes(field.type) for field in (kind.field(i) for i in range(kind.num_fields))
    )


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _roles(table: Table, image: str, columns: Columns) -> Roles:
    # An image column named 'image' must not be taken for the column of paths.
    rest = pa.schema([field for field in table.schema if field.name != image])
    return find_roles(rest, columns, table.name)


def _used(image: str, roles: Roles) -> list[str]:
    named = [image, roles.label, roles.split, roles.id, *roles.embedding, *roles.meta]
    return list(dict.fromkeys(name for name in named if name))


def _image(value: Mapping[str, Any] | bytes | None, limits: Limits) -> tuple[str, Callable[[], bytes] | None]:
    path = value.get("path") if isinstance(value, Mapping) else None
    data = value.get("bytes") if isinstance(value, Mapping) else value
    if data is None:
        return path or "", None
    return path or "", partial(_checked, data, limits.max_file_bytes)


def _checked(data: bytes, max_bytes: int) -> bytes:
    if len(data) > max_bytes:
        raise TooLarge(f"The image has {len(data):,} bytes; the limit for one file is {max_bytes:,}.")
    return data


def _label_names(tables: Sequence[Table], chosen: str) -> list[str]:
    """The names of a ClassLabel column, which Hugging Face's schema metadata holds."""
    found = [_class_label(table.schema, chosen) for table in tables]
    named = [names for names in found if names]
    if any(names != named[0] for names in named):
        raise UserError("The Parquet files name their classes differently; write them from one data set.")
    return named[0] if named else []


def _class_label(schema: pa.Schema, chosen: str) -> list[str]:
    raw = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = json.loads(raw)["info"]["features"]
        label = chosen or find_roles(schema, Columns(), "").label
        return [str(name) for name in features[label]["names"]]
    except (ValueError, KeyError, TypeError):
        return []
