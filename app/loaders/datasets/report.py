"""The integrity report of a data set, and how its classes fit a model's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, Field

Severity = Literal["error", "warning", "info"]
EXAMPLES = 20


class IntegrityItem(BaseModel):
    """One thing found: what it is, how often, and up to 20 examples; the sentence is for the person."""

    kind: str
    severity: Severity
    sentence: str
    count: int = Field(ge=0)
    examples: list[str] = Field(default_factory=list, max_length=EXAMPLES)


class SetAside(BaseModel):
    """A file that got no row, and why."""

    path: str
    reason: str


class SplitCounts(BaseModel):
    """One split: its rows [start, stop) and its rows per class, in the order of the data set's classes."""

    name: str
    start: int
    stop: int
    label_counts: list[int]
    unlabelled: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.stop - self.start


class IntegrityReport(BaseModel):
    """What was found while a data set came in; shown before anything runs."""

    rows: int
    classes: list[str]
    splits: list[SplitCounts]
    items: list[IntegrityItem] = Field(default_factory=list)
    set_aside: list[SetAside] = Field(default_factory=list)
    set_aside_count: int = 0

    def worst(self) -> Severity | None:
        """The highest severity among the items."""
        found = {item.severity for item in self.items}
        return next((severity for severity in ("error", "warning", "info") if severity in found), None)


class ClassComparison(BaseModel):
    """How a data set's classes map onto a model's.

    `mapping[i]` is the model's index of the data set's class i, or −1.
    """

    mapping: list[int]
    missing_in_model: list[str]
    missing_in_dataset: list[str]
    same_order: bool
    items: list[IntegrityItem]

    @property
    def usable(self) -> bool:
        """Whether at least one class of the data set is known to the model."""
        return any(index >= 0 for index in self.mapping)


def compare_classes(dataset_classes: Sequence[str], model_classes: Sequence[str]) -> ClassComparison:
    """Match classes by name (exactly, else without case, spaces, hyphens and underscores), else number by position."""
    mapping = _match(dataset_classes, model_classes)
    by_position = not any(index >= 0 for index in mapping) and _are_positions(dataset_classes, len(model_classes))
    if by_position:
        mapping = [int(name) for name in dataset_classes]
    known = set(mapping)
    comparison = ClassComparison(
        mapping=mapping,
        missing_in_model=[name for name, index in zip(dataset_classes, mapping, strict=True) if index < 0],
        missing_in_dataset=[name for index, name in enumerate(model_classes) if index not in known],
        same_order=mapping == list(range(len(model_classes))),
        items=[],
    )
    comparison.items = _class_items(comparison, len(model_classes), by_position)
    return comparison


def _match(dataset_classes: Sequence[str], model_classes: Sequence[str]) -> list[int]:
    exact = {name: index for index, name in enumerate(model_classes)}
    loose: dict[str, int] = {}
    for index, name in enumerate(model_classes):
        # Two classes that differ only in case or spacing cannot be told apart loosely.
        loose[_loose(name)] = -1 if _loose(name) in loose else index
    return [exact.get(name, loose.get(_loose(name), -1)) for name in dataset_classes]


def _loose(name: str) -> str:
    return "".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _are_positions(names: Sequence[str], count: int) -> bool:
    return bool(names) and all(name.isascii() and name.isdigit() and int(name) < count for name in names)


def _class_items(found: ClassComparison, model_count: int, by_position: bool) -> list[IntegrityItem]:
    unmatched = _unmatched_items(found, model_count)
    if by_position:
        sentence = (
            "The data set names its classes by number; they were matched to the model's classes by position, "
            "counted from 0. Check that both use the same order."
        )
        return [*unmatched, _item("class_by_position", "warning", sentence, [], len(found.mapping))]
    if unmatched or found.same_order:
        return unmatched
    sentence = "The data set and the model list the same classes in different orders; they are matched by name."
    return [_item("class_order", "info", sentence, [], model_count)]


def _unmatched_items(found: ClassComparison, model_count: int) -> list[IntegrityItem]:
    items = []
    if found.missing_in_model:
        sentence = (
            f"{len(found.missing_in_model):,} of the data set's {len(found.mapping):,} classes are unknown to the "
            "model; their rows cannot be scored. Rename the classes, or give the model's class list."
        )
        items.append(_item("class_unknown_to_model", "error", sentence, found.missing_in_model))
    if found.missing_in_dataset:
        sentence = (
            f"{len(found.missing_in_dataset):,} of the model's {model_count:,} classes do not occur in the data set; "
            "nothing can be said about them."
        )
        items.append(_item("class_without_rows_in_dataset", "warning", sentence, found.missing_in_dataset))
    return items


def _item(
    kind: str, severity: Severity, sentence: str, names: Sequence[str], count: int | None = None
) -> IntegrityItem:
    return IntegrityItem(
        kind=kind,
        severity=severity,
        sentence=sentence,
        count=len(names) if count is None else count,
        examples=list(names[:EXAMPLES]),
    )
