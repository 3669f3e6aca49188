"""Error-aware mixture slices: clusters that look alike and are mistaken alike (Domino)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from app.numerics.gaussian_mixture import Mixture, fit_mixture, responsibilities
from app.numerics.pca import Components, principal_components, project

START_NOISE = 1e-3
"""Of a share of 1, as in the published code."""


class ErrorMixture(NamedTuple):
    """m components of a mixture over embedding, label and prediction, the slices among them."""

    components: Components
    mixture: Mixture
    chosen: Tensor
    """int64 [m], the components that are slices, largest gap first."""
    gaps: Tensor
    """float64 [m]: the largest difference, over classes, between the share labelled c and the share predicted c."""
    labels: Tensor
    """int64 [m], the most frequent true class."""
    mistaken_for: Tensor
    """int64 [m], the most frequent prediction among classes other than `labels`."""
    category_weight: float


def fit_error_mixture(
    features: Tensor,
    labels: Tensor,
    predictions: Tensor,
    seed: int,
    components: int = 25,
    slices: int = 5,
    dimensions: int = 128,
    category_weight: float = 10.0,
    max_rows: int = 50_000,
) -> ErrorMixture:
    """Fit the mixture on fit rows and keep the components of largest gap between labels and predictions.

    EM starts from the cells of the confusion matrix, as the published code does: from clusters of the embedding alone,
    mistakes rarely get a component of their own.

    Args:
        features: float [n, d] embeddings, any scale; reduced to `dimensions` principal components.
        labels, predictions: int64 [n], classes from 0.
        seed: seeds k-means++ and the sample.
        components: mixture components (25 in the paper).
        slices: how many to return (5 in the paper).
        dimensions: principal components kept (128 in the paper).
        category_weight: weight of the log-likelihood of label and prediction (gamma in the paper, 10 there).
        max_rows: rows used for EM; of more, a seeded sample.

    Returns:
        `ErrorMixture` with m = min(slices, components, n).

    Raises:
        ValueError: lengths that differ or fewer than two rows.

    Source: Eyuboglu et al., "Domino: discovering systematic errors with cross-modal embeddings", ICLR 2022,
    section 4.2 and appendix A.5; the start is that of the authors' code.
    """
    if not len(features) == len(labels) == len(predictions):
        raise ValueError("features, labels and predictions must have one length")
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(features), generator=generator)[:max_rows].to(features.device)
    axes = principal_components(features[rows], dimensions)
    reduced, label, predicted = project(axes, features[rows]), labels[rows], predictions[rows]
    start = confusion_start(label, predicted, components, generator)
    mixture = fit_mixture(
        reduced, components, generator, "diag", (label, predicted), category_weight, iterations=100, start=start
    )
    return _choose(axes, mixture, slices, category_weight)


def error_mixture_scores(fitted: ErrorMixture, features: Tensor, labels: Tensor, block: int = 65_536) -> Tensor:
    """Posterior of each chosen component given embedding and label, the prediction summed out.

    A row's own prediction finds the slices but must not place the row: a component that holds one kind of mistake would
    collect the mistakes among the confirm rows, and any test of its error rate there would be circular.

    Args:
        fitted: the fitted mixture.
        features: float [N, d].
        labels: int64 [N].
        block: rows at a time.

    Returns:
        float32 [N, m] in [0, 1], **large = in the slice**.
    """
    blind = fitted.mixture._replace(tables=fitted.mixture.tables[:1])
    out = torch.empty((len(features), len(fitted.chosen)), dtype=torch.float32, device=features.device)
    for start in range(0, len(features), block):
        rows = slice(start, start + block)
        reduced = project(fitted.components, features[rows])
        posterior = responsibilities(blind, reduced, (labels[rows],), fitted.category_weight)
        out[rows] = posterior[:, fitted.chosen].float()
    return out


def confusion_start(labels: Tensor, predictions: Tensor, components: int, generator: torch.Generator) -> Tensor:
    """Each row's share in the components that its cell (label, prediction) was dealt, and a little noise.

    Components are dealt to the cells that occur, the most frequent first, round after round.

    Args:
        labels, predictions: int64 [n], n >= 1.
        components: how many.
        generator: CPU generator of the noise, which lets components of one cell part.

    Returns:
        float64 [n, components], rows sum to 1.
    """
    width = int(predictions.max()) + 1
    cells, counts = torch.unique(labels * width + predictions, return_counts=True)
    dealt = cells[counts.argsort(descending=True, stable=True)]
    of_component = dealt[torch.arange(components, device=dealt.device) % len(dealt)]
    own = (labels * width + predictions)[:, None] == of_component
    noise = torch.rand(own.shape, generator=generator, dtype=torch.float64).to(own.device)
    share = own.double() + START_NOISE * noise
    shared: Tensor = share / share.sum(dim=1, keepdim=True)
    return shared


def _choose(axes: Components, mixture: Mixture, slices: int, category_weight: float) -> ErrorMixture:
    label, predicted = _padded(mixture.tables)
    gap = (label - predicted).abs().amax(dim=1)
    chosen = gap.argsort(descending=True, stable=True)[:slices]
    true_class = label[chosen].argmax(dim=1)
    others = predicted[chosen].scatter(1, true_class[:, None], -1.0)
    return ErrorMixture(axes, mixture, chosen, gap[chosen], true_class, others.argmax(dim=1), category_weight)


def _padded(tables: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    width = max(*(table.shape[1] for table in tables), 2)
    label, predicted = (torch.nn.functional.pad(table, (0, width - table.shape[1])) for table in tables)
    return label, predicted
