"""A flat map of embeddings: t-SNE of a stratified sample, all other rows placed among their neighbours."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from openTSNE import TSNE
from torch import Tensor

from app.numerics.pca import principal_components, project
from app.numerics.split import rank_within

COMPONENTS = 50
NEIGHBOURS = 10
SMALLEST = 10


class FlatMap(NamedTuple):
    """Places of all rows and how far they can be trusted."""

    positions: Tensor
    """float32 [n, 2]; distances along both axes are comparable, absolute values mean nothing."""
    sample: Tensor
    """int64 [s], rows that t-SNE laid out itself."""
    trustworthiness: float
    """In [0, 1], 1 = neighbours on the map are neighbours before; NaN below ten rows or if all are equal."""
    trust_n: int
    """Rows that `trustworthiness` was measured on."""


def flat_map(
    features: Tensor,
    seed: int,
    strata: ArrayLike | None = None,
    sample_rows: int = 5000,
    perplexity: float = 30.0,
    iterations: int = 250,
    trust_rows: int = 2000,
) -> FlatMap:
    """Lay out rows in two dimensions.

    Rows are reduced to 50 principal components; t-SNE starts from the first two (Kobak and Berens 2019). A row outside
    the sample takes the mean place of its ten nearest sample rows, weighted by inverse distance.

    Args:
        features: float [n, d]; may be memory-mapped.
        seed: seeds the sample and t-SNE; one seed, one map.
        strata: stratum of each row, int [n]; each is sampled in proportion, the first row of each before the rest.
        sample_rows: rows laid out by t-SNE; 5,000 take some ten seconds of one core, and time grows in proportion.
        perplexity: effective number of neighbours; lowered for few rows.
        iterations: t-SNE steps of each of its two phases.
        trust_rows: rows on which trustworthiness is measured.

    Returns:
        `FlatMap`. Fewer than ten rows are placed by their principal components alone, equal rows all at 0.

    Sources: van der Maaten and Hinton 2008; Linderman et al., "FIt-SNE", 2019; Poličar, Stražar, Zupan, "openTSNE",
    2019; Kobak and Berens, "The art of using t-SNE for single-cell transcriptomics", 2019.
    """
    n = len(features)
    generator = np.random.default_rng(seed)
    sample = _sample(n, strata, sample_rows, generator)
    if n < SMALLEST:
        return FlatMap(_by_components(features), sample, float("nan"), 0)
    components = principal_components(features[sample], COMPONENTS)
    if float(components.variance[0]) == 0:
        return FlatMap(torch.zeros((n, 2), device=features.device), sample, float("nan"), 0)
    reduced = project(components, features)
    placed = _lay_out(reduced[sample], seed, perplexity, iterations)
    positions = _place_all(reduced, sample, placed)
    tested = torch.from_numpy(np.sort(generator.permutation(n)[:trust_rows]))
    return FlatMap(positions, sample, trustworthiness(reduced[tested], positions[tested]), len(tested))


def trustworthiness(original: Tensor, placed: Tensor, neighbours: int = 10) -> float:
    """How far neighbours on the map are neighbours before: 1 = all, in [0, 1].

    `1 - 2 / (n k (2n - 3k - 1)) sum over rows, over neighbours on the map, of max(0, original rank - k)`.

    Args:
        original: float [n, d].
        placed: float [n, 2].
        neighbours: k, lowered to below n / 2.

    Returns:
        The trustworthiness; NaN for fewer than four rows. Memory is 3 n² numbers: pass a sample.

    Source: Venna and Kaski, "Neighborhood preservation in nonlinear projection methods", 2001.
    """
    n = len(original)
    k = min(neighbours, (n - 1) // 2)
    if k < 1:
        return float("nan")
    far = torch.full((n,), torch.inf, device=original.device)
    before = (torch.cdist(original.float(), original.float()) + torch.diag(far)).argsort(dim=1)
    rank = torch.empty_like(before)
    rank.scatter_(1, before, torch.arange(1, n + 1, device=before.device).expand(n, n))
    nearest = (torch.cdist(placed.float(), placed.float()) + torch.diag(far)).topk(k, dim=1, largest=False).indices
    penalty = (rank.gather(1, nearest) - k).clamp(min=0).sum()
    return 1 - float(penalty) * 2 / (n * k * (2 * n - 3 * k - 1))


def _sample(n: int, strata: ArrayLike | None, count: int, generator: np.random.Generator) -> Tensor:
    codes = np.zeros(n, dtype=np.int64) if strata is None else np.unique(np.asarray(strata), return_inverse=True)[1]
    size = np.bincount(codes, minlength=1)[codes]
    rank = rank_within(codes, generator)
    order = np.lexsort((rank / np.maximum(size, 1), rank > 0))
    return torch.from_numpy(np.sort(order[:count]))


def _by_components(features: Tensor) -> Tensor:
    out = torch.zeros((len(features), 2), dtype=torch.float32, device=features.device)
    if len(features) >= 2:
        found = project(principal_components(features, 2), features)
        out[:, : found.shape[1]] = found
    return out


def _lay_out(rows: Tensor, seed: int, perplexity: float, iterations: int) -> NDArray[np.float64]:
    model = TSNE(
        perplexity=min(perplexity, (len(rows) - 1) / 3),
        initialization="pca",
        negative_gradient_method="bh" if len(rows) < 1000 else "fft",
        early_exaggeration_iter=iterations,
        n_iter=iterations,
        random_state=seed,
        n_jobs=1,
    )
    return np.asarray(model.fit(rows.cpu().double().numpy()), dtype=np.float64)


def _place_all(reduced: Tensor, sample: Tensor, placed: NDArray[np.float64], block: int = 4096) -> Tensor:
    anchors, places = reduced[sample], torch.from_numpy(placed).float().to(reduced.device)
    positions = torch.empty((len(reduced), 2), dtype=torch.float32, device=reduced.device)
    for start in range(0, len(reduced), block):
        distance, index = torch.cdist(reduced[start : start + block], anchors).topk(
            min(NEIGHBOURS, len(anchors)), dim=1, largest=False
        )
        weight = 1 / distance.clamp(min=1e-9)
        weight = weight / weight.sum(dim=1, keepdim=True)
        positions[start : start + block] = (weight[:, :, None] * places[index]).sum(dim=1)
    positions[sample] = places
    return positions
