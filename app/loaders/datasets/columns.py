"""Which column of a table says what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from app.errors import UserError
from app.loaders.datasets.request import Columns

PATH_NAMES = (
    "path",
    "image_path",
    "file_path",
    "filepath",
    "filename",
    "file_name",
    "file",
    "image",
    "img",
    "img_path",
)
LABEL_NAMES = ("label", "labels", "class", "class_name", "label_name", "target", "category", "fine_label", "y")
SPLIT_NAMES = ("split", "subset", "partition", "set", "fold")
ID_NAMES = ("example_id", "id", "image_id", "uuid", "key")
EMBEDDING_NAMES = ("embedding", "embeddings", "emb", "feature", "features", "vector")
_NUMBERED = re.compile(r"(embedding|embeddings|emb|feature|features|feat|dim|e|f)[_.\-]?(\d+)")


@dataclass
class Roles:
    """Column names by role, empty where there is none; `embedding` holds one list column or d number columns."""

    path: str = ""
    label: str = ""
    split: str = ""
    id: str = ""
    embedding: list[str] = field(default_factory=list)
    meta: list[str] = field(default_factory=list)


def find_roles(schema: pa.Schema, chosen: Columns, table: str) -> Roles:
    """Find the columns by the person's choice, else by name; the rest are metadata.

    Raises:
        UserError: a chosen column does not exist.
    """
    roles = Roles(
        path=_find(schema, chosen.path, PATH_NAMES, table),
        label=_find(schema, chosen.label, LABEL_NAMES, table),
        split=_find(schema, chosen.split, SPLIT_NAMES, table),
        id=_find(schema, chosen.id, ID_NAMES, table),
    )
    roles.embedding = _embedding(schema, chosen.embedding, table)
    used = {roles.path, roles.label, roles.split, roles.id, *roles.embedding}
    roles.meta = [field.name for field in schema if field.name not in used and _is_metadata(field.type)]
    return roles


def _find(schema: pa.Schema, chosen: str, names: Sequence[str], table: str) -> str:
    if chosen:
        if chosen not in schema.names:
            raise UserError(f"The table {table} has no column '{chosen}'; it has {', '.join(schema.names[:20])}.")
        return chosen
    plain = {name.strip().lower().replace(" ", "_"): name for name in reversed(schema.names)}
    return next((plain[name] for name in names if name in plain), "")


def _embedding(schema: pa.Schema, chosen: str, table: str) -> list[str]:
    if chosen:
        return [_find(schema, chosen, (), table)]
    named = [f.name for f in schema if f.name.lower() in EMBEDDING_NAMES and _is_vector(f.type)]
    return named[:1] or _numbered(schema)


def _numbered(schema: pa.Schema) -> list[str]:
    """Columns such as emb_0 … emb_511, in the order of their numbers, when none is left out."""
    families: dict[str, dict[int, str]] = {}
    for name in schema.names:
        if match := _NUMBERED.fullmatch(name.lower()):
            families.setdefault(match[1], {})[int(match[2])] = name
    for columns in families.values():
        first = min(columns)
        if len(columns) > 1 and first in (0, 1) and set(columns) == set(range(first, first + len(columns))):
            return [columns[number] for number in sorted(columns)]
    return []


def _is_vector(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(lists and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)))


def _is_metadata(kind: pa.DataType) -> bool:
    return not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_nested(kind))
