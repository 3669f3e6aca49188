"""What kinds share that measure only some images of a split: which of these a slice holds, and shares. No torch.

Such a kind's stage leaves `positions` int64 [m], the places in the audited split that were drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits.base import RunArrays, RunFile, RunReader
from app.audits.pieces import Estimate, GroupColumn, GroupFigure
from app.numerics.groups import low_mean_p_values
from app.numerics.intervals import mean_interval, wilson_interval
from app.numerics.significance import benjamini_hochberg

MOST_ROWS = 2000
"""Drawn images whose slices a run's page looks up, evenly spread where there are more."""


LEAST = 5
"""Drawn images below which a class or slice is not shown."""
NO_SLICES = (
    "No confirmed slice of this run holds five of these images that the search for slices did not see; a larger budget "
    "draws more."
)
FALSE_MARKS = 0.05
"""Expected share of false marks among a column's marked groups."""


def drawn(split: tuple[int, int], seed: int, rows: int) -> NDArray[np.int64]:
    """Data set rows drawn without replacement, in the order of the draw: the same for every shard of the split.

    A smaller draw's rows are the first of a larger one's, whichever kind asks.
    """
    order = np.random.default_rng([seed, *split]).permutation(split[1] - split[0])
    return order[:rows] + split[0]


_IDS = ("Row i of each array is image images_rows[i], a row of the data set from 0; images_ids.json: their ids.", "")


def share(right: NDArray[Any]) -> Estimate:
    """The share of ones with Wilson's interval."""
    total = int(right.sum())
    low, high = wilson_interval(total, len(right))
    return Estimate(value=total / max(len(right), 1), low=float(low), high=float(high), n=len(right))


def mean_of(values: NDArray[Any], most: float = 1.0) -> Estimate:
    """The mean of values from 0 to `most` with its interval; Wilson's where all values are 0 or 1."""
    found = np.asarray(values, np.float64)
    if np.isin(found, (0.0, 1.0)).all():
        return share(found)
    low, high = mean_interval(found, most)
    return Estimate(value=float(found.mean()), low=low, high=high, n=len(found))


def group_column(
    reader: RunReader,
    kind: str,
    stage: str,
    values: NDArray[Any],
    *,
    key: str,
    title: str,
    good: bool = True,
    score: str = "",
    unit: str = "%",
) -> GroupColumn:
    """One figure for all images, every class and every confirmed slice with enough drawn images.

    `values` [m] are the drawn images' own, from 0: shares or other numbers. The stage leaves `positions` and `labels`.
    What is `worse` than the other images by more than chance is marked: `app.numerics.groups`, Benjamini-Hochberg
    over the column's groups.
    """
    found = np.asarray(values, np.float64)
    labels = np.asarray(reader.array(kind, stage, "labels"))
    most = max(1.0, float(found.max(initial=0.0)))
    members = {("class", int(c)): np.flatnonzero(labels == c) for c in np.unique(labels)}
    shown = {name: places for name, places in members.items() if len(places) >= LEAST}
    shown |= {("slice", finding.id): places for finding, places in slices_with_members(reader, kind, stage)}
    tested = benjamini_hochberg(low_mean_p_values(found if good else found.max(initial=0.0) - found, [*shown.values()]))
    figures = {
        name: GroupFigure(estimate=mean_of(found[places], most), worse=bool(q <= FALSE_MARKS))
        for (name, places), q in zip(shown.items(), tested, strict=True)
    }
    return GroupColumn(
        key=key,
        title=title,
        overall=mean_of(found, most),
        good=good,
        unit=unit,
        score=score,
        classes={number: figure for (type_, number), figure in figures.items() if type_ == "class"},
        slices={number: figure for (type_, number), figure in figures.items() if type_ == "slice"},
    )


def drawn_file(reader: RunReader, kind: str, stage: str, title: str, arrays: Mapping[str, str]) -> RunFile:
    """One .npz file of what a stage left of each drawn image: `arrays` are its arrays with what each says."""
    width = max(map(len, arrays), default=0) + 2
    lines = [f"{name:<{width}}{text}" for name, text in arrays.items()]
    text = "\n".join([title + ".", "", *lines, "", *_IDS])

    def read() -> RunArrays:
        rows = np.asarray(reader.array(kind, stage, "positions"), np.int64) + reader.split_start
        return RunArrays(text, {name: reader.array(kind, stage, name) for name in arrays}, {"images": rows})

    return RunFile(f"{kind}.npz", title, read)


def slices_with_members(reader: RunReader, kind: str, stage: str) -> list[tuple[Any, NDArray[np.int64]]]:
    """Return the confirmed slices (findings) with enough drawn images, and the places of these among the drawn."""
    found = reader.findings("slices", subject="slice", evidence="confirmed")
    known = _by_slice(reader, kind, stage) if found else {}
    return [
        (finding, np.array(places, np.int64)) for finding in found if len(places := known.get(finding.key, [])) >= LEAST
    ]


def _by_slice(reader: RunReader, kind: str, stage: str) -> dict[str, list[int]]:
    """Places among the drawn confirm images, by slice; of many images some that are evenly spread.

    Slices were searched on the other rows, for mistakes: those would make any figure of a slice look worse.
    """
    rows = _rows(reader, kind, stage)
    places = {row: place for place, row in enumerate(rows)}
    some = rows[:: -(-len(rows) // MOST_ROWS) or 1]
    found: dict[str, list[int]] = {}
    members = reader.memberships(some)
    for row in some:
        for key in members.get(row, ()):
            found.setdefault(key, []).append(places[row])
    return found


def of_slice(reader: RunReader, kind: str, stage: str, key: str) -> NDArray[np.int64]:
    """Places of one slice's confirm rows among the drawn images, all of them."""
    rows = _rows(reader, kind, stage)
    condition = "list_contains(slices, ?) AND role = 'confirm' AND row IN (SELECT unnest(?))"
    found = {score["row"] for score in reader.scores(condition, [key, rows], limit=len(rows))}
    return np.array([place for place, row in enumerate(rows) if row in found], np.int64)


def _rows(reader: RunReader, kind: str, stage: str) -> list[int]:
    found: list[int] = (reader.array(kind, stage, "positions") + reader.split_start).tolist()
    return found
