"""Images in folders that are named after their classes, with or without folders of splits above."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from app.errors import UserError
from app.loaders.datasets.contents import Contents, some
from app.loaders.datasets.items import SourceItem
from app.loaders.datasets.report import EXAMPLES, IntegrityItem
from app.loaders.datasets.request import Layout, Limits
from app.loaders.datasets.splits import is_split_word
from app.loaders.datasets.tree import FileTree, checked_read, is_junk


class ClassFolders:
    """Reader of class folders; `classes` holds the empty ones too."""

    format = "class_folders"
    text_cells = False

    def __init__(self, tree: FileTree, contents: Contents, layout: Layout, limits: Limits) -> None:
        self._tree = tree
        self._images = contents.images
        self._others = sorted(contents.tables + contents.arrays + contents.sidecars + contents.others)
        self._limits = limits
        paths = [tree.paths[number] for number in contents.images]
        self._depth = _common_depth(paths)
        self._splits = _has_splits(paths, self._depth, layout, tree.name)
        self.classes = self._class_names(paths)
        self.total: int | None = len(paths)
        if not self.classes:
            tables = some(tree.paths[number] for number in contents.tables)
            unused = f" The columns of {tables} do not say where the images are." if tables else ""
            raise UserError(
                f"{tree.name} holds {len(paths):,} images and nothing that gives their classes.{unused} "
                "Put them in one folder per class, or add a table with the columns path and label."
            )

    def __iter__(self) -> Iterator[SourceItem]:
        for number in self._images:
            yield self._item(number)

    def remarks(self) -> list[IntegrityItem]:
        """Files that are no images and were passed over."""
        if not self._others:
            return []
        return [
            IntegrityItem(
                kind="file_passed_over",
                severity="info",
                sentence=f"Files that are no images, passed over: {len(self._others):,}.",
                count=len(self._others),
                examples=[self._tree.paths[number] for number in self._others[:EXAMPLES]],
            )
        ]

    def _item(self, number: int) -> SourceItem:
        path = self._tree.paths[number]
        split, label = self._place(path)
        load = partial(checked_read, self._tree, number, self._limits.max_file_bytes)
        problem = None if label is not None else "The file lies outside of the class folders."
        return SourceItem(path, label, split, load, problem=problem)

    def _place(self, path: str) -> tuple[str | None, str | None]:
        """The split and the class that the folders of `path` name."""
        folders = path.split("/")[self._depth : -1]
        split = folders.pop(0) if self._splits and folders else None
        return split, folders[0] if folders else None

    def _class_names(self, paths: Sequence[str]) -> list[str]:
        names = {self._place(path)[1] for path in paths}
        siblings = {self._place(f"{folder}/x")[1] for folder in self._tree.folders if self._is_class(folder)}
        return sorted(name for name in names | siblings if name is not None)

    def _is_class(self, folder: str) -> bool:
        """Whether an empty folder stands where classes stand."""
        depth = self._depth + 1 + self._splits
        return not is_junk(folder) and folder.count("/") + 1 == depth


def _common_depth(paths: Sequence[str]) -> int:
    """How many folders all images share, as when a whole folder was packed; a lone class is not one of them."""
    if not paths:
        return 0
    shared = paths[0].split("/")[:-1]
    for path in paths:
        folders = path.split("/")[:-1]
        same = next((i for i, (a, b) in enumerate(zip(shared, folders, strict=False)) if a != b), len(folders))
        shared = shared[:same]
        if not shared:
            return 0
    deepest = max(path.count("/") for path in paths)
    depth = len(shared)
    if depth == deepest:
        depth -= 1
    while depth and is_split_word(shared[depth - 1]):
        depth -= 1
    return max(depth, 0)


def _has_splits(paths: Sequence[str], depth: int, layout: Layout, name: str) -> bool:
    if layout != "auto":
        return layout == "split/class"
    tops: dict[str, bool] = {}
    for path in paths:
        folders = path.split("/")[depth:-1]
        if folders:
            tops[folders[0]] = tops.get(folders[0], False) or len(folders) > 1
    splits = [top for top, deep in tops.items() if deep and is_split_word(top)]
    if len(tops) > 1 and not splits and all(map(is_split_word, tops)):
        raise UserError(
            f"{name} has folders of splits ({some(tops)}) without folders of classes inside. Put the images in one "
            "folder per class, as in train/cat/1.jpg, or add a table with the columns path and label."
        )
    if splits and len(splits) < len(tops):
        others = [top for top in tops if top not in splits]
        raise UserError(
            f"{name} mixes folders of splits ({some(splits)}) with other folders of images ({some(others)}). "
            "Choose the layout 'class' or 'split/class', or put all images below folders of splits."
        )
    return bool(splits)
