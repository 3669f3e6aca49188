"""Stage `groups`: which slices and which values of the users' columns became more frequent or harder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.audits.base import Inputs, Result
from app.audits.shift.families import Group, compared, most_moved
from app.audits.shift.placing import SLICES, Placed, place_slices
from app.audits.shift.schema import GroupShift, GroupsPart
from app.audits.shift.sets import NO_SECOND, Ints, Side, sides
from app.audits.splits import meta_names

SHOWN = 60
"""Slices and values that the summary lists."""
KEPT = 24
"""Images of a group and set whose places are kept for its page."""
MOST_VALUES = 50
AGREE = 0.5
"""Overlap with the slice itself below which the rule speaks of something else."""
NO_RUN = (
    "Slices are compared where the same audit also looks for them: start it again with “Error slices” chosen beside "
    "this test."
)


def compare(inputs: Inputs) -> Result:
    """Return the part `groups` of the summary and the table `members`: key, first and second rows."""
    both = sides(inputs)
    if both is None:
        return Result({"groups": GroupsPart(no_slices=NO_SECOND, no_values=NO_SECOND).model_dump()})
    inputs.progress(0.1, "Finding the slices again in the second set")
    placed, why = _placed(inputs, *both)
    known = [one for one in placed if one.agreement >= AGREE]
    inputs.progress(0.6, "Comparing columns")
    columns = list(_columns(*both))
    values = [value for _, found in columns for value in found]
    groups, values_said = compared([_slice_group(one, *both) for one in known]), compared([v[0] for v in values])
    part = GroupsPart(
        slices=most_moved(groups, SHOWN),
        no_slices=why or ("" if known else _none(placed)),
        not_placed=len(placed) - len(known),
        values=most_moved(values_said, SHOWN),
        no_values="" if values else _no_values(*both),
        columns=[name for name, _ in columns],
    )
    members = [(one.key, one.first, one.second) for one in known] + [(v[0].key, v[1], v[2]) for v in values]
    return Result(
        {"groups": part.model_dump()}, tables={"members": _members([*part.slices, *part.values], members, *both)}
    )


def _placed(inputs: Inputs, first: Side, second: Side) -> tuple[list[Placed], str]:
    folder: Path | None = inputs.earlier.get(SLICES)
    if folder is None:
        return [], NO_RUN
    if not second.labelled:
        return [], "A slice is part of a class; without labels no image of the second set can be placed in one."
    if first.split.embeddings is None or second.split.embeddings is None:
        return [], "Slices are directions among embeddings, and the second set has none."
    if first.split.embeddings.shape[1] != second.split.embeddings.shape[1]:
        return [], "The two sets brought embeddings of different lengths, so that no slice can be found again."
    confirmed = pq.read_table(folder / "candidates.parquet", columns=["evidence"])["evidence"].to_pylist()
    if "confirmed" not in confirmed:
        return [], "This run has no confirmed slice."
    return place_slices(inputs, folder, first, second), ""


def _none(placed: Sequence[Placed]) -> str:
    return f"None of the {len(placed):,} confirmed slices is found again by its direction alone." if placed else ""


def _slice_group(one: Placed, first: Side, second: Side) -> Group:
    pairs = ((first, one.first), (second, one.second))
    return Group(
        one.key,
        one.key,
        one.class_index,
        ((len(one.first), one.pool[0]), (len(one.second), one.pool[1])),
        _rights(pairs),
        one.agreement,
    )


def _rights(pairs: Sequence[tuple[Side, Ints]]) -> tuple[tuple[int, int], tuple[int, int]]:
    (a, n), (b, m) = (
        (int((side.right & side.judged)[rows].sum()), int(side.judged[rows].sum())) for side, rows in pairs
    )
    return (a, n), (b, m)


def _columns(first: Side, second: Side) -> Iterator[tuple[str, list[tuple[Group, Ints, Ints]]]]:
    """Columns that both sets have, with few values: each value's group and its rows."""
    number = 0
    for name in meta_names(first.split.manifest, second.split.manifest):
        here, there = first.column(name), second.column(name)
        values = np.union1d(here[first.used], there[second.used])
        if not 1 < len(values) <= MOST_VALUES:
            continue
        found = []
        for value in values.tolist():
            rows = np.flatnonzero(first.used & (here == value)), np.flatnonzero(second.used & (there == value))
            counts = ((len(rows[0]), int(first.used.sum())), (len(rows[1]), int(second.used.sum())))
            right = _rights([(first, rows[0]), (second, rows[1])]) if second.labelled else None
            title = f"{name.replace('_', ' ')}: {value}"
            found.append((Group(f"value-{number}", title, None, counts, right), *rows))
            number += 1
        yield name, found


def _no_values(first: Side, second: Side) -> str:
    if meta_names(first.split.manifest, second.split.manifest):
        return f"The columns that both sets have hold one value, or more than {MOST_VALUES}."
    return "The two sets have no column in common beside the label."


def _members(shown: Sequence[GroupShift], members: list[Any], first: Side, second: Side) -> pa.Table:
    """Places of a few images of each shown group in both splits, wrong ones first."""
    known = {key: (one, other) for key, one, other in members}
    keys = [group.key for group in shown]
    return pa.table(
        {
            "key": pa.array(keys, pa.string()),
            "first": pa.array([_some(known[key][0], first) for key in keys], pa.list_(pa.int64())),
            "second": pa.array([_some(known[key][1], second) for key in keys], pa.list_(pa.int64())),
        }
    )


def _some(rows: Ints, side: Side) -> list[int]:
    wrong = (side.judged & ~side.right)[rows]
    found: list[int] = rows[np.lexsort((rows, -side.confidence[rows], ~wrong))][:KEPT].tolist()
    return found
