"""What votes prove: certificates of smoothing over bands, for any patch and for a patch at a given place.

Source: Levine and Feizi, "(De)Randomized Smoothing for Certifiable Defense against Patch Attacks", 2020, theorem 1;
Salman et al., "Certified Patch Robustness via Smoothed Vision Transformers", 2022, section 2.
"""

from __future__ import annotations

import torch
from torch import Tensor


def predicted(counts: Tensor) -> Tensor:
    """The class with most votes, int64 [n], of counts [n, C]; the smaller index where they are equal."""
    classes = counts.shape[1]
    return (counts.long() * classes - torch.arange(classes, device=counts.device)).argmax(1)


def certified(counts: Tensor, labels: Tensor, met: int, *, strict: bool = False) -> Tensor:
    """Whether no patch that meets at most `met` bands turns the prediction from the label, bool [n].

    The patch can take a vote from the label in each band and give one to another class: the label must lead by
    2 · met, and by one more against classes of smaller index, which win ties (`strict`: against every class).

    Args:
        counts: votes, [n, C], whole numbers; a band may vote for several classes, or for none.
        labels: int64 [n].
        met: the most bands that a patch meets.
        strict: Salman et al.'s rule, which counts no tie as won.
    """
    return _lead(counts.long(), labels, strict=strict) >= 2 * met


def reserve(totals: Tensor, there: Tensor, met: Tensor, label: int) -> Tensor:
    """By how many votes the label still wins at the worst contents of a patch at each place; it wins from 0 up.

    Only the bands that the patch meets are lost: all their votes for the label go, and each votes for another class.

    Args:
        totals: votes of the unchanged image, [C].
        there: those that come from bands which the patch meets, [places, C].
        met: how many bands it meets, [places].
        label: the class to keep.

    Returns:
        int64 [places].
    """
    left = totals.long() - there.long()
    against = left + met.long()[:, None]
    against[:, label] = left[:, label]
    return _lead(against, torch.full((len(left),), label, device=left.device), strict=False)


def _lead(counts: Tensor, labels: Tensor, *, strict: bool) -> Tensor:
    """Votes of the label less the most of any other class, one more where that class wins a tie."""
    own = counts.gather(1, labels[:, None])
    index = torch.arange(counts.shape[1], device=counts.device)
    rivals = counts + (1 if strict else (index < labels[:, None]).long())
    rivals.scatter_(1, labels[:, None], torch.iinfo(torch.int64).min // 2)
    return own[:, 0] - rivals.amax(1)
