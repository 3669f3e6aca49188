"""What each method proposes, from fit rows; membership of confirm rows never depends on their outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from app.audits.slices.measure import Candidate
from app.audits.slices.rows import Rows
from app.audits.slices.schema import Params
from app.numerics.subslices import fit_subslices, subslice_members, subslice_scores

Proposer = Callable[[Rows, Params, int], Iterator[Candidate]]


def by_direction(rows: Rows, params: Params, seed: int) -> Iterator[Candidate]:
    """Several slices per class: sub-slices of the hard side of the class's direction."""
    for index, positions in rows.by_class():
        if not len(positions):
            continue
        features = rows.features(positions)
        fit = rows.fit[positions]
        wrong = torch.from_numpy(~rows.correct[positions]).to(features.device)
        found = fit_subslices(features[fit], wrong[fit], seed, params.max_slices)
        scores = subslice_scores(found, features)
        member = subslice_members(found, scores).cpu().numpy()
        values = scores.cpu().numpy()
        for j in range(member.shape[1]):
            yield Candidate(
                f"direction-{index}-{j}",
                "direction",
                index,
                positions,
                values[:, j].astype(np.float32),
                member[:, j],
                found.directions[j].cpu(),
            )


PROPOSERS: dict[str, Proposer] = {"direction": by_direction}
