"""Which format a source has, from its bytes and structure; where two fit, the person chooses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Protocol

from app.errors import UserError
from app.loaders.datasets.class_folders import ClassFolders
from app.loaders.datasets.columns import find_roles
from app.loaders.datasets.contents import Contents, ending, look_at, some
from app.loaders.datasets.items import SourceItem
from app.loaders.datasets.manifest import Manifest
from app.loaders.datasets.parquet_images import ParquetImages, image_column
from app.loaders.datasets.report import IntegrityItem
from app.loaders.datasets.request import IngestRequest
from app.loaders.datasets.splits import split_in_path
from app.loaders.datasets.tables import Table
from app.loaders.datasets.tree import FileTree
from app.loaders.datasets.webdataset import WebDataset, split_key

_DIGITS = re.compile(r"\d+")
_WAYS = (
    "Give a folder, zip or tar with one folder of images per class; a CSV or Parquet table with the columns path and "
    "label beside the images; WebDataset shards; or Parquet files with image bytes."
)


class Reader(Protocol):
    """Yields the examples of one source; `classes` are those that the source names, with or without rows."""

    @property
    def format(self) -> str: ...

    @property
    def classes(self) -> Sequence[str]: ...

    @property
    def total(self) -> int | None: ...

    @property
    def text_cells(self) -> bool:
        """Whether metadata are strings whose types are still to be found."""

    def remarks(self) -> list[IntegrityItem]:
        """What the reader noticed, once all was read."""

    def __iter__(self) -> Iterator[SourceItem]: ...


def open_reader(tree: FileTree, request: IngestRequest) -> Reader:
    """Choose the reader that fits the tree.

    Raises:
        UserError: none fits, or several do; the message lists what was found and what would be right.
    """
    contents = look_at(tree)
    tables = [Table(tree.local_path(number), tree.paths[number]) for number in contents.tables]
    chosen = request.options.format
    fitting = _fitting(tree, contents, tables, request) if chosen == "auto" else [chosen]
    if len(fitting) != 1:
        raise UserError(_none(tree, contents) if not fitting else _several(tree, fitting))
    return _open(fitting[0], tree, contents, tables, request)


def _fitting(tree: FileTree, contents: Contents, tables: Sequence[Table], request: IngestRequest) -> list[str]:
    fitting = []
    if any(image_column(table.schema) for table in tables):
        fitting.append("parquet_images")
    if _is_webdataset(tree, contents):
        fitting.append("webdataset")
    if _manifests(tables, request):
        fitting.append("manifest")
    # A table beside class folders describes them; the folders alone say less.
    if not fitting and contents.images:
        fitting.append("class_folders")
    return fitting


def _open(name: str, tree: FileTree, contents: Contents, tables: Sequence[Table], request: IngestRequest) -> Reader:
    if name == "parquet_images":
        return ParquetImages(_with_images(tree, tables), request)
    if name == "webdataset":
        return WebDataset(tree, contents, request.limits)
    if name == "class_folders":
        return ClassFolders(tree, contents, request.options.layout, request.limits)
    manifests = _manifests(tables, request) or list(tables)
    if not manifests:
        raise UserError(f"{tree.name} holds no CSV or Parquet table, so it is no manifest. {_WAYS}")
    return Manifest(tree, contents, request, _parts(manifests, tree.name))


def _with_images(tree: FileTree, tables: Sequence[Table]) -> list[Table]:
    found = [table for table in tables if image_column(table.schema)]
    if not found:
        raise UserError(f"No Parquet file in {tree.name} has a column of image bytes. {_WAYS}")
    return found


def _is_webdataset(tree: FileTree, contents: Contents) -> bool:
    """Whether most images have a label or JSON of the same key beside them."""
    labels = {split_key(tree.paths[number])[0] for number in contents.sidecars if ending(tree.paths[number]) != "txt"}
    keyed = sum(split_key(tree.paths[number])[0] in labels for number in contents.images)
    return bool(keyed) and 2 * keyed > len(contents.images)


def _manifests(tables: Sequence[Table], request: IngestRequest) -> list[Table]:
    return [table for table in tables if not image_column(table.schema) and _is_manifest(table, request)]


def _is_manifest(table: Table, request: IngestRequest) -> bool:
    options = request.options
    roles = find_roles(table.schema, options.columns, table.name)
    rows_alone = options.images == "none" and bool(roles.id or roles.label)
    return bool(roles.path or roles.embedding or rows_alone or (roles.id and roles.label))


def _parts(tables: list[Table], name: str) -> list[Table]:
    """Several tables are one manifest when they are numbered parts of one, or when each names its split."""
    families = {_DIGITS.sub("#", table.name): split_in_path(table.name) for table in tables}
    splits = list(families.values())
    if len(families) > 1 and (None in splits or len(set(splits)) < len(splits)):
        raise UserError(
            f"{name} holds several tables that may list the images ({some(table.name for table in tables)}). "
            "Keep one, or name one per split: train.csv, test.csv."
        )
    return sorted(tables, key=lambda table: table.name)


def _several(tree: FileTree, fitting: Sequence[str]) -> str:
    return (
        f"{tree.name} can be read in several ways: {' or '.join(fitting)}. "
        "Choose the format, or keep only the files of one."
    )


def _none(tree: FileTree, contents: Contents) -> str:
    if not tree.paths:
        return f"{tree.name} holds no files. {_WAYS}"
    if "[Content_Types].xml" in tree.paths:
        return f"{tree.name} is a Microsoft Office file; save the table as CSV. {_WAYS}"
    if contents.tables:
        tables = some(tree.paths[number] for number in contents.tables)
        return f"{tree.name} holds the table {tables}, whose columns do not say where the images are. {_WAYS}"
    return f"{tree.name} holds no images; it holds {some(tree.paths)}. {_WAYS}"
