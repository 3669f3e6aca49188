"""The nearest point of a hyperplane within [0, 1], in L∞ or L2."""

from __future__ import annotations

import torch
from torch import Tensor

from app.numerics.attacks.region import Norm

_MOST = 60


def to_hyperplane(x: Tensor, normal: Tensor, offset: Tensor, norm: Norm) -> Tensor:
    """Return the shortest change d [n, k] with normal · (x + d) = offset and x + d in [0, 1].

    Args:
        x: float [n, k], in [0, 1].
        normal: float [n, k].
        offset: float [n].
        norm: what is to be shortest.

    Where the box does not reach the hyperplane, the change is the one that comes closest to it.

    Each coordinate goes min(t s_i, room_i) towards the hyperplane, with s_i = 1 for L∞ and |normal_i| for L2 (the
    conditions of Karush, Kuhn and Tucker). What that covers is a concave, piecewise linear function of t, so that
    Newton's steps from 0 rise to the root and reach it after finitely many.
    """
    lack = offset - (normal * x).sum(1)
    way = normal.sign() * lack.sign()[:, None]
    weight = normal.abs()
    room = torch.where(way > 0, 1 - x, x)
    speed = torch.ones_like(weight) if norm == "Linf" else weight
    t = torch.zeros_like(lack)
    for _ in range(_MOST):
        gone = torch.minimum(t[:, None] * speed, room)
        short = lack.abs() - (weight * gone).sum(1)
        slope = (weight * speed * (gone < room)).sum(1)
        rise = torch.where((short > 0) & (slope > 0), short / slope.clamp_min(1e-30), torch.zeros_like(t))
        t = t + rise
        if bool((rise <= 1e-7 * t).all()):
            break
    return way * torch.minimum(t[:, None] * speed, room)
