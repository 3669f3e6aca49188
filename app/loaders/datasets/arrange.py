"""The final order of a data set: classes and splits numbered, ids unique, rows sorted by split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.errors import UserError
from app.loaders.datasets.rows import Arrived
from app.loaders.datasets.splits import split_rank


@dataclass
class Arranged:
    """A data set in its final order.

    `order` is the place of arrival of each row; it, `split`, `label` (−1: none) and `group` are int64 [N]. `table` has
    the columns of `rows.SCHEMA`, `ids` are unique.
    """

    table: pa.Table
    meta: pa.Table
    classes: list[str]
    split_names: list[str]
    order: NDArray[np.int64]
    split: NDArray[np.int64]
    label: NDArray[np.int64]
    group: NDArray[np.int64]
    ids: pa.Array


def arrange(arrived: Arrived, classes: Sequence[str]) -> Arranged:
    """Number the splits and the labels by their final lists and sort the rows by split, then label, then arrival."""
    table = arrived.table.combine_chunks()
    split_names = sorted(arrived.splits, key=split_rank)
    place = {name: number for number, name in enumerate(split_names)}
    new_split = np.array([place[name] for name in arrived.splits], np.int64)
    new_label = np.array([*label_numbers(arrived.labels, classes), -1], np.int64)
    split, label = new_split[numbers(table, "split")], new_label[numbers(table, "label")]
    order = np.lexsort((label, split)).astype(np.int64)
    _, group = np.unique(numbers(table, "pixels")[order], return_inverse=True)
    sorted_table = table.take(pa.array(order))
    return Arranged(
        table=sorted_table,
        meta=arrived.meta.combine_chunks().take(pa.array(order)) if arrived.meta.num_columns else arrived.meta,
        classes=list(classes),
        split_names=split_names,
        order=order,
        split=split[order],
        label=label[order],
        group=group.astype(np.int64),
        ids=unique_ids(sorted_table),
    )


def numbers(table: pa.Table, column: str) -> NDArray[np.int64]:
    """A column of numbers as an array."""
    return np.asarray(table.column(column).to_numpy())


def order_classes(labels: Sequence[str], named: Sequence[str], chosen: Sequence[str]) -> list[str]:
    """The data set's classes: the person's list, else the source's, else the labels sorted (numbers as numbers).

    Labels outside of the list come last.
    """
    known = list(dict.fromkeys(chosen or named))
    if not known:
        return _sorted(labels)
    extra = [name for name, number in zip(labels, label_numbers(labels, known), strict=True) if number < 0]
    return known + _sorted(extra)


def label_numbers(labels: Sequence[str], classes: Sequence[str]) -> list[int]:
    """The class number of each label: by name, else, where all labels are numbers, by position; −1 where unknown."""
    place = {name: number for number, name in enumerate(classes)}
    if not any(label in place for label in labels) and all(_is_number(label) for label in labels):
        return [int(label) if int(label) < len(classes) else -1 for label in labels]
    return [place.get(label, -1) for label in labels]


def unique_ids(table: pa.Table) -> pa.Array:
    """The example ids; where a path names several rows, the content's hash tells them apart.

    Raises:
        UserError: two rows were given the same id.
    """
    ids = table.column("example_id").combine_chunks()
    counts = pc.value_counts(ids)
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if not len(twice):
        return ids
    shared = pc.is_in(ids, twice)
    if pc.any(pc.and_(shared, table.column("given"))).as_py():
        raise UserError(
            f"{len(twice):,} example ids occur more than once, such as '{twice[0]}'. Give each row an id of its own."
        )
    return _told_apart(ids, np.asarray(shared), table.column("sha256"))


def _told_apart(ids: pa.Array, shared: NDArray[np.bool_], hashes: pa.ChunkedArray) -> pa.Array:
    values, seen = ids.to_pylist(), Counter[str]()
    for row in np.flatnonzero(shared).tolist():
        name = f"{values[row]}#{hashes[row].as_py().hex()[:12]}"
        seen[name] += 1
        values[row] = name if seen[name] == 1 else f"{name}#{seen[name]}"
    return pa.array(values, pa.string())


def _sorted(labels: Sequence[str]) -> list[str]:
    if all(_is_number(label) for label in labels):
        return sorted(labels, key=int)
    return sorted(labels)


def _is_number(label: str) -> bool:
    return label.isascii() and label.isdigit()
