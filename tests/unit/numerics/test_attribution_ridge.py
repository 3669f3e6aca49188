"""The ridge on which checkpoints agree, against planted truths that it does not see."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from app.numerics.attribution.agreed_ridge import REFERENCE, RIDGES, agreed_ridge
from app.numerics.attribution.quantised import quantise
from app.numerics.attribution.ridge import Spectrum
from app.numerics.attribution.trak import Checkpoint, trak_scores

ROWS, TARGETS, WIDTH = 400, 60, 128


def planted(noise: float, count: int, true_ridge: float = 2.0) -> tuple[list[Checkpoint], Tensor]:
    """Checkpoints that see common features, each through noise of its own, and the scores without the noise."""
    draw = torch.Generator().manual_seed(0)
    decay = torch.arange(1, WIDTH + 1) ** -0.7
    common = torch.randn(ROWS + TARGETS, WIDTH, generator=draw) * decay

    def seen(features: Tensor) -> Checkpoint:
        rows = quantise(features[:ROWS])
        return Checkpoint(rows, Spectrum.of([rows.rows()]), features[ROWS:], torch.ones(ROWS))

    points = [
        seen(common + noise * torch.randn(ROWS + TARGETS, WIDTH, generator=draw) * decay.mean()) for _ in range(count)
    ]
    return points, trak_scores([seen(common)], true_ridge)


def likeness(scores: Tensor, truth: Tensor) -> float:
    sides = (normalize(side - side.mean(dim=0), dim=0) for side in (scores, truth))
    return float((next(sides) * next(sides)).sum(dim=0).mean())


@pytest.mark.parametrize("noise", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("count", [2, 3, 8])
def test_the_chosen_ridge_is_nearly_the_best(noise: float, count: int) -> None:
    points, truth = planted(noise, count)
    found = agreed_ridge(points)
    best = max(likeness(trak_scores(points, ridge), truth) for ridge in RIDGES)
    assert likeness(trak_scores(points, found.ridge), truth) > best - 0.02
    assert [ridge for ridge, _ in found.curve] == list(RIDGES)


def test_more_noise_asks_for_a_larger_ridge_and_no_choice_runs_off() -> None:
    chosen = [agreed_ridge(planted(noise, 4)[0]).ridge for noise in (0.3, 1.0)]
    assert 1 < chosen[0] < chosen[1] < RIDGES[-1]


def test_the_curve_is_the_correlation_with_the_one_left_out() -> None:
    points, _ = planted(1.0, 3)
    curve = dict(agreed_ridge(points).curve)
    by_hand = [
        likeness(trak_scores([p for p in points if p is not left], 4.0), trak_scores([left], REFERENCE))
        for left in points
    ]
    assert curve[RIDGES[6]] == pytest.approx(sum(by_hand) / 3, abs=1e-5)
    assert RIDGES[6] == pytest.approx(4.0)


def test_a_single_checkpoint_agrees_with_nobody() -> None:
    with pytest.raises(ValueError, match="at least two"):
        agreed_ridge(planted(1.0, 1)[0])
