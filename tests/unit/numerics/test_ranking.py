import time

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from app.numerics.ranking import marked_direction, rank_scores, top_share


def rows(n, d=24, seed=0):
    return torch.randn((n, d), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("d", [6, 40])
def test_direction_is_scikit_learns_weighted_ridge(d):
    inside, outside = rows(7, d) + 0.5, rows(11, d, 1)
    unit = torch.nn.functional.normalize(torch.cat([inside, outside]).double(), dim=1).numpy()
    weight = np.r_[np.full(7, 0.5 / 7), np.full(11, 0.5 / 11)]
    centred = np.sqrt(weight)[:, None] * (unit - weight @ unit)
    alpha = 0.1 * (centred**2).sum() / 18
    model = Ridge(alpha=alpha).fit(unit, np.r_[np.ones(7), -np.ones(11)], sample_weight=weight)
    expected = model.coef_ / np.linalg.norm(model.coef_)
    assert marked_direction(inside, outside).numpy() == pytest.approx(expected, abs=1e-5)


def test_twenty_marks_find_the_others():
    generator = torch.Generator().manual_seed(2)
    axis = torch.nn.functional.normalize(torch.randn(64, generator=generator), dim=0)
    members = torch.rand(5000, generator=generator) < 0.05
    features = rows(5000, 64, 3) + 6 * members[:, None] * axis
    marked = torch.nonzero(members)[:20, 0]
    direction = marked_direction(features[marked], features[~members][:20])
    scores = rank_scores(features, direction)
    scores[marked] = -2
    assert members[scores.topk(50).indices].double().mean() > 0.95


def test_scores_are_cosines_in_any_block():
    features, direction = rows(100), rows(1, seed=5)[0]
    expected = torch.nn.functional.cosine_similarity(features, direction[None])
    assert torch.allclose(rank_scores(features, direction, block=7), expected, atol=1e-6)
    assert rank_scores(torch.zeros((2, 24)), direction).tolist() == [0.0, 0.0]


def test_sides_that_do_not_differ_have_no_direction():
    assert torch.all(marked_direction(torch.ones(2, 3), torch.ones(3, 3)).abs() < 1e-5)
    with pytest.raises(ValueError, match="at least one row"):
        marked_direction(rows(0), rows(2))


def test_top_share_takes_the_best():
    scores = torch.tensor([0.1, 0.9, 0.5, 0.9])
    assert top_share(scores, 0.5).tolist() == [False, True, False, True]
    assert top_share(scores, 0.001).sum() == 1
    assert top_share(torch.ones(4), 0.25).tolist() == [True, False, False, False]
    with pytest.raises(ValueError, match="share"):
        top_share(scores, 0.0)


def test_a_hundred_thousand_rows_are_ranked_within_a_second():
    features = torch.ones((100_000, 512))
    marks = rows(60, 512)
    started = time.process_time()
    rank_scores(features, marked_direction(marks[:20], marks[20:]))
    assert time.process_time() - started < 1.0
