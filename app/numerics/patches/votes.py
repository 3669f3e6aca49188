"""Votes of a classifier that sees one band or block of an image at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Network = Callable[[Tensor], Tensor]
"""float32 [b, c, h, w] → logits [b, C]."""


@torch.no_grad()
def block_votes(
    network: Network, images: Tensor, rows: Tensor, columns: Tensor, fill: Tensor, threshold: float, batch_size: int
) -> Tensor:
    """Votes for each class at each position of a block, bool [n, row positions, column positions, C].

    Everything outside the block becomes `fill`, in place of the two extra channels by which Levine and Feizi (2020,
    section 3.2) tell their own networks that a pixel is missing. A class whose softmax reaches the threshold gets a
    vote, so that a block may vote for several classes or abstain; at a threshold of 0 the largest alone gets it.

    Args:
        network: logits for images.
        images: float32 [n, c, h, w].
        rows: bool [row positions, h], see `bands.kept`; one row of true for columns.
        columns: bool [column positions, w].
        fill: float32 [c].
        threshold: in [0, 1).
        batch_size: images that the network is shown at once.
    """
    shape = (len(rows), len(columns))
    pairs = torch.cartesian_prod(torch.arange(len(images)), torch.arange(shape[0] * shape[1]))
    rows, columns, colour = rows.to(images.device), columns.to(images.device), fill.to(images)[:, None, None]
    found = []
    for part in torch.split(pairs, batch_size):
        image, place = part.to(images.device).unbind(1)
        seen = rows[place // shape[1], :, None] & columns[place % shape[1], None, :]
        found.append(cast(network(torch.where(seen[:, None], images[image], colour)), threshold))
    return torch.cat(found).view(len(images), *shape, -1)


def cast(logits: Tensor, threshold: float) -> Tensor:
    """Votes of logits [b, C]: bool [b, C]."""
    if threshold:
        return logits.softmax(1) >= threshold
    return torch.zeros_like(logits, dtype=torch.bool).scatter_(1, logits.argmax(1, keepdim=True), True)
