"""Which caption names a slice: the one that tells its rows from the rest of their class, in the fewest words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_TINY = 1e-12


def match_contrast(matches: Tensor, members: Tensor) -> Tensor:
    """How far better a caption matches the rows of a slice than the other rows of the class, in standard errors.

    Two-sample t statistic with pooled variance. A direction is known only up to the noise of the few errors that it
    was fitted on, and two captions may point along it equally well; of these the one that the slice's own pictures
    match is the true one. Meant for fit rows: confirm rows must not choose their own words.

    Args:
        matches: float [n, m], match of each row with each caption (features times displacements).
        members: bool [n].

    Returns:
        float32 [m], large = says what sets the slice apart; 0 where a side has fewer than two rows.

    Source: Student, "The probable error of a mean", 1908.
    """
    a, b = int(members.sum()), int((~members).sum())
    if min(a, b) < 2:
        return matches.new_zeros(matches.shape[1], dtype=torch.float32)
    inside, outside = matches[members].double(), matches[~members].double()
    squares = inside.var(0) * (a - 1) + outside.var(0) * (b - 1)
    error = (squares / (a + b - 2) * (1 / a + 1 / b)).sqrt().clamp(min=_TINY)
    return ((inside.mean(0) - outside.mean(0)) / error).float()


def preferred_order(contrast: Tensor, words: Sequence[int], tolerance: float = 1.0) -> list[int]:
    """Captions by contrast, but first the shortest that comes within a standard error of the best.

    A word that adds less than the contrast's own standard error says nothing that the data support.

    Args:
        contrast: float [m], in standard errors.
        words: words of the vocabulary in each caption.
        tolerance: in standard errors.

    Returns:
        A permutation of range(m).

    Source: the one-standard-error rule of Breiman, Friedman, Olshen, Stone, "Classification and regression trees",
    1984, section 3.4.3.
    """
    order = [int(i) for i in contrast.argsort(descending=True, stable=True)]
    if not order:
        return order
    near = [i for i in order if contrast[i] >= contrast[order[0]] - tolerance]
    first = min(near, key=lambda i: words[i])
    return [first, *(i for i in order if i != first)]
