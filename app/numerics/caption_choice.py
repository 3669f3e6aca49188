"""Which caption names a slice: the one that tells its rows from the rest of their class, in the fewest words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

_TINY = 1e-12
_FEWEST = 3
"""Rows below which a regression says nothing."""


def composed_moves(word_moves: Tensor, parts: Sequence[Sequence[int]]) -> Tensor:
    """Displacement of a caption as the unit sum of the displacements of its words.

    A small text tower blurs two attributes of one sentence; each alone it places well. On drawn scenes with known
    factors the sum finds the true pair where the whole sentence does not (`benchmarks/planted_captions.py`).

    Args:
        word_moves: float [w, d], unit rows.
        parts: indices into the words, one sequence a caption.

    Returns:
        float32 [m, d], unit rows.

    Source: additive composition, Mitchell and Lapata, "Vector-based models of semantic composition", 2008.
    """
    sums = [word_moves[list(part)].sum(dim=0) for part in parts]
    return normalize(torch.stack(sums).float(), dim=1) if sums else word_moves.new_zeros((0, word_moves.shape[1]))


def group_direction(features: Tensor, members: Tensor) -> Tensor:
    """Where a group's rows lie from the other rows: mean less mean, float32 [d]; 0 when a side is empty.

    What a discriminant leaves out because it varies within the class too is part of what a group looks like, so words
    are matched with the means and not with the discriminant.

    Args:
        features: float [n, d], fit rows of the class: confirm rows must not choose their own words.
        members: bool [n].
    """
    if not members.any() or members.all():
        return features.new_zeros(features.shape[1], dtype=torch.float32)
    return (features[members].mean(dim=0) - features[~members].mean(dim=0)).float()


def caption_evidence(matches: Tensor, group: Tensor, parts: Sequence[Sequence[int]]) -> Tensor:
    """How much each caption explains which rows are in a group, less what chance and choice would explain, in nats.

    Membership is regressed on how well the rows match the caption's words (Fisher's discriminant by least squares), and
    the gain in log-likelihood over no caption is charged for the words: `-n/2 log(1 - R^2) - k/2 log n - log C(w, k)`,
    half the extended Bayesian information criterion. Many words, and many to choose from, so make no caption better.

    Args:
        matches: float [n, w], how well each fit row matches each word: confirm rows must not choose their words.
        group: bool [n].
        parts: indices of the words of each caption, one to three.

    Returns:
        float64 [m]; above 0 where the caption says more than none. Minus infinity where a word of it is found less
        often in the group, the others given, or does not vary, or where one side is empty.

    Source: Chen and Chen, "Extended Bayesian information criteria for model selection with large model spaces",
    Biometrika 2008, with gamma = 1.
    """
    n, w = matches.shape
    evidence = torch.full((len(parts),), -math.inf, dtype=torch.float64)
    if n < _FEWEST or not group.any() or group.all():
        return evidence
    unit = _unit_columns(matches.double())
    between, toward = unit.T @ unit, unit.T @ _unit_columns(group.double()[:, None])[:, 0]
    for k in sorted({len(part) for part in parts}):
        chosen = [i for i, part in enumerate(parts) if len(part) == k]
        words = torch.tensor([list(parts[i]) for i in chosen])
        gain, weights = _least_squares(between[words[:, :, None], words[:, None, :]], toward[words])
        value = -0.5 * n * torch.log1p(-gain) - 0.5 * k * math.log(n) - math.log(math.comb(w, k))
        evidence[chosen] = torch.where((weights > 0).all(dim=1), value, -math.inf)
    return evidence


def _least_squares(between: Tensor, toward: Tensor) -> tuple[Tensor, Tensor]:
    """R^2 [m] and weights [m, k], from correlations [m, k, k] among words and [m, k] of the words with the group."""
    ridge = _TINY * torch.eye(between.shape[1], dtype=between.dtype)
    weights = torch.linalg.solve(between + ridge, toward[:, :, None])[:, :, 0]
    return (weights * toward).sum(dim=1).clamp(0.0, 1.0 - _TINY), weights


def _unit_columns(values: Tensor) -> Tensor:
    """Columns centred and of length 1; a constant one is 0."""
    centred = values - values.mean(dim=0)
    length = centred.norm(dim=0)
    return torch.where(length > _TINY * values.abs().amax(dim=0), centred / length.clamp(min=_TINY), 0.0)


def told_apart(features: Tensor, moves: Tensor, null_moves: Tensor, level: float = 0.95) -> Tensor:
    """Words along which these pictures differ more than along words that mean nothing.

    An encoder places words that it never learnt anywhere, and a slice can lie there by chance. A word that no picture
    of the data shows more than any other cannot set a slice apart.

    Args:
        features: float [n, d], fit rows, n >= 2.
        moves: float [m, d], displacements of the words.
        null_moves: float [m0, d], displacements of the null bank.
        level: quantile of the null bank's spread that a word must exceed.

    Returns:
        bool [m].
    """
    spread, null = ((features @ part.T).std(dim=0) for part in (moves, null_moves))
    return spread > torch.quantile(null, level)
