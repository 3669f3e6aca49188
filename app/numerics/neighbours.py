"""Exact nearest neighbours by cosine in bounded memory."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Neighbours(NamedTuple):
    """Nearest first: `indices` int64 [q, k] into the reference rows, `similarity` float32 [q, k] in [-1, 1]."""

    indices: Tensor
    similarity: Tensor


def nearest_neighbours(
    queries: Tensor,
    reference: Tensor,
    k: int,
    query_block: int = 2048,
    reference_block: int = 32_768,
) -> Neighbours:
    """The k reference rows of largest cosine similarity for every query row.

    Args:
        queries: float [q, d].
        reference: float [n, d]; may be memory-mapped, blocks are read in turn.
        k: neighbours per query; capped at n.
        query_block, reference_block: work memory is one block of products, 4 · query_block · reference_block bytes.

    Returns:
        `Neighbours`, exact; among equal similarities the row of smaller index comes first within a block.

    Raises:
        ValueError: k < 1, no reference rows, or different dimensions.
    """
    if k < 1 or len(reference) == 0 or queries.shape[1:] != reference.shape[1:]:
        raise ValueError("neighbours need k >= 1, reference rows, and one dimension on both sides")
    k = min(k, len(reference))
    parts = [
        _block_neighbours(_unit(queries[start : start + query_block]), reference, k, reference_block)
        for start in range(0, len(queries), query_block)
    ]
    if not parts:
        return Neighbours(torch.zeros((0, k), dtype=torch.int64), torch.zeros((0, k)))
    indices, similarity = zip(*parts, strict=True)
    return Neighbours(torch.cat(indices), torch.cat(similarity))


def _block_neighbours(queries: Tensor, reference: Tensor, k: int, block: int) -> tuple[Tensor, Tensor]:
    best = queries.new_full((len(queries), 0), 0.0)
    index = torch.zeros((len(queries), 0), dtype=torch.int64, device=queries.device)
    for first in range(0, len(reference), block):
        products = queries @ _unit(reference[first : first + block]).T
        top = products.topk(min(k, products.shape[1]), dim=1)
        best = torch.cat([best, top.values], dim=1)
        index = torch.cat([index, top.indices + first], dim=1)
        order = best.topk(min(k, best.shape[1]), dim=1)
        best, index = order.values, index.gather(1, order.indices)
    return index, best.clamp(-1, 1)


def _unit(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows.float(), dim=1)
