"""Predictions against retrained outputs, and weights of which few are not zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import linregress

from app.numerics.attribution.agreement import agreement
from app.numerics.attribution.sparse_weights import SparseCollector


def tables(rows: int = 40, columns: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    offset = 10 * torch.randn(columns, generator=generator)
    predicted = torch.randn(rows, columns, generator=generator) + offset
    noise = torch.randn(rows, columns, generator=generator)
    return predicted, 0.5 * (predicted - offset) + 0.3 * noise + offset + 1


def found(predicted: torch.Tensor, actual: torch.Tensor, *, within: bool, draws: int = 300):
    return agreement(predicted, actual, torch.Generator().manual_seed(0), within=within, draws=draws)


def test_pooled_agreement_is_scipy_s_regression() -> None:
    predicted, actual = tables()
    peer = linregress(predicted.flatten().numpy(), actual.flatten().numpy())
    mine = found(predicted, actual, within=False)
    assert mine.correlation.value == pytest.approx(peer.rvalue, rel=1e-6)
    assert mine.slope.value == pytest.approx(peer.slope, rel=1e-6)
    assert mine.error.value == pytest.approx(float((predicted - actual).abs().mean()), rel=1e-6)
    assert (mine.rows, mine.columns) == (40, 7)


def test_within_columns_a_high_output_is_no_agreement() -> None:
    predicted, actual = tables()
    centred = [(side - side.mean(dim=0)).flatten().numpy() for side in (predicted, actual)]
    peer = linregress(*centred)
    mine = found(predicted, actual, within=True)
    assert mine.correlation.value == pytest.approx(peer.rvalue, rel=1e-6)
    assert mine.slope.value == pytest.approx(peer.slope, rel=1e-6)
    shuffled = actual[torch.randperm(40, generator=torch.Generator().manual_seed(1))]
    assert found(predicted, shuffled, within=False).correlation.value > 0.9
    assert abs(found(predicted, shuffled, within=True).correlation.value) < 0.2


def test_intervals_are_those_of_a_plain_bootstrap_and_hold_the_truth() -> None:
    predicted, actual = tables()
    mine = found(predicted, actual, within=True, draws=2000)
    assert mine.slope.low < 0.5 < mine.slope.high
    rng, p, a = np.random.default_rng(0), predicted.numpy(), actual.numpy()
    slopes = []
    for _ in range(2000):
        rows, columns = rng.integers(40, size=40), rng.integers(7, size=7)
        x, y = (side[np.ix_(rows, columns)] for side in (p, a))
        slopes.append(linregress((x - x.mean(axis=0)).ravel(), (y - y.mean(axis=0)).ravel()).slope)
    low, high = np.quantile(slopes, [0.025, 0.975])
    assert (mine.slope.low, mine.slope.high) == (pytest.approx(low, abs=0.02), pytest.approx(high, abs=0.02))


def test_predictions_that_never_vary_have_no_correlation() -> None:
    mine = found(torch.ones(5, 2), torch.randn(5, 2, generator=torch.Generator().manual_seed(0)), within=True)
    assert np.isnan(mine.correlation.value)
    assert np.isfinite(mine.error.value)


def test_unequal_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="same shape"):
        found(torch.ones(5, 2), torch.ones(5, 3), within=True)
    with pytest.raises(ValueError, match="at least 2 rows"):
        found(torch.ones(1, 2), torch.ones(1, 2), within=True)


def test_collected_weights_are_the_dense_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(30, 11, generator=generator) * (torch.rand(30, 11, generator=generator) < 0.2)
    dense[:, 4] = 0
    collector = SparseCollector(30)
    for block in dense.split(3, dim=1):
        assert not collector.add(block).any()
    starts, rows, values = collector.weights()
    again = torch.zeros(30, 11)
    for j in range(11):
        some = slice(starts[j], starts[j + 1])
        again[rows[some].astype(int), j] = torch.from_numpy(values[some])
    torch.testing.assert_close(again, dense)
    assert starts[4] == starts[5]
    assert SparseCollector(5).weights().starts.tolist() == [0]


def test_only_the_largest_weights_are_kept_and_the_others_handed_back() -> None:
    dense = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    collector = SparseCollector(6)
    rest = collector.add(dense)
    starts, rows, values = collector.weights()
    assert starts.tolist() == [0, 6, 12, 18, 24]
    for j in range(4):
        largest = np.argsort(-np.abs(dense[:, j].numpy()))[:6]
        assert rows[6 * j : 6 * j + 6].tolist() == sorted(largest.tolist())
        np.testing.assert_array_equal(values[6 * j : 6 * j + 6], dense[:, j].numpy()[sorted(largest)])
        assert rest[rows[6 * j : 6 * j + 6].astype(int), j].abs().max() == 0
    assert float(rest.sum() + values.sum()) == pytest.approx(float(dense.sum()), rel=1e-4)
