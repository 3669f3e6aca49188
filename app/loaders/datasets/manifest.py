"""A CSV or Parquet table with one row per example; images beside it, or none at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from app.errors import UserError
from app.loaders.datasets.cells import metadata, texts
from app.loaders.datasets.columns import Roles, find_roles
from app.loaders.datasets.contents import Contents, some
from app.loaders.datasets.embeddings import GivenEmbeddings, Vectors, batch_vectors
from app.loaders.datasets.items import SourceItem
from app.loaders.datasets.lookup import ImageLookup
from app.loaders.datasets.report import EXAMPLES, IntegrityItem
from app.loaders.datasets.request import IngestRequest
from app.loaders.datasets.splits import split_in_path
from app.loaders.datasets.tables import Table
from app.loaders.datasets.tree import FileTree

_LEARN_ROWS = 200


@dataclass
class _Part:
    """One table: its columns by role, its split by name, and where its images are found (None: it has none)."""

    table: Table
    roles: Roles
    split: str | None
    lookup: ImageLookup | None

    def used(self) -> list[str]:
        """The columns that are read."""
        roles = self.roles
        named = [roles.path, roles.label, roles.split, roles.id, *roles.embedding, *roles.meta]
        return list(dict.fromkeys(name for name in named if name))


class Manifest:
    """Reader of a manifest of one or several tables."""

    format = "manifest"
    classes: Sequence[str] = ()

    def __init__(self, tree: FileTree, contents: Contents, request: IngestRequest, tables: Sequence[Table]) -> None:
        self._request = request
        self._tree = tree
        self._contents = contents
        self._given = GivenEmbeddings.find(tree, contents.arrays)
        self._parts = [self._part(table, len(tables) > 1) for table in tables]
        self.text_cells = all(part.table.is_text for part in self._parts)
        self.total = None if self.text_cells else sum(part.table.rows() for part in self._parts)

    def __iter__(self) -> Iterator[SourceItem]:
        row = 0
        for part in self._parts:
            for batch in part.table.batches(part.used()):
                yield from self._items(part, batch, row)
                row += batch.num_rows
        if self._given is not None:
            self._given.require_rows(row)

    def remarks(self) -> list[IntegrityItem]:
        """Images that came along and that no row names."""
        lookups = [part.lookup for part in self._parts if part.lookup is not None]
        unnamed = sorted(set.intersection(*(lookup.unnamed() for lookup in lookups))) if lookups else []
        if not unnamed:
            return []
        return [
            IntegrityItem(
                kind="image_without_row",
                severity="info",
                sentence=f"Images beside the table that no row names, left out: {len(unnamed):,}.",
                count=len(unnamed),
                examples=[self._tree.paths[number] for number in unnamed[:EXAMPLES]],
            )
        ]

    def _part(self, table: Table, several: bool) -> _Part:
        roles = find_roles(table.schema, self._request.options.columns, table.name)
        split = split_in_path(table.name) if several and not roles.split else None
        part = _Part(table, roles, split, self._lookup(table, roles))
        if part.lookup is None and not self._needs_no_images(roles):
            raise UserError(
                f"The table {table.name} gives no images and no embeddings. Name the column of image paths 'path' "
                "and add the images, or add embeddings; to import rows for predictions alone, choose images: none."
            )
        return part

    def _needs_no_images(self, roles: Roles) -> bool:
        return bool(roles.embedding or self._given is not None or self._request.options.images == "none")

    def _lookup(self, table: Table, roles: Roles) -> ImageLookup | None:
        if self._request.options.images == "none" or not roles.path:
            return None
        within = [Path(folder) for folder in self._request.within]
        lookup = ImageLookup(self._tree, self._contents, table.name, within, self._request.limits, self._folder())
        paths = _first_paths(table, roles.path)
        absolute = bool(within) and any(path.startswith("/") for path in paths)
        if absolute or not paths or lookup.learn(paths):
            return lookup
        if not self._contents.images and self._needs_no_images(roles):
            return None
        raise UserError(
            f"The table {table.name} names images such as {some(paths, 1)}, and none of them came with it; "
            f"{self._beside()} Put the images in the same folder, archive or upload."
        )

    def _folder(self) -> Path | None:
        """The folder of a table that was named by itself below the administrator's roots."""
        paths = [Path(source.path) for source in self._request.sources]
        return paths[0].parent if self._request.within and len(paths) == 1 and paths[0].is_file() else None

    def _beside(self) -> str:
        images = [self._tree.paths[number] for number in self._contents.images[:3]]
        return f"beside it lie {some(images, 2)}." if images else "no images lie beside it."

    def _items(self, part: _Part, batch: pa.RecordBatch, first_row: int) -> Iterator[SourceItem]:
        roles = part.roles
        cells = zip(*(texts(batch, name) for name in (roles.path, roles.label, roles.split, roles.id)), strict=True)
        vectors = self._vectors(part, batch, first_row)
        for number, (row, meta) in enumerate(zip(cells, metadata(batch, roles.meta), strict=True)):
            item = _item(row, meta, part, f"row-{first_row + number}")
            if vectors is not None:
                item.embedding = vectors[number]
                item.problem = item.problem or (None if vectors[number] is not None else "The row has no embedding.")
            yield item

    def _vectors(self, part: _Part, batch: pa.RecordBatch, first_row: int) -> Vectors | None:
        if part.roles.embedding:
            return batch_vectors(batch, part.roles.embedding)
        return self._given.rows(first_row, batch.num_rows) if self._given is not None else None


def _item(row: tuple[str, ...], meta: Mapping[str, Any], part: _Part, fallback_id: str) -> SourceItem:
    path, label, split, given_id = row
    item = SourceItem(path or given_id or fallback_id, label or None, split or part.split, meta=meta)
    item.example_id = given_id or None
    if part.lookup is None:
        return item
    item.load = part.lookup.find(path) if path else None
    if item.load is None:
        item.problem = "No such file came with the table." if path else "The row names no image."
    return item


def _first_paths(table: Table, column: str) -> list[str]:
    batch = next(iter(table.batches([column])), None)
    return [path for path in texts(batch, column)[:_LEARN_ROWS] if path] if batch is not None else []
