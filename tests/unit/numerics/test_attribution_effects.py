"""Components of attributions and differences of algorithms against scikit-learn and planted structure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import TruncatedSVD
from torch import Tensor

from app.numerics.attribution.effects import effect_components, loadings, model_difference


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def planted(rows: int = 300, targets: int = 200) -> Tensor:
    """Three groups of training rows that act together, on noise."""
    scores = 0.3 * randn(rows, targets)
    for group, strength in ((slice(0, 20), 6), (slice(20, 50), 4), (slice(50, 60), 3)):
        scores[group] += strength * randn(1, targets, seed=group.start + 1)
    return scores


@pytest.mark.parametrize("shape", [(300, 200), (40, 25)])
def test_components_are_scikit_learns(shape: tuple[int, int]) -> None:
    scores = planted(*shape) if shape[0] > 60 else randn(*shape)
    found = effect_components(scores, 3, generator())
    unit = (scores / scores.norm(dim=0)).numpy()
    peer = TruncatedSVD(3, algorithm="arpack").fit(unit.T)
    alike = np.abs((peer.components_ * found.train.T.numpy()).sum(axis=1))
    np.testing.assert_allclose(alike, 1, atol=1e-3)
    np.testing.assert_allclose(found.share.numpy(), peer.singular_values_**2 / (unit**2).sum(), rtol=1e-3)
    np.testing.assert_allclose((unit.T @ found.train.numpy()), found.targets.numpy(), atol=1e-6)


def test_components_find_the_rows_that_act_together_with_a_fixed_sign() -> None:
    found = effect_components(planted(), 3, generator())
    assert found.train[:, 0].abs().topk(20).indices.sort().values.tolist() == list(range(20))
    assert (found.train.max(dim=0).values >= found.train.min(dim=0).values.abs()).all()
    again = effect_components(planted(), 3, generator(7))
    torch.testing.assert_close(found.train, again.train, atol=1e-6, rtol=1e-4)


def test_difference_is_the_direction_that_only_the_first_uses() -> None:
    shared, own = randn(120, 80), torch.zeros(120, 80, dtype=torch.float64)
    own[:10] = 5 * randn(1, 80, seed=3).abs()
    found = model_difference(shared + own, shared, 2, generator())
    assert found[:, 0].topk(10).indices.sort().values.tolist() == list(range(10))
    used = loadings(shared + own, found)
    assert used[:, 0].square().mean() > 5 * loadings(shared, found)[:, 0].square().mean()
    torch.testing.assert_close(used, ((shared + own) / (shared + own).norm(dim=0)).T @ found)


def test_residual_is_orthogonal_to_the_other_algorithm() -> None:
    """One target: the only direction left is the part of its vector that is orthogonal to the other's."""
    a, b = randn(30, 1), randn(30, 1, seed=1)
    found = model_difference(a, b, 1, generator())
    assert float((found.T @ b).abs()) < 1e-9
    residual = a - b * float((a * b).sum() / (b * b).sum())
    assert float((found * residual).sum().abs() / residual.norm()) == pytest.approx(1)


def test_equal_or_unmatched_algorithms_are_refused() -> None:
    a = randn(30, 5)
    with pytest.raises(ValueError, match="depends on nothing"):
        model_difference(a, 2 * a, 1, generator())
    with pytest.raises(ValueError, match="not of the same rows"):
        model_difference(a, a[:, :4], 1, generator())
    with pytest.raises(ValueError, match="no attributions"):
        effect_components(a[:, :0], 2, generator())
