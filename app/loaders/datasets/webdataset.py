"""WebDataset shards: members of one tar that share a key make one example."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from app.errors import TooLarge, UserError
from app.loaders.datasets.columns import ID_NAMES, LABEL_NAMES, SPLIT_NAMES
from app.loaders.datasets.contents import IMAGE_ENDINGS, Contents
from app.loaders.datasets.items import SourceItem
from app.loaders.datasets.report import IntegrityItem
from app.loaders.datasets.request import Limits
from app.loaders.datasets.splits import split_in_path
from app.loaders.datasets.tree import FileTree, checked_read, is_junk

_SIDECAR_BYTES = 1 << 20


class WebDataset:
    """Reader of WebDataset shards; the split is told by the shard's name or the example's JSON."""

    format = "webdataset"
    classes: Sequence[str] = ()
    text_cells = False

    def __init__(self, tree: FileTree, contents: Contents, limits: Limits) -> None:
        self._tree = tree
        self._limits = limits
        self.total: int | None = len(contents.images)

    def __iter__(self) -> Iterator[SourceItem]:
        numbers = (n for n, path in enumerate(self._tree.paths) if not is_junk(path))
        for key, group in itertools.groupby(numbers, lambda number: split_key(self._tree.paths[number])[0]):
            fields = {split_key(self._tree.paths[number])[1]: number for number in group}
            item = self._item(key, fields)
            if item is not None:
                yield item

    def remarks(self) -> list[IntegrityItem]:
        """Nothing is passed over in this format."""
        return []

    def _item(self, key: str, fields: Mapping[str, int]) -> SourceItem | None:
        image = next((number for name, number in fields.items() if name.rsplit(".", 1)[-1] in IMAGE_ENDINGS), None)
        if image is None:
            return None
        path = self._tree.paths[image]
        item = SourceItem(path, split=split_in_path(key.rpartition("/")[0]), example_id=key)
        item.load = partial(checked_read, self._tree, image, self._limits.max_file_bytes)
        try:
            self._read_sidecars(item, fields)
        except (UserError, ValueError) as error:
            item.problem = f"The example's label or JSON cannot be read: {str(error)[:200]}"
        return item

    def _read_sidecars(self, item: SourceItem, fields: Mapping[str, int]) -> None:
        meta: dict[str, Any] = {}
        if "json" in fields:
            meta = _object(self._text(fields["json"]))
        item.label = _take(meta, LABEL_NAMES)
        item.split = _take(meta, SPLIT_NAMES) or item.split
        _take(meta, ("__key__", "__url__"))
        if "txt" in fields:
            meta["caption"] = self._text(fields["txt"]).strip()
        if "cls" in fields:
            item.label = self._text(fields["cls"]).strip() or item.label
        item.example_id = _take(meta, ID_NAMES[:1]) or item.example_id
        item.meta = meta

    def _text(self, number: int) -> str:
        if self._tree.size(number) > _SIDECAR_BYTES:
            raise TooLarge("the file is larger than 1 MiB")
        return self._tree.read(number).decode("utf-8")


def split_key(path: str) -> tuple[str, str]:
    """Split at the first dot of the file's name, as WebDataset does: `a/b.seg.png` → (`a/b`, `seg.png`)."""
    folder, slash, name = path.rpartition("/")
    stem, _, field = name.partition(".")
    return f"{folder}{slash}{stem}", field.lower()


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("the JSON is no object")
    return value


def _take(meta: dict[str, Any], names: Sequence[str]) -> str | None:
    for name in names:
        if isinstance(meta.get(name), str | int):
            return str(meta.pop(name)).strip() or None
    return None
