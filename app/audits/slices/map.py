"""Stage `map`: a stratified choice of rows laid out in two dimensions, errors first."""

from __future__ import annotations

import math

import numpy as np

from app.audits.base import Inputs, Result
from app.audits.slices.rows import Rows, load
from app.numerics.projection import flat_map

SAMPLE_ROWS = 5_000


def draw(inputs: Inputs) -> Result:
    """Lay out at most `map_points` rows; the page says how many are left out."""
    rows = load(inputs, inputs.earlier["slices"])
    points = choose(rows, inputs.params.map_points, inputs.seed)
    inputs.progress(0.2, "Laying out the map")
    placed = flat_map(rows.features(points), inputs.seed, rows.labels[points], SAMPLE_ROWS) if len(points) else None
    trusted = placed is not None and not math.isnan(placed.trustworthiness)
    return Result(
        summary={
            "map_points": len(points),
            "map_left_out": int(rows.audited.sum()) - len(points),
            "map_trustworthiness": placed.trustworthiness if placed is not None and trusted else None,
        },
        details={
            "xy": placed.positions.cpu().numpy() if placed is not None else np.zeros((0, 2), np.float32),
            "points": points,
        },
    )


def choose(rows: Rows, most: int, seed: int) -> np.ndarray:
    """Return positions, ascending int64 [≤ most]: errors before right rows, spread evenly over the classes."""
    audited = np.flatnonzero(rows.audited)
    if len(audited) <= most:
        return audited
    generator = np.random.default_rng([seed, 5])
    shuffled = generator.permutation(audited)
    turn = np.empty(len(shuffled), np.int64)
    order = np.argsort(rows.labels[shuffled], kind="stable")
    starts = np.searchsorted(rows.labels[shuffled][order], rows.labels[shuffled][order])
    turn[order] = np.arange(len(order)) - starts
    ranked = np.lexsort((turn, rows.correct[shuffled]))
    return np.sort(shuffled[ranked[:most]])
