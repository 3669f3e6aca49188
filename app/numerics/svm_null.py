"""Permutation null of an SVM's strength: what cross-validation finds where errors have no structure."""

import torch
from torch import Tensor

from app.numerics.svm import DEFAULTS
from app.numerics.svm_cv import Block, cross_validate
from app.numerics.svm_problem import Problem, SvmSettings
from app.numerics.threads import torch_threads


def permutation_strength(
    features: Tensor,
    targets: Tensor,
    groups: Tensor,
    n_groups: int,
    n_permutations: int = 100,
    settings: SvmSettings = DEFAULTS,
    folds: Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    """Strength of every class under shuffled outcomes; float64 [n_permutations, P], NaN where a class cannot be fitted.

    Outcomes are shuffled among the rows of one class and one fold (see `shuffled_targets`), C is chosen anew each
    time. Given the folds, rows are exchangeable within them under the null, so the test stays exact, the folds stay
    stratified, and the kernels and factorisations of the training folds are computed once for all permutations.

    Args and errors: as `fit_linear_svms`; `n_permutations` >= 1; `seed` of the shuffles.
    """
    problem = Problem.of(features, targets, groups, n_groups, settings, folds)
    strength = torch.full((n_permutations, n_groups), torch.nan, dtype=torch.float64, device=features.device)
    with torch_threads(settings.threads):
        for classes in problem.buckets(vectors=settings.n_folds * n_permutations):
            scores = _shuffled_scores(problem, classes, n_permutations, seed)
            strength[:, classes.to(strength.device)] = scores.amax(2).T.to(strength.device)
    return strength


def _shuffled_scores(problem: Problem, classes: Tensor, n_permutations: int, seed: int) -> Tensor:
    """Balanced accuracy at each C of `classes` (int64 [B]), shuffled: float64 [B, n_permutations, n_costs]."""
    block, settings = problem.block(classes), problem.settings
    of_class = zip(block.targets[:, 0], block.folds, block.mask, classes.tolist(), strict=True)
    shuffled = [shuffled_targets(y, f, m, n_permutations, seed, name) for y, f, m, name in of_class]
    block = Block(block.features, block.mask, block.folds, torch.stack(shuffled))
    return cross_validate(block, settings.costs, settings.n_folds, settings.tolerance, settings.max_iterations)


def shuffled_targets(
    targets: Tensor, folds: Tensor, mask: Tensor, n_permutations: int, seed: int, group: int
) -> Tensor:
    """Outcomes of one class shuffled within each of its folds; bool [n_permutations, n].

    The shuffles depend on `seed`, the class number `group` and the number of its rows alone, not on padding or
    batches.

    Args:
        targets: bool [n]. folds: int64 [n]. mask: bool [n], the real rows; the first ones.
    """
    n_rows = int(mask.sum())
    generator = torch.Generator().manual_seed((seed * 1_000_003 + group) % 2**63)
    keys = torch.rand(n_permutations, n_rows, generator=generator, dtype=torch.float64).to(targets.device)
    by_fold = folds[:n_rows].argsort(stable=True)
    shuffled_by_fold = (folds[:n_rows] + keys).argsort(dim=1)
    shuffled = torch.zeros(n_permutations, len(targets), dtype=torch.bool, device=targets.device)
    shuffled[:, by_fold] = targets[:n_rows][shuffled_by_fold]
    return shuffled


def permutation_p_values(strength: Tensor, null: Tensor) -> Tensor:
    """(1 + number of permutations at least as strong) / (1 + n_permutations); float64 [P], NaN where `strength` is.

    The floor is 1 / (n_permutations + 1): 100 permutations cannot give less than 1/101, so such a p-value scales
    the strength for a reader and must not enter a multiplicity correction.

    Args:
        strength: float64 [P], see `LinearSvms.strength`.
        null: float64 [n_permutations, P], see `permutation_strength`.
    """
    as_strong = (null >= strength).sum(0, dtype=torch.float64)
    return torch.where(strength.isnan(), torch.nan, (1 + as_strong) / (1 + len(null)))
