"""Which caption names a group, against regressions fitted one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from app.numerics.caption_choice import caption_evidence, composed_moves, group_direction, told_apart


def one_by_one(matches: np.ndarray, group: np.ndarray, parts: list[list[int]]) -> list[float]:
    """Extended BIC of an ordinary least squares for each caption, with an intercept, by numpy's solver."""
    n, w = matches.shape
    found = []
    for part in parts:
        design = np.column_stack([np.ones(n), matches[:, part]])
        weights, *_ = np.linalg.lstsq(design, group.astype(float), rcond=None)
        residual = ((group - design @ weights) ** 2).sum()
        gain = 0.5 * n * math.log(((group - group.mean()) ** 2).sum() / residual)
        charge = 0.5 * len(part) * math.log(n) + math.log(math.comb(w, len(part)))
        found.append(gain - charge if (weights[1:] > 0).all() else -math.inf)
    return found


def attributes(seed: int = 0, n: int = 300, w: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """How well rows match words (a third of the rows have each); which rows have what the first two words say."""
    generator = torch.Generator().manual_seed(seed)
    has = torch.rand((n, w), generator=generator) < 0.33
    return has + 0.35 * torch.randn((n, w), generator=generator), has[:, 0] & has[:, 1]


PAIRS = [[i] for i in range(8)] + [[i, j] for i in range(8) for j in range(i)]


@pytest.mark.parametrize("seed", range(3))
def test_evidence_is_that_of_regressions_fitted_one_by_one(seed: int) -> None:
    matches, group = attributes(seed)
    parts = [*PAIRS, [0, 1, 2], [3, 4, 5]]
    expected = one_by_one(matches.double().numpy(), group.numpy(), parts)
    np.testing.assert_allclose(caption_evidence(matches, group, parts).numpy(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_pair_that_makes_the_group_wins(seed: int) -> None:
    matches, group = attributes(seed)
    best = PAIRS[int(caption_evidence(matches, group, PAIRS).argmax())]
    assert sorted(best) == [0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_a_word_that_adds_nothing_is_left_out(seed: int) -> None:
    matches, _ = attributes(seed)
    assert PAIRS[int(caption_evidence(matches, matches[:, 3] > 0.5, PAIRS).argmax())] == [3]


def test_no_caption_says_more_than_chance_of_a_random_group() -> None:
    surely = 0
    for seed in range(40):
        matches, _ = attributes(seed)
        group = torch.rand(300, generator=torch.Generator().manual_seed(1000 + seed)) < 0.1
        surely += bool((caption_evidence(matches, group, PAIRS) > 0).any())
    assert surely <= 3


def test_words_that_are_rarer_in_the_group_constant_or_of_no_side_say_nothing() -> None:
    matches, group = attributes()
    flat = torch.cat([matches[:, :1], -matches[:, :1], torch.ones(300, 1)], dim=1)
    assert caption_evidence(flat, group, [[0], [1], [2]]).isfinite().tolist() == [True, False, False]
    for none in (torch.zeros(300).bool(), torch.ones(300).bool()):
        assert not caption_evidence(matches, none, PAIRS).isfinite().any()
    assert caption_evidence(matches, group, []).shape == (0,)


def test_a_composed_caption_points_where_its_words_point_together() -> None:
    words = torch.nn.functional.normalize(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), dim=1)
    moves = composed_moves(words, [[2], [0, 3]])
    expected = (words[0] + words[3]).numpy()
    np.testing.assert_allclose(moves[0].numpy(), words[2].numpy(), atol=1e-6)
    np.testing.assert_allclose(moves[1].numpy(), expected / np.linalg.norm(expected), atol=1e-6)
    assert composed_moves(words, []).shape == (0, 6)


def test_a_group_s_direction_is_mean_less_mean() -> None:
    features, members = torch.randn(9, 5, generator=torch.Generator().manual_seed(0)), torch.arange(9) < 3
    x = features.numpy()
    np.testing.assert_allclose(group_direction(features, members).numpy(), x[:3].mean(0) - x[3:].mean(0), atol=1e-6)
    assert not group_direction(features, torch.zeros(9).bool()).any()


def test_words_that_no_picture_shows_are_told_from_those_that_some_do() -> None:
    generator = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn((40, 40), generator=generator))[0]
    has = (torch.rand((200, 1), generator=generator) < 0.5).float()
    features = 2 * has * axes[0] + 0.1 * torch.randn((200, 40), generator=generator)
    kept = told_apart(features, axes[:3], axes[5:35])
    spreads = (features @ axes.T).std(0)
    expected = spreads[:3] > np.quantile(spreads[5:35].numpy(), 0.95)
    assert kept.tolist() == expected.tolist()
    assert kept[0]
