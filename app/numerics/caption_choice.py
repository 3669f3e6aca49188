"""Which caption names a slice: the one that tells its rows from the rest of their class, in the fewest words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

_TINY = 1e-12


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


def preferred_order(scores: Tensor, words: Sequence[int], tolerance: float = 0.5) -> list[int]:
    """Captions by score, but first the shortest of those that come close to the best.

    Args:
        scores: float [m], in standard deviations of meaningless captions.
        words: words of the vocabulary in each caption.
        tolerance: in the same unit; a word that adds less says nothing.

    Returns:
        A permutation of range(m).
    """
    order = [int(i) for i in scores.argsort(descending=True, stable=True)]
    if not order:
        return order
    near = [i for i in order if scores[i] >= scores[order[0]] - tolerance]
    first = min(near, key=lambda i: words[i])
    return [first, *(i for i in order if i != first)]


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


def group_effects(matches: Tensor, groups: Tensor, count: int) -> Tensor:
    """How far each group's rows match each caption above average, in standard deviations: float32 [count, m].

    Args:
        matches: float [n, m], n >= 2.
        groups: int64 [n] in [0, count).
        count: number of groups; one without rows has effect 0.
    """
    centred = (matches - matches.mean(dim=0)) / matches.std(dim=0).clamp(min=_TINY)
    sums = centred.new_zeros((count, matches.shape[1])).index_add_(0, groups, centred)
    return (sums / torch.bincount(groups, minlength=count).clamp(min=1)[:, None]).float()
