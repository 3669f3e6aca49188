"""Ranking by bounds against scoring every row in full."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.numerics.bounded_ranking import Bounds, cosine_bounds, largest, raw_weight, share_members
from app.numerics.embedding import Standardiser, unit_rows
from app.numerics.ranking import rank_scores, top_share

D = 96


class Case:
    """Raw rows, and what the two ways say of them."""

    def __init__(self, rows: NDArray[np.float32], direction: NDArray[np.float32]) -> None:
        standardiser = Standardiser.of(torch.from_numpy(rows))
        mean, std = standardiser.mean.numpy(), standardiser.std.numpy()
        unit = standardiser.unit_rows(torch.from_numpy(rows))
        self.full = rank_scores(unit, torch.from_numpy(direction)).numpy()
        precise = (rows.astype(np.float64) - mean) / std
        lengths = np.linalg.norm(precise, axis=1)
        norm = np.linalg.norm(direction.astype(np.float64)) or 1.0
        self.true = precise @ (direction / norm) / np.maximum(lengths, 1e-12)
        weight = raw_weight(direction, mean, std)
        self.bounds = cosine_bounds(rows @ weight.values, lengths.astype(np.float32), weight)
        self.asked = 0

    def exact(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        self.asked += len(indices)
        return self.full[indices]


def noise(n: int = 4_000, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n, D), np.float32)


def direction(seed: int = 9) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(D, np.float32)


def far_from_zero() -> NDArray[np.float32]:
    """Each dimension at its own place and of its own scale, so that a raw product cancels."""
    generator = np.random.default_rng(1)
    scale = np.exp(generator.uniform(-3, 3, D))
    return ((noise() + 30 * generator.standard_normal(D)) * scale).astype(np.float32)


def repeated() -> NDArray[np.float32]:
    return np.repeat(noise(500), 8, axis=0)


def with_rows_at_the_mean() -> NDArray[np.float32]:
    rows = noise(2_000)
    rows = np.concatenate([rows, -rows]).astype(np.float32)
    return np.concatenate([rows, np.tile(rows.mean(0), (40, 1))]).astype(np.float32)


CASES = {"noise": noise, "far": far_from_zero, "repeated": repeated, "at the mean": with_rows_at_the_mean}


@pytest.mark.parametrize("name", CASES)
def test_scores_lie_between_their_bounds(name: str) -> None:
    case = Case(CASES[name](), direction())
    for scores in (case.full, case.true):
        assert (case.bounds.low <= scores).all()
        assert (scores <= case.bounds.high).all()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("count", [1, 7, 60, 3_999, 10_000])
def test_the_largest_are_those_of_the_full_scores(name: str, count: int) -> None:
    case = Case(CASES[name](), direction())
    indices, scores = largest(case.bounds, count, case.exact)
    expected = np.argsort(-case.full, kind="stable")[:count]
    assert indices.tolist() == expected.tolist()
    assert np.array_equal(scores, case.full[expected])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("share", [1e-6, 0.05, 0.1, 0.3, 0.5, 1.0])
def test_a_share_holds_the_members_of_the_full_scores(name: str, share: float) -> None:
    case = Case(CASES[name](), direction())
    expected = top_share(torch.from_numpy(case.full), share).numpy()
    assert np.array_equal(share_members(case.bounds, share, case.exact), expected)


@pytest.mark.parametrize(("name", "most"), [("noise", 0.002), ("far", 0.02)])
def test_few_rows_are_scored_in_full(name: str, most: float) -> None:
    case = Case(CASES[name](), direction())
    share_members(case.bounds, 0.1, case.exact)
    assert case.asked <= most * len(case.full)


def test_bounds_are_as_narrow_as_single_precision_allows() -> None:
    case = Case(noise(), direction())
    assert (case.bounds.high - case.bounds.low).max() < 2e-4


def test_a_direction_of_length_zero_ranks_by_place() -> None:
    case = Case(noise(100), np.zeros(D, np.float32))
    assert largest(case.bounds, 3, case.exact)[0].tolist() == [0, 1, 2]
    assert np.flatnonzero(share_members(case.bounds, 0.05, case.exact)).tolist() == [0, 1, 2, 3, 4]


def test_no_rows() -> None:
    empty = Bounds(np.zeros(0, np.float32), np.zeros(0, np.float32))
    indices, scores = largest(empty, 5, lambda _: pytest.fail("nothing to score"))
    assert (len(indices), len(scores), len(share_members(empty, 0.1, lambda _: pytest.fail("nothing")))) == (0, 0, 0)


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    case = Case(noise(10), direction())
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        share_members(case.bounds, share, case.exact)


def test_the_weight_is_the_direction_in_raw_space() -> None:
    rows, chosen = noise(50), direction()
    mean, std = rows.mean(0), rows.std(0)
    weight = raw_weight(chosen, mean, std)
    expected = ((rows - mean) / std) @ (chosen / np.linalg.norm(chosen))
    np.testing.assert_allclose(rows @ weight.values - weight.shift, expected, atol=1e-4)
    assert unit_rows(torch.from_numpy(chosen)[None])[0].numpy() == pytest.approx(weight.values * std, abs=1e-6)
