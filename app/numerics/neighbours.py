"""Exact nearest neighbours by cosine in bounded memory, and groups of near duplicates."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

PAIRS_AT_ONCE = 4_000_000


class Neighbours(NamedTuple):
    """Nearest first: `indices` int64 [q, k] into the reference rows, `similarity` float32 [q, k] in [-1, 1]."""

    indices: Tensor
    similarity: Tensor


def nearest_neighbours(
    queries: Tensor,
    reference: Tensor,
    k: int,
    exclude_self: bool = False,
    query_block: int = 2048,
    reference_block: int = 32_768,
) -> Neighbours:
    """The k reference rows of largest cosine similarity for every query row.

    Args:
        queries: float [q, d].
        reference: float [n, d]; may be memory-mapped, blocks are read in turn.
        k: neighbours per query; at most n (n - 1 without itself).
        exclude_self: queries are the reference rows in the same order, and a row is not its own neighbour.
        query_block, reference_block: work memory is one block of products, 4 · query_block · reference_block bytes.

    Returns:
        `Neighbours`, exact; among equal similarities the row of smaller index comes first within a block.

    Raises:
        ValueError: k < 1, no reference rows, or different dimensions.
    """
    if k < 1 or len(reference) == 0 or queries.shape[1:] != reference.shape[1:]:
        raise ValueError("neighbours need k >= 1, reference rows, and one dimension on both sides")
    k = min(k, len(reference) - exclude_self)
    parts = [
        _block_neighbours(
            _unit(queries[start : start + query_block]), start, reference, k, exclude_self, reference_block
        )
        for start in range(0, len(queries), query_block)
    ]
    if not parts:
        return Neighbours(torch.zeros((0, k), dtype=torch.int64), torch.zeros((0, k)))
    indices, similarity = zip(*parts, strict=True)
    return Neighbours(torch.cat(indices), torch.cat(similarity))


def near_duplicate_groups(
    features: Tensor,
    threshold: float = 0.97,
    known_groups: NDArray[np.int64] | None = None,
    query_block: int = 2048,
    reference_block: int = 8192,
) -> NDArray[np.int64]:
    """Group rows that are linked by pairs of cosine similarity at or above the threshold.

    Args:
        features: float [n, d].
        threshold: similarity of a pair, in (-1, 1].
        known_groups: groups known already (same hash), int [n]; kept whole, and merged with what similarity links.
        query_block, reference_block: bound the work memory, also where all rows are alike; time is n² d / 2 products.

    Returns:
        int64 [n]: the group of each row, named by its smallest row index. Groups are the connected components, so two
        rows of a group may be less alike than the threshold.

    Raises:
        ValueError: known_groups of another length.
    """
    n = len(features)
    groups = np.arange(n) if known_groups is None else _first_rows(_named_all(known_groups, n))
    pending: list[NDArray[np.int64]] = []
    for start in range(0, n, query_block):
        queries = _unit(features[start : start + query_block])
        for first in range(start - start % reference_block, n, reference_block):
            products = queries @ _unit(features[first : first + reference_block]).T
            pairs = torch.nonzero(products >= threshold) + torch.tensor([start, first], device=products.device)
            pending.append(pairs[pairs[:, 0] < pairs[:, 1]].cpu().numpy())
            if sum(map(len, pending)) > PAIRS_AT_ONCE:
                groups, pending = _merge(groups, pending), []
    return _merge(groups, pending)


def exact_duplicate_groups(hashes: NDArray[np.str_] | NDArray[np.object_]) -> NDArray[np.int64]:
    """Group rows of one content hash: text [n] to int64 [n], a group named by its smallest row index."""
    return _first_rows(np.asarray(hashes).astype(str))


def _block_neighbours(
    queries: Tensor, start: int, reference: Tensor, k: int, exclude_self: bool, block: int
) -> tuple[Tensor, Tensor]:
    best = queries.new_full((len(queries), 0), 0.0)
    index = torch.zeros((len(queries), 0), dtype=torch.int64, device=queries.device)
    for first in range(0, len(reference), block):
        products = queries @ _unit(reference[first : first + block]).T
        if exclude_self:
            _hide_diagonal(products, start - first)
        top = products.topk(min(k, products.shape[1]), dim=1)
        best = torch.cat([best, top.values], dim=1)
        index = torch.cat([index, top.indices + first], dim=1)
        order = best.topk(min(k, best.shape[1]), dim=1)
        best, index = order.values, index.gather(1, order.indices)
    return index, best.clamp(-1, 1)


def _hide_diagonal(products: Tensor, offset: int) -> None:
    rows = torch.arange(len(products), device=products.device)
    columns = rows + offset
    inside = (columns >= 0) & (columns < products.shape[1])
    products[rows[inside], columns[inside]] = -torch.inf


def _merge(groups: NDArray[np.int64], found: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    pairs = np.concatenate([np.zeros((0, 2), dtype=np.int64), *found])
    n = len(groups)
    starts = np.concatenate([np.arange(n), pairs[:, 0]])
    ends = np.concatenate([groups, pairs[:, 1]])
    graph = coo_matrix((np.ones(len(starts), dtype=bool), (starts, ends)), shape=(n, n))
    return _first_rows(connected_components(graph, directed=False)[1])


def _first_rows(names: NDArray[np.int64] | NDArray[np.str_]) -> NDArray[np.int64]:
    """Name every group by its smallest row index."""
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], dtype=np.int64)


def _named_all(groups: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    if np.shape(groups) != (n,):
        raise ValueError(f"known groups must name all {n} rows")
    return groups


def _unit(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows.float(), dim=1)
