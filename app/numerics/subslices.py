"""Several error slices in one class: sub-slices of its hard side, their number chosen on held-out gain.

One direction blends the failure modes of a class. Here the hardest quarter of the rows, by out-of-fold decision value,
is split by k-means in its own principal components; each cluster becomes a linear score (its mean against the easy
rows, in the class's shrunk covariance), which holds the shared direction and what is special to the cluster. All
choices are made on cross-fitted scores of the fit rows, so that a confirm row is only ever scored.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from app.numerics.discriminant import leave_one_out_hardness, shrunk_directions
from app.numerics.kmeans import kmeans
from app.numerics.split import stratified_folds
from app.numerics.subslice_selection import choose_slices, membership_cuts

HARD_SHARE = 0.25
COMPONENTS = 8


class Subslices(NamedTuple):
    """m linear scoring functions; `features @ directions.T - offsets` is a row's score, **large = in the slice**.

    A score counts in standard deviations within the class, 0 at the mean of its easy rows; a row belongs to slice j
    when its score is at least `thresholds[j]`.
    """

    directions: Tensor
    """float32 [m, d]."""
    offsets: Tensor
    """float32 [m]."""
    thresholds: Tensor
    """float32 [m]."""
    gains: Tensor
    """float64 [m]: errors beyond the class rate that the slice adds to the ones before it, on held-out fit rows."""
    heldout: Tensor
    """float32 [n, m]: cross-fitted scores of the fit rows, for ranking fit rows without flattering them."""


class _Scorers(NamedTuple):
    directions: Tensor
    offsets: Tensor


def fit_subslices(
    features: Tensor,
    errors: Tensor,
    seed: int,
    max_slices: int = 5,
    folds: int = 5,
    max_rows: int = 20_000,
) -> Subslices:
    """Find the slices of one class on its fit rows.

    Args:
        features: float [n, d], fit rows of the class, pre-processed as for the direction.
        errors: bool [n], where the model was wrong.
        seed: seeds the folds and k-means; one seed, one result.
        max_slices: most slices to try, at least 1.
        folds: inner folds for the held-out gain; fewer where a fold would hold no error.
        max_rows: rows used for fitting; of more, a sample with the same error share is drawn and the others are
            scored only, which keeps work and memory bounded.

    Returns:
        `Subslices`, ordered by gain. There is at least one slice unless the class has fewer than four errors or
        four right rows: then m = 0 and nothing can be said.

    Raises:
        ValueError: lengths that differ.

    Source: Jain et al., "Distilling model failures as directions in latent space", 2023, for the direction; the
    number of slices and the cross-fitting are ours.
    """
    wrong = errors.to(torch.bool)
    if wrong.shape != features.shape[:1]:
        raise ValueError("features and errors must have one length")
    fewest = int(min(wrong.sum(), (~wrong).sum()))
    if fewest < 4:
        return _none(features)
    generator = np.random.default_rng(seed)
    kept = _sample(wrong, max_rows, generator)
    rows, outcome = features[kept], wrong[kept]
    fold = torch.from_numpy(stratified_folds(outcome.cpu().numpy(), min(folds, fewest // 2), generator))
    ks = range(1, max_slices + 1)
    whole = _candidates(rows, outcome, ks, seed)
    heldout = _cross_fit(rows, outcome, fold.to(features.device), whole, ks, seed)
    k, order, gains = choose_slices([h.numpy() for h in heldout], outcome.cpu().numpy())
    chosen = _Scorers(whole[k - 1].directions[order], whole[k - 1].offsets[order])
    cuts = membership_cuts(heldout[k - 1].numpy()[:, order], outcome.cpu().numpy())
    return _assemble(features, kept, chosen, heldout[k - 1][:, order], cuts, gains)


def subslice_scores(slices: Subslices, features: Tensor, block: int = 65_536) -> Tensor:
    """Score of every row in every slice.

    Args:
        slices: the fitted slices.
        features: float [N, d], pre-processed as the fit rows were; any rows of the class.
        block: rows scored at a time.

    Returns:
        float32 [N, m] on the features' device, large = in the slice.
    """
    directions, offsets = slices.directions.to(features.device), slices.offsets.to(features.device)
    out = torch.empty((len(features), len(directions)), dtype=torch.float32, device=features.device)
    for start in range(0, len(features), block):
        part = features[start : start + block].to(torch.float32)
        out[start : start + block] = part @ directions.T - offsets
    return out


def subslice_members(slices: Subslices, scores: Tensor) -> Tensor:
    """Membership bool [N, m]: `scores >= thresholds`, for scores float [N, m]."""
    return scores >= slices.thresholds.to(scores.device)


def _candidates(features: Tensor, errors: Tensor, ks: range, seed: int) -> list[_Scorers]:
    """One set of scorers for every number of slices, from the same hard rows and the same covariance."""
    rows = features.to(torch.float64)
    hardness = leave_one_out_hardness(rows, errors)
    hard = hardness >= torch.quantile(hardness, 1 - HARD_SHARE)
    cluster_rows, easy_mean = rows[hard], rows[~hard].mean(dim=0)
    basis = torch.linalg.svd(cluster_rows - cluster_rows.mean(dim=0), full_matrices=False)[2][:COMPONENTS]
    reduced = cluster_rows @ basis.T
    generator = torch.Generator().manual_seed(seed)
    labels = [kmeans(reduced, k, generator).labels for k in ks]
    means = [_group_means(cluster_rows, label) for label in labels]
    residuals = torch.cat([cluster_rows - means[-1][labels[-1]], rows[~hard] - easy_mean])
    directions = shrunk_directions(torch.cat(means) - easy_mean, residuals)
    sizes = [len(m) for m in means]
    return [_Scorers(part, part @ easy_mean) for part in torch.split(directions, sizes)]


def _group_means(rows: Tensor, labels: Tensor) -> Tensor:
    one_hot = torch.nn.functional.one_hot(labels).to(rows.dtype)
    return one_hot.T @ rows / one_hot.sum(dim=0).clamp(min=1)[:, None]


def _cross_fit(
    features: Tensor, errors: Tensor, fold: Tensor, whole: list[_Scorers], ks: range, seed: int
) -> list[Tensor]:
    """Held-out scores [n, k] for every k: each fold is scored by slices found without it."""
    heldout = [torch.zeros((len(features), len(w.directions)), dtype=torch.float32) for w in whole]
    for index in range(int(fold.max()) + 1):
        out = fold == index
        for scorers, target, scores in zip(
            _candidates(features[~out], errors[~out], ks, seed + 1 + index), whole, heldout, strict=True
        ):
            part = features[out].to(torch.float64) @ scorers.directions.T - scorers.offsets
            scores[out.cpu()] = _aligned(part, scorers.directions, target.directions).float().cpu()
    return heldout


def _aligned(scores: Tensor, directions: Tensor, target: Tensor) -> Tensor:
    """Reorder the columns so that each stands for the most similar slice of the whole fit."""
    cosine = torch.nn.functional.normalize(target, dim=1) @ torch.nn.functional.normalize(directions, dim=1).T
    width = min(cosine.shape)
    rows, columns = linear_sum_assignment(cosine.cpu().numpy(), maximize=True)
    out = torch.zeros((len(scores), len(target)), dtype=scores.dtype, device=scores.device)
    out[:, rows[:width]] = scores[:, columns[:width]]
    return out


def _sample(errors: Tensor, max_rows: int, generator: np.random.Generator) -> Tensor:
    n = len(errors)
    if n <= max_rows:
        return torch.arange(n, device=errors.device)
    fold = stratified_folds(errors.cpu().numpy(), -(-n // max_rows), generator)
    return torch.from_numpy(np.flatnonzero(fold == 0)).to(errors.device)


def _assemble(
    features: Tensor, kept: Tensor, chosen: _Scorers, heldout: Tensor, cuts: np.ndarray, gains: np.ndarray
) -> Subslices:
    slices = Subslices(
        chosen.directions.float(),
        chosen.offsets.float(),
        torch.from_numpy(cuts).float().to(features.device),
        torch.from_numpy(gains),
        heldout,
    )
    if len(kept) == len(features):
        return slices
    scores = subslice_scores(slices, features).cpu()
    scores[kept.cpu()] = heldout
    return slices._replace(heldout=scores)


def _none(features: Tensor) -> Subslices:
    empty = features.new_zeros(0, dtype=torch.float32)
    return Subslices(
        features.new_zeros((0, features.shape[1]), dtype=torch.float32),
        empty,
        empty,
        torch.zeros(0, dtype=torch.float64),
        torch.zeros((len(features), 0)),
    )
