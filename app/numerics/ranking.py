"""Ranking rows by what a person marked or described, fast enough to answer while they wait."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

RIDGE = 0.1


def marked_direction(inside: Tensor, outside: Tensor, ridge: float = RIDGE) -> Tensor:
    """Direction that separates rows marked "in" from rows marked "out".

    Ridge regression of +1 and -1 on the unit rows, both sides weighing the same, intercept free; the ridge is `ridge`
    times the mean squared singular value. Solved in the number of marks, not of dimensions.

    Args:
        inside: float [a, d], at least one row; rows are brought to unit length.
        outside: float [b, d], at least one row: marked rows, or a sample of the others when nothing was marked "out".
        ridge: how much the marks are distrusted; large = the difference of the means.

    Returns:
        float32 [d] of unit length, pointing to "in"; 0 when the two sides do not differ.

    Raises:
        ValueError: a side without rows.

    Source: Hoerl and Kennard, "Ridge regression", 1970; the loop is relevance feedback as in Rocchio 1971.
    """
    if len(inside) == 0 or len(outside) == 0:
        raise ValueError("mark at least one row in and one row out")
    rows = normalize(torch.cat([inside, outside]).double(), dim=1)
    target = torch.cat([rows.new_ones(len(inside)), -rows.new_ones(len(outside))])
    weight = torch.cat([rows.new_full((len(part),), 0.5 / len(part)) for part in (inside, outside)])
    root = weight.sqrt()[:, None]
    centred = root * (rows - weight @ rows)
    gram = centred @ centred.T
    gram.diagonal().add_(ridge * gram.diagonal().mean().clamp(min=1e-12))
    dual = torch.linalg.solve(gram, root[:, 0] * (target - weight @ target))
    return normalize(centred.T @ dual, dim=0).float()


def rank_scores(features: Tensor, direction: Tensor, block: int = 65_536) -> Tensor:
    """Cosine of every row with a direction (marked rows, a text difference, or an image).

    Args:
        features: float [n, d]; may be memory-mapped, read block by block; need not be of unit length.
        direction: float [d].
        block: rows at a time.

    Returns:
        float32 [n] in [-1, 1], **large = alike**; rows or directions of length 0 score 0.
    """
    unit = normalize(direction.float(), dim=0).to(features.device)
    scores = torch.empty(len(features), dtype=torch.float32, device=features.device)
    for start in range(0, len(features), block):
        part = features[start : start + block].float()
        length = torch.linalg.vector_norm(part, dim=1).clamp(min=1e-12)
        scores[start : start + block] = (part @ unit) / length
    return scores


def top_share(scores: Tensor, share: float) -> Tensor:
    """Membership bool [n] of the given share, in (0, 1], of rows with the largest scores; at least one row.

    Among equal scores the earlier row comes first.

    Raises:
        ValueError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"the share must lie in (0, 1], not {share}")
    members = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    members[scores.argsort(descending=True, stable=True)[: max(1, round(share * len(scores)))]] = True
    return members
