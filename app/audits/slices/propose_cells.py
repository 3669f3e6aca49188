"""Cells of each class's own map in which the model is often wrong; confirm rows are placed by their looks alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from app.audits.slices.measure import Candidate
from app.audits.slices.rows import Rows
from app.audits.slices.schema import Params
from app.numerics.mapcells import fit_map_cells, map_cell_scores
from app.numerics.neighbours import nearest_neighbours
from app.numerics.projection import NEIGHBOURS, flat_map

FEWEST_ROWS = 40
SAMPLE_ROWS = 2_000
LIKELY = 0.5


def by_cells(rows: Rows, params: Params, seed: int) -> Iterator[Candidate]:
    """The worst cells per class, by number of errors times error rate on fit rows."""
    for index, positions in rows.by_class():
        fit = rows.fit[positions]
        wrong = torch.from_numpy(~rows.correct[positions])
        if fit.sum() < FEWEST_ROWS or not wrong[fit].any():
            continue
        features = rows.features(positions)
        placed = _placed(features, torch.from_numpy(fit), seed)
        p_true = torch.from_numpy(np.array(rows.p_true[positions]))
        cells = fit_map_cells(placed[fit], p_true[fit], wrong[fit], seed)
        scores = map_cell_scores(cells, placed).numpy()
        for j in range(min(params.max_slices, int((cells.importance > 0).sum()))):
            yield Candidate(
                f"cells-{index}-{j}", "cells", index, positions, scores[:, j], np.asarray(scores[:, j] >= LIKELY)
            )


def _placed(features: Tensor, fit: Tensor, seed: int) -> Tensor:
    """float32 [n, 2]: fit rows laid out among themselves, each confirm row among its nearest fit rows."""
    own, other = features[fit.to(features.device)], features[~fit.to(features.device)]
    laid_out = flat_map(own, seed, sample_rows=SAMPLE_ROWS).positions
    places = torch.zeros((len(features), 2))
    places[fit] = laid_out.cpu()
    if len(other):
        found = nearest_neighbours(other, own, NEIGHBOURS)
        weight = 1 / (1 - found.similarity).clamp(min=1e-6)
        weight = weight / weight.sum(dim=1, keepdim=True)
        places[~fit] = (weight[:, :, None] * laid_out[found.indices]).sum(dim=1).cpu()
    return places
