"""Self-calibration: plant a slice in the user's own data and see which method finds it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from app.numerics.intervals import Floats


class PlantedSlice(NamedTuple):
    """Outcomes with one slice planted in one class, all else as it was."""

    members: Tensor
    """bool [n], the rows of the planted slice."""
    errors: Tensor
    """bool [n], the outcomes with the slice planted."""
    center: int
    """Row around which the slice was planted."""


class Recovery(NamedTuple):
    """How well the best-matching slice of a method ranks the planted rows, each in [0, 1], 1 = best."""

    precision_at_10: float
    precision_at_25: float
    average_precision: float
    slice_index: int


def plant_slice(
    features: Tensor,
    errors: Tensor,
    generator: torch.Generator,
    prevalence: float = 0.1,
    error_rate: float = 0.6,
    block: int = 65_536,
) -> PlantedSlice:
    """Let a random embedding cluster of one class fail.

    The cluster is a random row and its nearest rows by cosine. The outcomes of its rows are drawn anew at
    `error_rate`; those of all other rows are shuffled among themselves, so that the planted slice is the only one.

    Args:
        features: float [n, d], rows of one class, n >= 10.
        errors: bool [n], the true outcomes.
        generator: CPU generator, source of all draws.
        prevalence: share of the rows in the slice, in (0, 0.5].
        error_rate: share of the slice's rows that fail, in (0, 1].
        block: rows at a time.

    Returns:
        `PlantedSlice`.

    Raises:
        ValueError: fewer than ten rows, or shares out of range.

    Source: after dcbench (Eyuboglu et al. 2022) and SpotCheck (Plumb et al. 2023), on the user's own rows.
    """
    n = len(features)
    if n < 10 or not 0 < prevalence <= 0.5 or not 0 < error_rate <= 1:
        raise ValueError("planting needs ten rows, a prevalence in (0, 0.5] and an error rate in (0, 1]")
    center = int(torch.randint(n, (1,), generator=generator))
    reference = torch.nn.functional.normalize(features[center].float(), dim=0)
    parts = [torch.nn.functional.normalize(part.float(), dim=1) @ reference for part in torch.split(features, block)]
    members = torch.zeros(n, dtype=torch.bool, device=features.device)
    members[torch.cat(parts).topk(max(5, round(prevalence * n))).indices] = True
    outcome = errors.to(torch.bool).clone()
    outside = torch.nonzero(~members)[:, 0]
    order = torch.randperm(len(outside), generator=generator).to(outside.device)
    outcome[outside] = outcome[outside[order]]
    draws = torch.rand(int(members.sum()), generator=generator).to(features.device)
    outcome[members] = draws < error_rate
    return PlantedSlice(members, outcome, center)


def recovery(scores: Tensor, members: Tensor) -> Recovery:
    """Precision at 10 and 25 and average precision of the method's best slice.

    Args:
        scores: float [n, m], one column per predicted slice, **large = in the slice**; rank confirm rows or held-out
            scores, never scores of the rows that a method was fitted on.
        members: bool [n], the planted rows among the same rows.

    Returns:
        `Recovery` of the slice with the best average precision; precision at k counts k = min(k, n) rows. Without
        slices or without planted rows everything is 0 and the index -1.

    Source: dcbench's protocol, Eyuboglu et al. 2022, section 5; average precision as in Manning, Raghavan, Schütze,
    "Introduction to information retrieval", section 8.4.
    """
    truth = members.to(torch.bool).cpu().numpy()
    if scores.shape[1] == 0 or not truth.any():
        return Recovery(0.0, 0.0, 0.0, -1)
    order = torch.argsort(scores, dim=0, descending=True, stable=True).cpu().numpy()
    hits = truth[order]
    average = _average_precision(hits)
    best = int(np.argmax(average))
    return Recovery(float(hits[:10, best].mean()), float(hits[:25, best].mean()), float(average[best]), best)


def _average_precision(hits: np.ndarray) -> Floats:
    found = np.cumsum(hits, axis=0)
    precision = found / np.arange(1, len(hits) + 1)[:, None]
    return np.asarray((precision * hits).sum(axis=0) / hits.sum(axis=0))
