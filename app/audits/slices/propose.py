"""What each method proposes, from fit rows; membership of confirm rows never depends on their outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from app.audits.slices.measure import Candidate
from app.audits.slices.propose_cells import by_cells
from app.audits.slices.propose_metadata import by_metadata
from app.audits.slices.rows import Rows
from app.audits.slices.schema import Params
from app.numerics.mixture import error_mixture_scores, fit_error_mixture
from app.numerics.subslices import fit_subslices, subslice_members, subslice_scores

FEWEST_ROWS = 20
FEWEST_WRONG = 5
MIXTURE_ROWS = 20_000
"""Fit rows of all classes together, though each has at least `MIXTURE_OF_CLASS`."""
MIXTURE_OF_CLASS = 250
LIKELY = 0.5
UNSURE_SHARE = 0.1
UNSURE = "Where the model is least sure"

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


def by_mixture(rows: Rows, params: Params, seed: int) -> Iterator[Candidate]:
    """Clusters of a class that look alike and are mistaken alike; a row's own prediction does not place it.

    One class at a time, as in the published comparisons, whose tasks are one class against the rest: over all classes
    together the largest few gaps belong to the worst class.
    """
    most = max(MIXTURE_OF_CLASS, MIXTURE_ROWS // max(len(rows.classes), 1))
    for index, positions in rows.by_class():
        generator = np.random.default_rng([seed, 2, index])
        fit = generator.permutation(positions[rows.fit[positions]])[:most]
        if len(fit) < FEWEST_ROWS or (~rows.correct[fit]).sum() < FEWEST_WRONG:
            continue
        features = rows.features(np.sort(fit))
        labels, predictions = (
            torch.from_numpy(values[np.sort(fit)]).to(features.device) for values in (rows.labels, rows.predictions)
        )
        fitted = fit_error_mixture(features, labels, predictions, seed, slices=params.max_slices)
        own = torch.from_numpy(rows.labels[positions]).to(features.device)
        scores = error_mixture_scores(fitted, rows.features(positions), own).cpu().numpy()
        for j in range(scores.shape[1]):
            yield Candidate(f"mixture-{index}-{j}", "mixture", index, positions, scores[:, j], scores[:, j] >= LIKELY)


def by_confidence(rows: Rows, params: Params, seed: int) -> Iterator[Candidate]:
    """The baseline: images of a class on which the model is least sure of whatever it says."""
    for index, positions in rows.by_class():
        fit = rows.fit[positions]
        if fit.sum() < FEWEST_ROWS:
            continue
        scores = (1 - rows.confidence[positions]).astype(np.float32)
        cut = np.quantile(scores[fit], 1 - UNSURE_SHARE)
        yield Candidate(f"confidence-{index}", "confidence", index, positions, scores, scores > cut, note=UNSURE)


PROPOSERS: dict[str, Proposer] = {
    "direction": by_direction,
    "mixture": by_mixture,
    "metadata": by_metadata,
    "cells": by_cells,
    "confidence": by_confidence,
}
