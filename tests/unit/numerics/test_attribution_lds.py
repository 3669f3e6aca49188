"""The linear datamodelling score against scipy and against what is known by construction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from app.numerics.attribution.datamodel import subset_masks
from app.numerics.attribution.lds import linear_datamodelling_score, rank_correlation


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_rank_correlation_is_scipys_with_ties() -> None:
    a = torch.randint(0, 6, (40, 5), generator=generator()).double()
    b = a + torch.randint(0, 4, (40, 5), generator=generator(1))
    expected = [spearmanr(a[:, i], b[:, i]).statistic for i in range(5)]
    np.testing.assert_allclose(rank_correlation(a, b).numpy(), expected, atol=1e-12)
    assert rank_correlation(torch.ones(9, 1), torch.arange(9.0)[:, None]).item() == 0


def world(noise: float, retrainings: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs that are linear in the masks, with noise of each retraining."""
    scores = torch.randn(50, 12, generator=generator(1))
    masks = subset_masks(80, 50, 0.5, generator(2))
    mean = masks.float() @ scores
    truth = mean + noise * mean.std() * torch.randn(retrainings, 80, 12, generator=generator(3))
    return scores, masks, truth


def test_true_scores_reach_one_without_noise_and_the_ceiling_with_it() -> None:
    scores, masks, truth = world(0.0)
    assert linear_datamodelling_score(scores, masks, truth, generator(), draws=50).value == pytest.approx(1)
    scores, masks, truth = world(1.5)
    found = linear_datamodelling_score(scores, masks, truth, generator(), draws=200)
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(found.ceiling, abs=0.05)
    assert found.repeatability < found.ceiling < 1
    assert (found.subsets, found.targets, found.retrainings) == (80, 12, 4)


def test_random_scores_reach_nothing_and_the_interval_says_so() -> None:
    _, masks, truth = world(0.5)
    found = linear_datamodelling_score(
        torch.randn(50, 12, generator=generator(9)), masks, truth, generator(), draws=200
    )
    assert found.low < 0 < found.high
    assert abs(found.value) < 0.15


def test_value_is_the_mean_of_scipys_correlations() -> None:
    _, masks, truth = world(1.0)
    scores = torch.randn(50, 12, generator=generator(5))
    found = linear_datamodelling_score(scores, masks, truth, generator(), draws=20)
    predicted, mean = (masks.float() @ scores).numpy(), truth.mean(dim=0).numpy()
    assert found.value == pytest.approx(np.mean([spearmanr(predicted[:, i], mean[:, i]).statistic for i in range(12)]))


def test_interval_covers_the_value_of_many_subsets() -> None:
    scores, masks, truth = world(1.0)
    broken = scores + 1.5 * torch.randn(50, 12, generator=generator(6))
    many = subset_masks(4000, 50, 0.5, generator(7))
    limit = many.float() @ scores
    whole = rank_correlation(many.float() @ broken, limit).mean()
    found = linear_datamodelling_score(broken, masks, truth[:1] * 0 + masks.float() @ scores, generator(), draws=300)
    assert found.low - 0.03 < float(whole) < found.high + 0.03


def test_one_retraining_has_no_ceiling_and_shapes_are_checked() -> None:
    scores, masks, truth = world(1.0, retrainings=1)
    assert np.isnan(linear_datamodelling_score(scores, masks, truth, generator(), draws=10).ceiling)
    with pytest.raises(ValueError, match="at least 3 subsets"):
        linear_datamodelling_score(scores, masks[:2], truth[:, :2], generator())
    with pytest.raises(ValueError, match="output for each"):
        linear_datamodelling_score(scores[:, :3], masks, truth, generator())
