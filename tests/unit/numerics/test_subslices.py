import numpy as np
import pytest
import torch

from app.numerics.significance import slice_excess_p_value
from app.numerics.subslices import fit_subslices, subslice_members, subslice_scores
from tests.unit.numerics.planting import best_precision, planted_class


def halves(n, seed):
    fit = torch.zeros(n, dtype=torch.bool)
    fit[torch.randperm(n, generator=torch.Generator().manual_seed(seed))[: n // 2]] = True
    return fit


@pytest.mark.parametrize("slices", [1, 2, 3])
@pytest.mark.parametrize("overlap", [False, True])
def test_planted_slices_are_found_and_told_apart_on_rows_never_seen(slices, overlap):
    precision, counts = [], []
    for seed in range(2):
        features, errors, members = planted_class(seed, slices, overlap=overlap)
        fit = halves(1000, seed)
        found = fit_subslices(features[fit], errors[fit], seed)
        precision.append(best_precision(subslice_scores(found, features[~fit]), members[~fit]))
        counts.append(len(found.directions))
    assert np.mean(precision) >= 0.95
    assert min(counts) >= slices
    assert np.mean(counts) <= slices + 1


def test_members_of_the_confirm_rows_fail_more_often():
    features, errors, _ = planted_class(5)
    fit = halves(1000, 5)
    found = fit_subslices(features[fit], errors[fit], 0)
    inside = subslice_members(found, subslice_scores(found, features[~fit]))
    confirm = errors[~fit]
    k = (inside & confirm[:, None]).sum(dim=0).numpy()
    p = slice_excess_p_value(k, inside.sum(dim=0).numpy(), int(confirm.sum()), len(confirm))
    assert np.all(p < 0.01)


def test_shuffled_errors_are_not_confirmed():
    confirmed = 0
    for seed in range(40):
        features, errors, _ = planted_class(seed, n=200, d=32)
        errors = errors[torch.randperm(200, generator=torch.Generator().manual_seed(seed))]
        fit = halves(200, seed)
        found = fit_subslices(features[fit], errors[fit], seed, max_slices=3)
        inside = subslice_members(found, subslice_scores(found, features[~fit]))
        wrong = errors[~fit]
        k = (inside & wrong[:, None]).sum(dim=0).numpy()
        p = slice_excess_p_value(k, inside.sum(dim=0).numpy(), int(wrong.sum()), len(wrong))
        confirmed += bool((p * len(p) <= 0.05).any())
    assert confirmed <= 6


def test_heldout_scores_do_not_flatter_the_fit_rows():
    generator = torch.Generator().manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn((300, 200), generator=generator), dim=1)
    errors = torch.rand(300, generator=generator) < 0.2
    found = fit_subslices(features, errors, 0)
    own = subslice_scores(found, features)

    def gap(scores):
        return float((scores[errors].mean(0) - scores[~errors].mean(0)).abs().max())

    assert gap(found.heldout) < 0.35
    assert gap(own) > 2 * gap(found.heldout)


def test_one_seed_one_result_and_blocks_do_not_matter():
    features, errors, _ = planted_class(1, n=400, d=32)
    a, b = (fit_subslices(features, errors, 3) for _ in range(2))
    assert torch.equal(a.directions, b.directions)
    assert torch.equal(a.heldout, b.heldout)
    assert torch.allclose(subslice_scores(a, features), subslice_scores(a, features, block=37), atol=1e-5)


def test_gains_are_in_order_and_shapes_hold():
    features, errors, _ = planted_class(2, n=600, d=48)
    found = fit_subslices(features, errors, 0)
    m = len(found.directions)
    assert found.directions.shape == (m, 48)
    assert found.offsets.shape == found.thresholds.shape == found.gains.shape == (m,)
    assert found.heldout.shape == (600, m)
    assert torch.equal(found.gains, found.gains.sort(descending=True).values)


def test_a_large_class_is_sampled_and_all_its_rows_are_scored():
    features, errors, members = planted_class(3, n=4000, d=32)
    found = fit_subslices(features, errors, 0, max_rows=1000)
    assert found.heldout.shape[0] == 4000
    assert best_precision(found.heldout, members, 25) >= 0.95


@pytest.mark.parametrize("wrong", [0, 1, 3, 20])
def test_classes_without_both_outcomes_have_no_slices(wrong):
    errors = torch.arange(20) < wrong
    found = fit_subslices(torch.randn((20, 6), generator=torch.Generator().manual_seed(0)), errors, 0)
    assert found.directions.shape == (0, 6)
    assert subslice_scores(found, torch.randn(5, 6)).shape == (5, 0)


def test_the_smallest_class_that_can_be_tried():
    features = torch.randn((12, 40), generator=torch.Generator().manual_seed(0))
    found = fit_subslices(features, torch.arange(12) < 4, 0)
    assert len(found.directions) >= 1
    assert torch.isfinite(found.heldout).all()


def test_identical_rows_do_not_break_it():
    features = torch.ones((40, 5))
    found = fit_subslices(features, torch.arange(40) < 10, 0)
    assert torch.isfinite(subslice_scores(found, features)).all()


def test_lengths_must_match():
    with pytest.raises(ValueError, match="one length"):
        fit_subslices(torch.randn(5, 2), torch.ones(4, dtype=torch.bool), 0)
