"""Slices that metadata can name: conjunctions of column = value, grown level by level with pruning."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.numerics.intervals import Floats
from app.numerics.significance import benjamini_hochberg, slice_excess_p_value

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Predicate(NamedTuple):
    """Rows whose column holds the value."""

    column: str
    value: str


class MetadataSlice(NamedTuple):
    """A conjunction of predicates with the counts of the rows it was searched on."""

    predicates: tuple[Predicate, ...]
    n: int
    errors: int
    p_value: float
    adjusted_p_value: float


class _Level(NamedTuple):
    """Conjunctions of one length: ids of their predicates and the rows they hold."""

    conjunctions: list[tuple[int, ...]]
    rows: list[Ints]


def find_metadata_slices(
    columns: dict[str, NDArray[np.object_] | NDArray[np.str_]],
    errors: NDArray[np.bool_],
    max_predicates: int = 2,
    min_rows: int = 20,
    min_errors: int = 5,
    level: float = 0.1,
    max_values: int = 50,
) -> list[MetadataSlice]:
    """Search conjunctions of metadata on the fit rows.

    A conjunction is tried only when all its parts are large enough and have enough errors (both counts can only fall as
    predicates are added, so the pruning loses nothing), and it is reported only when its error rate is above that of
    each of its parts. All conjunctions that were tried enter the Benjamini-Hochberg correction.

    Args:
        columns: name → values as text, [n] each; empty text counts as missing and matches nothing. Numbers are to be
            binned first (`quantile_bins`).
        errors: bool [n].
        max_predicates: longest conjunction, 1 to 3; no column is used twice.
        min_rows: fewest rows of a slice.
        min_errors: fewest errors of a slice.
        level: largest adjusted p-value that is reported.
        max_values: columns with more distinct values than this are left out (names, ids).

    Returns:
        The slices, by p-value; overlapping ones included. p-values are those of the fit rows: confirm before showing.

    Raises:
        ValueError: columns of another length, or max_predicates outside 1 … 3.

    Sources: Sagadeeva and Boehm, "SliceLine: fast, linear-algebra-based slice finding", SIGMOD 2021, for the
    pruning; Chung et al., "Slice Finder: automated data slicing for model validation", ICDE 2019.
    """
    wrong = np.asarray(errors, dtype=bool)
    if not 1 <= max_predicates <= 3:
        raise ValueError("conjunctions have one to three predicates")
    predicates, base = _base(columns, wrong, min_rows, min_errors, max_values)
    levels = [base]
    while len(levels) < max_predicates and levels[-1].conjunctions:
        levels.append(_grow(levels[-1], base, predicates, wrong, min_rows, min_errors))
    tried = [pair for grown in levels for pair in zip(grown.conjunctions, grown.rows, strict=True)]
    return _report(tried, predicates, wrong, level)


def predicate_rows(
    columns: dict[str, NDArray[np.object_] | NDArray[np.str_]], predicates: tuple[Predicate, ...]
) -> Bools:
    """Membership bool [n] of any rows in a conjunction; raises KeyError for a column that is not there."""
    parts = [np.asarray(columns[p.column]).astype(str) == p.value for p in predicates]
    return np.asarray(np.logical_and.reduce(parts), dtype=bool)


def quantile_bins(values: Floats, bins: int = 4) -> tuple[NDArray[np.str_], Floats]:
    """Turn a numeric column into text bins of equal mass.

    Args:
        values: float [n]; NaN becomes missing (empty text).
        bins: most bins; ties may merge some.

    Returns:
        `(names, edges)`: text [n] such as "0.5 to 2", and the inner edges float64 [b - 1], with which `bin_names` names
        other rows.
    """
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return np.full(len(values), "", dtype=np.str_), np.zeros(0)
    inner = np.unique(np.quantile(finite, np.linspace(0, 1, bins + 1)[1:-1]))
    inner = inner[(inner > finite.min()) & (inner <= finite.max())]
    return bin_names(values, inner), inner


def bin_names(values: Floats, edges: Floats) -> NDArray[np.str_]:
    """Text bin of each value, [lower, upper) between `edges` float64 [b - 1]; NaN becomes empty text."""
    ends = [f"{edge:.4g}" for edge in edges]
    if not ends:
        names = ["any"]
    else:
        between = [f"{a} to {b}" for a, b in pairwise(ends)]
        names = [f"below {ends[0]}", *between, f"{ends[-1]} and above"]
    index = np.searchsorted(edges, values, side="right")
    return np.where(np.isfinite(values), np.array(names)[np.minimum(index, len(names) - 1)], "")


def _base(
    columns: dict[str, NDArray[np.object_] | NDArray[np.str_]],
    wrong: Bools,
    min_rows: int,
    min_errors: int,
    max_values: int,
) -> tuple[list[Predicate], _Level]:
    predicates: list[Predicate] = []
    rows: list[Ints] = []
    for name, raw in columns.items():
        values = np.asarray(raw).astype(str)
        if values.shape != wrong.shape:
            raise ValueError(f"metadata column {name!r} has {len(values)} rows where there are {len(wrong)}")
        distinct, code = np.unique(values, return_inverse=True)
        if len(distinct) > max_values:
            continue
        for index in np.flatnonzero(distinct != ""):
            inside = np.flatnonzero(code == index)
            if len(inside) >= min_rows and wrong[inside].sum() >= min_errors and len(inside) < len(wrong):
                predicates.append(Predicate(name, str(distinct[index])))
                rows.append(inside)
    return predicates, _Level([(i,) for i in range(len(predicates))], rows)


def _grow(
    level: _Level, base: _Level, predicates: list[Predicate], wrong: Bools, min_rows: int, min_errors: int
) -> _Level:
    """Extend each conjunction by a later predicate of another column, if every shorter part survived."""
    survived = set(level.conjunctions)
    conjunctions: list[tuple[int, ...]] = []
    rows: list[Ints] = []
    inside = np.zeros(len(wrong), dtype=bool)
    for conjunction, members in zip(level.conjunctions, level.rows, strict=True):
        inside[members] = True
        used = {predicates[i].column for i in conjunction}
        for extra in range(conjunction[-1] + 1, len(predicates)):
            longer = (*conjunction, extra)
            if predicates[extra].column in used or not _parts(longer) <= survived:
                continue
            both = base.rows[extra][inside[base.rows[extra]]]
            if len(both) >= min_rows and wrong[both].sum() >= min_errors:
                conjunctions.append(longer)
                rows.append(both)
        inside[members] = False
    return _Level(conjunctions, rows)


def _parts(conjunction: tuple[int, ...]) -> set[tuple[int, ...]]:
    return {conjunction[:i] + conjunction[i + 1 :] for i in range(len(conjunction))}


def _report(
    tried: list[tuple[tuple[int, ...], Ints]], predicates: list[Predicate], wrong: Bools, level: float
) -> list[MetadataSlice]:
    n = np.array([len(rows) for _, rows in tried], dtype=np.int64)
    hits = np.array([wrong[rows].sum() for _, rows in tried], dtype=np.int64)
    p_values = slice_excess_p_value(hits, n, int(wrong.sum()), len(wrong))
    adjusted = benjamini_hochberg(p_values)
    rate = dict(zip([conjunction for conjunction, _ in tried], hits / np.maximum(n, 1), strict=True))
    found = []
    for i in np.argsort(p_values, kind="stable"):
        conjunction = tried[i][0]
        above = len(conjunction) == 1 or all(rate[conjunction] > rate[part] for part in _parts(conjunction))
        if adjusted[i] <= level and above:
            names = tuple(predicates[j] for j in conjunction)
            found.append(MetadataSlice(names, int(n[i]), int(hits[i]), float(p_values[i]), float(adjusted[i])))
    return found
