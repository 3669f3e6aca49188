"""What is remarkable about a data set: each check returns at most one item per thing found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from app.loaders.datasets.arrange import Arranged, numbers
from app.loaders.datasets.examine import Refusal
from app.loaders.datasets.report import EXAMPLES, IntegrityItem, Severity, SplitCounts

TINY_SPLIT_ROWS = 100
FLAT_DEVIATION = 2.0
_MANY_UNREADABLE = 0.05


def check_all(data: Arranged, splits: Sequence[SplitCounts], refusals: Sequence[Refusal]) -> list[IntegrityItem]:
    """Run all checks; the gravest items come first."""
    items = [
        *unreadable(refusals, len(data.order)),
        *unlabelled(data),
        *class_rows(data.classes, splits),
        *tiny_splits(splits),
        *duplicates(data),
        *flat_images(data),
        *renamed_files(data),
    ]
    rank = {"error": 0, "warning": 1, "info": 2}
    return sorted(items, key=lambda item: rank[item.severity])


def unreadable(refusals: Sequence[Refusal], rows: int) -> Iterator[IntegrityItem]:
    """Files that were set aside, one item per reason."""
    total = rows + len(refusals)
    for reason, count in Counter(refusal.reason for refusal in refusals).most_common(EXAMPLES):
        severity: Severity = "error" if count > _MANY_UNREADABLE * total else "warning"
        paths = [refusal.path for refusal in refusals if refusal.reason == reason][:EXAMPLES]
        yield _item("unreadable", severity, f"{_count(count, 'file')} set aside: {reason}", paths, count)


def unlabelled(data: Arranged) -> Iterator[IntegrityItem]:
    """Rows without a label."""
    rows = np.flatnonzero(data.label < 0)
    if len(rows):
        every = len(rows) == len(data.label)
        sentence = (
            "No row has a label, so no error can be seen; name the column of labels, or use one folder per class."
            if every
            else f"{_count(len(rows), 'row')} without a label; they are left out of every count of errors."
        )
        yield _item("unlabelled", "error" if every else "warning", sentence, _paths(data, rows), len(rows))


def class_rows(classes: Sequence[str], splits: Sequence[SplitCounts]) -> Iterator[IntegrityItem]:
    """Classes without rows, in the whole or in one split; and a data set of one class."""
    counts = np.array([split.label_counts for split in splits]).reshape(len(splits), len(classes))
    total = counts.sum(0)
    empty = [classes[i] for i in np.flatnonzero(total == 0).tolist()]
    if empty:
        yield _item("empty_class", "warning", f"{_count(len(empty), 'class', 'classes')} without any row.", empty)
    partly = [
        f"{classes[i]} ({split.name})"
        for split, row in zip(splits, counts, strict=True)
        for i in np.flatnonzero((row == 0) & (total > 0)).tolist()
        if row.any()
    ]
    if partly:
        sentence = (
            f"{_count(len(partly), 'class', 'classes')} without a row in one split, though other splits have some."
        )
        yield _item("class_missing_in_split", "warning", sentence, partly)
    if (total > 0).sum() == 1:
        name = classes[int(np.argmax(total))]
        yield _item("one_class", "warning", f"All labelled rows belong to the class '{name}'.", [name])


def tiny_splits(splits: Sequence[SplitCounts]) -> Iterator[IntegrityItem]:
    """Splits too small for evidence."""
    tiny = [f"{split.name} ({split.rows:,} rows)" for split in splits if split.rows < TINY_SPLIT_ROWS]
    if tiny:
        sentence = (
            f"{_count(len(tiny), 'split')} with fewer than {TINY_SPLIT_ROWS} rows; "
            "intervals will be wide and most findings will lack evidence."
        )
        yield _item("tiny_split", "warning", sentence, tiny)


def duplicates(data: Arranged) -> Iterator[IntegrityItem]:
    """Identical images: within a split, across splits, and with different labels."""
    rows = np.flatnonzero(np.bincount(data.group)[data.group] > 1) if len(data.group) else data.group
    if not len(rows):
        return
    rows = rows[np.lexsort((rows, data.group[rows]))]
    starts = np.flatnonzero(np.diff(data.group[rows], prepend=-1))
    across = _differ(data.split[rows], starts)
    conflict = _differ(data.label[rows], starts)
    if across.any():
        n = int(across.sum())
        sentence = (
            f"{_count(n, 'image')} in more than one split; what was learned by heart in one looks like skill in the "
            "other. Keep each image in one split."
        )
        yield _item("duplicates_across_splits", "warning", sentence, _twins(data, rows, starts, across), n)
    yield from _within(data, rows)
    if conflict.any():
        n = int(conflict.sum())
        sentence = (
            f"{_count(n, 'image')} with several labels: identical pixels, different classes. One of them is wrong."
        )
        yield _item("conflicting_labels", "warning", sentence, _twins(data, rows, starts, conflict), n)


def flat_images(data: Arranged) -> Iterator[IntegrityItem]:
    """Images of (nearly) one grey value."""
    rows = np.flatnonzero(numbers(data.table, "deviation") < FLAT_DEVIATION)
    if len(rows):
        sentence = (
            f"{_count(len(rows), 'image')} of nearly one grey value "
            f"(standard deviation below {FLAT_DEVIATION:g} of 255)."
        )
        yield _item("near_constant", "warning", sentence, _paths(data, rows), len(rows))


def renamed_files(data: Arranged) -> Iterator[IntegrityItem]:
    """Files whose ending names another format than their bytes."""
    rows = np.flatnonzero(data.table.column("renamed").to_numpy())
    if len(rows):
        sentence = f"{_count(len(rows), 'file')} with an ending that names another image format; read by their bytes."
        yield _item("ending_differs", "info", sentence, _paths(data, rows), len(rows))


def _within(data: Arranged, rows: NDArray[np.int64]) -> Iterator[IntegrityItem]:
    key = np.stack([data.group[rows], data.split[rows]], 1)
    _, first, counts = np.unique(key, axis=0, return_index=True, return_counts=True)
    extra = int((counts - 1).sum())
    if extra:
        examples = _paths(data, rows[first[counts > 1]])
        sentence = f"{_count(extra, 'row')} whose image occurs before in the same split; they count more than once."
        yield _item("duplicates_within_split", "warning", sentence, examples, extra)


def _differ(values: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each run that begins at `starts` holds more than one value."""
    return np.asarray(np.minimum.reduceat(values, starts) != np.maximum.reduceat(values, starts))


def _twins(data: Arranged, rows: NDArray[np.int64], starts: NDArray[np.int64], which: NDArray[np.bool_]) -> list[str]:
    """Name up to three members of the first groups."""
    groups = [group for group, wanted in zip(np.split(rows, starts[1:]), which, strict=True) if wanted][:EXAMPLES]
    return [" = ".join(_describe(data, row) for row in group[:3].tolist()) for group in groups]


def _describe(data: Arranged, row: int) -> str:
    label = data.label[row]
    name = data.classes[label] if label >= 0 else "no label"
    return f"{data.ids[row].as_py()} ({data.split_names[data.split[row]]}, {name})"


def _paths(data: Arranged, rows: NDArray[np.int64]) -> list[str]:
    return [data.ids[row].as_py() for row in rows[:EXAMPLES].tolist()]


def _item(
    kind: str, severity: Severity, sentence: str, examples: Sequence[str], count: int | None = None
) -> IntegrityItem:
    total = len(examples) if count is None else count
    return IntegrityItem(
        kind=kind, severity=severity, sentence=sentence, count=total, examples=list(examples[:EXAMPLES])
    )


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
