"""Many balanced linear SVMs at once, C chosen by cross-validation: one per class, right against wrong predictions.

Method: Jain, Lawrence, Moitra, Madry, "Distilling Model Failures as Directions in Latent Space", 2023, section 2.
Problem: scikit-learn's SVC(kernel="linear", class_weight="balanced"), that is libsvm's C-SVC (hinge loss, free
intercept).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from app.numerics.svm_batch import SvmBatch
from app.numerics.svm_cv import Block, cross_validate
from app.numerics.svm_problem import ROWS_AT_ONCE, Problem, SvmSettings
from app.numerics.threads import torch_threads

DEFAULTS = SvmSettings()


@dataclass(frozen=True)
class LinearSvms:
    """P fitted SVMs; everything is NaN in the rows p with `fitted`[p] False.

    `weights` float32 [P, d]; `intercepts` float64 [P]; `chosen_cost` float64 [P]; `cv_scores` float64 [P, n_costs],
    mean balanced accuracy over the held-out folds; `gap` float64 [P], relative duality gap of the refit; `fitted`
    bool [P], False where a training fold would lack one of the two outcomes (so with fewer than 2 errors, or fewer
    than 2 right).
    """

    weights: Tensor
    intercepts: Tensor
    chosen_cost: Tensor
    cv_scores: Tensor
    gap: Tensor
    fitted: Tensor

    @classmethod
    def empty(cls, n_groups: int, dimensions: int, n_costs: int, fitted: Tensor) -> "LinearSvms":
        """All NaN, on the device of `fitted`."""
        single, double = fitted.new_zeros(0, dtype=torch.float32), fitted.new_zeros(0, dtype=torch.float64)
        nan = torch.nan
        return cls(
            single.new_full((n_groups, dimensions), nan),
            double.new_full((n_groups,), nan),
            double.new_full((n_groups,), nan),
            double.new_full((n_groups, n_costs), nan),
            double.new_full((n_groups,), nan),
            fitted,
        )

    @property
    def strength(self) -> Tensor:
        """Best cross-validated balanced accuracy: how consistent the failures of a class are; float64 [P]."""
        return self.cv_scores.amax(1)

    def decision_values(self, features: Tensor, groups: Tensor) -> Tensor:
        """w.x + b of rows `features` [m, d] under the SVM of their class `groups` (int64 [m]); float64 [m].

        Positive means that the model is expected to be right, the most negative rows are the hardest. Double
        precision keeps the ranking at small C, where w.x is many orders of magnitude below b.
        """
        values = torch.empty(len(features), dtype=torch.float64, device=features.device)
        for first in range(0, len(features), ROWS_AT_ONCE):
            part = slice(first, first + ROWS_AT_ONCE)
            svm = groups[part]
            values[part] = (features[part] * self.weights[svm]).sum(1) + self.intercepts[svm]
        return values


def fit_linear_svms(
    features: Tensor,
    targets: Tensor,
    groups: Tensor,
    n_groups: int,
    settings: SvmSettings = DEFAULTS,
    folds: Tensor | None = None,
) -> LinearSvms:
    """Fit one SVM per class: C of best mean balanced accuracy (the smallest on ties), refit on all its rows.

    Args:
        features: float [N, d], standardised unit rows; may be memory-mapped: only blocks of classes are read.
        targets: bool [N], True where the model was right.
        groups: int64 [N], the class of each row, in [0, n_groups).
        n_groups: number of classes P; a class without rows is allowed.
        settings: values of C, folds, accuracy, device.
        folds: int64 [N] in [0, settings.n_folds), else `stratified_folds` deals them.

    Returns:
        The SVMs, on the device of `features`.

    Raises:
        ValueError: wrong shapes or dtypes, NaN or infinite features (with the row), classes or folds out of range.
    """
    problem = Problem.of(features, targets, groups, n_groups, settings, folds)
    dimensions, n_costs = features.shape[1], len(settings.costs)
    svms = LinearSvms.empty(n_groups, dimensions, n_costs, problem.fitted.to(features.device))
    with torch_threads(settings.threads):
        for classes in problem.buckets(vectors=settings.n_folds):
            _fit_block(svms, classes.to(features.device), problem.block(classes), settings)
    return svms


def _fit_block(svms: LinearSvms, classes: Tensor, block: Block, settings: SvmSettings) -> None:
    """Fill in the rows `classes` of `svms`."""
    accuracy = settings.tolerance, settings.max_iterations
    scores = cross_validate(block, settings.costs, settings.n_folds, *accuracy)[:, 0]
    chosen = torch.tensor(settings.costs, dtype=torch.float64, device=scores.device)[scores.argmax(1)]
    planes = SvmBatch.of(block.features, block.mask, block.targets).solve(chosen, *accuracy)
    found = planes.weights[:, 0], planes.intercepts[:, 0], chosen, scores, planes.gap[:, 0]
    slots = svms.weights, svms.intercepts, svms.chosen_cost, svms.cv_scores, svms.gap
    for slot, value in zip(slots, found, strict=True):
        slot[classes] = value.to(slot.device)
