"""Slices that the user's own columns can name: searched on fit rows, tested on confirm rows like any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.audits.slices.measure import Candidate
from app.audits.slices.naming import phrase
from app.audits.slices.rows import Bools, Ints, Rows
from app.audits.slices.schema import Params
from app.numerics.metadata_slices import Predicate, bin_names, find_metadata_slices, predicate_rows, quantile_bins

MOST_PREDICATES = 2
MOST_VALUES = 50
LONGEST_VALUE = 40
"""Characters; longer values are sentences, which no two images share for a reason."""
MOST_DISTINCT = 0.5
"""Share of the rows; a column with more distinct values names images one by one."""
FEW_NUMBERS = 12
OVERLAP = 0.5
Texts = NDArray[np.str_]
_NUMBER = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)


def by_metadata(rows: Rows, params: Params, _seed: int) -> Iterator[Candidate]:
    """Conjunctions of at most two values, per class, from columns that are neither ids nor free text."""
    columns = usable_columns(rows)
    for index, positions in rows.by_class():
        if not columns or not len(positions):
            continue
        of_class = {name: values[positions] for name, values in columns.items()}
        for j, (predicates, member) in enumerate(_distinct(rows, positions, of_class, params)):
            # Outcomes must not order the rows; the least sure members come first.
            scores = (member + (1 - rows.confidence[positions]) / 2).astype(np.float32)
            name = phrase(predicates, rows.classes[index])
            yield Candidate(f"metadata-{index}-{j}", "metadata", index, positions, scores, member, note=name)


def usable_columns(rows: Rows) -> dict[str, Texts]:
    """Every column that groups rows, as text [n]; numbers in quarters of equal mass, cut on fit rows."""
    found = {name: _as_text(column, rows.fit) for name, column in rows.metadata.items()}
    return {name: values for name, values in found.items() if values is not None}


def _as_text(column: pa.ChunkedArray, fit: Bools) -> Texts | None:
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        return None
    distinct = pc.count_distinct(column).as_py()
    if distinct < 2:
        return None
    if any(is_kind(column.type) for is_kind in _NUMBER) and distinct > FEW_NUMBERS:
        return _binned(column, fit, distinct)
    if distinct > MOST_VALUES or distinct > MOST_DISTINCT * len(column):
        return None
    texts = pc.fill_null(pc.cast(column, pa.string()), "")
    return None if (pc.max(pc.utf8_length(texts)).as_py() or 0) > LONGEST_VALUE else np.array(texts.to_pylist(), str)


def _binned(column: pa.ChunkedArray, fit: Bools, distinct: int) -> Texts | None:
    if pa.types.is_integer(column.type) and distinct > MOST_DISTINCT * len(column):
        return None
    values = pc.cast(column, pa.float64()).to_numpy()
    return bin_names(values, quantile_bins(values[fit])[1])


def _distinct(
    rows: Rows, positions: Ints, columns: Mapping[str, Texts], params: Params
) -> Iterator[tuple[tuple[Predicate, ...], Bools]]:
    """The first few conjunctions that hold other rows than those before."""
    fit = rows.fit[positions]
    wrong = ~rows.correct[positions]
    found = find_metadata_slices(
        {name: values[fit] for name, values in columns.items()}, wrong[fit], MOST_PREDICATES, max_values=MOST_VALUES
    )
    kept: list[Bools] = []
    for piece in found:
        member = predicate_rows(dict(columns), piece.predicates)
        if all((member & other).sum() < OVERLAP * (member | other).sum() for other in kept):
            kept.append(member)
            yield piece.predicates, member
        if len(kept) == params.max_slices:
            return
