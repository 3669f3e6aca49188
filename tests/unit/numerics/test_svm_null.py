"""The permutation null shares its work and still equals the naive loop."""

import numpy as np
import pytest
import torch
from svm_peer import classes_of, peer_fit

from app.numerics import svm_kernel
from app.numerics.svm import fit_linear_svms
from app.numerics.svm_null import permutation_p_values, permutation_strength, shuffled_targets
from app.numerics.svm_problem import SvmSettings, class_folds


def shuffles_of(targets, groups, folds, n, seed, n_groups):
    """The same shuffles, laid out over all rows."""
    shuffled = torch.zeros(n, len(targets), dtype=torch.bool)
    for p in range(n_groups):
        r = groups == p
        everything = torch.ones(int(r.sum()), dtype=torch.bool)
        shuffled[:, r] = shuffled_targets(targets[r], folds[r], everything, n, seed, p)
    return shuffled


@pytest.fixture(scope="module")
def data():
    features, targets, groups = classes_of([60, 150, 64], d=100)
    return features, targets, groups, class_folds(targets, groups)


def test_equals_the_naive_loop(data):
    features, targets, groups, folds = data
    null = permutation_strength(features, targets, groups, 3, 12, folds=folds, seed=5)
    for i, shuffled in enumerate(shuffles_of(targets, groups, folds, 12, 5, 3)):
        naive = fit_linear_svms(features, shuffled, groups, 3, folds=folds)
        torch.testing.assert_close(null[i], naive.strength, rtol=0, atol=0.01)


def test_equals_the_peer(data):
    features, targets, groups, folds = data
    null = permutation_strength(features, targets, groups, 3, 3, folds=folds)
    shuffled = shuffles_of(targets, groups, folds, 3, 0, 3)
    for p in range(3):
        r = groups == p
        peers = [peer_fit(features[r], shuffled[i, r], folds[r]).scores.max() for i in range(3)]
        np.testing.assert_allclose(null[:, p], peers, atol=0.01)


def test_factorisations_do_not_grow_with_the_permutations(data, monkeypatch):
    features, targets, groups, folds = data
    made = []
    original = svm_kernel.ShiftedInverse.of.__func__
    monkeypatch.setattr(
        svm_kernel.ShiftedInverse, "of", classmethod(lambda cls, k, rho: made.append(len(rho)) or original(cls, k, rho))
    )
    totals = []
    for n in (10, 40):
        made.clear()
        permutation_strength(features, targets, groups, 3, n, SvmSettings(elements=10**9), folds)
        totals.append(sum(made))
    assert totals[1] <= 1.5 * totals[0]


def test_shuffles_keep_the_errors_of_every_fold():
    targets, folds = torch.arange(40) >= 9, torch.arange(40) % 2
    shuffled = shuffled_targets(targets, folds, torch.ones(40, dtype=torch.bool), 50, 0, 0)
    for k in (0, 1):
        assert (shuffled[:, folds == k].sum(1) == targets[folds == k].sum()).all()
    rates = shuffled.double().mean(0)
    assert ((rates - 0.775).abs() < 0.25).all()
    assert len({tuple(row) for row in shuffled.tolist()}) == 50


def test_shuffles_do_not_depend_on_padding():
    targets, folds = torch.arange(20) >= 5, torch.arange(20) % 2
    real = torch.ones(20, dtype=torch.bool)
    pad = torch.nn.functional.pad
    short = shuffled_targets(targets, folds, real, 7, 3, 11)
    long = shuffled_targets(pad(targets, (0, 6)), pad(folds, (0, 6)), pad(real, (0, 6)), 7, 3, 11)
    assert torch.equal(long[:, :20], short)
    assert not long[:, 20:].any()
    assert not torch.equal(short, shuffled_targets(targets, folds, real, 7, 3, 12))


def test_seeded_and_independent_of_batches(data):
    features, targets, groups, folds = data
    whole = permutation_strength(features, targets, groups, 3, 5, folds=folds, seed=1)
    parts = permutation_strength(features, targets, groups, 3, 5, SvmSettings(elements=1), folds, seed=1)
    torch.testing.assert_close(whole, parts, rtol=0, atol=0.01)
    assert not torch.equal(whole, permutation_strength(features, targets, groups, 3, 5, folds=folds, seed=2))


def test_unfitted_classes_have_no_null():
    features, targets, groups = classes_of([40, 40], d=20)
    targets[groups == 1] = True
    null = permutation_strength(features, targets, groups, 2, 4)
    assert null[:, 0].isfinite().all()
    assert null[:, 1].isnan().all()
    p = permutation_p_values(fit_linear_svms(features, targets, groups, 2).strength, null)
    assert p[0].isfinite()
    assert p[1].isnan()


def test_p_values_count_ties_and_have_a_floor():
    null = torch.tensor([[0.5, 0.7, 0.6]]).double().T.repeat(1, 3)
    p = permutation_p_values(torch.tensor([0.9, 0.6, 0.1]).double(), null)
    assert p.tolist() == [0.25, 0.75, 1.0]


def test_a_planted_slice_beats_its_null_and_noise_does_not():
    features, targets, groups = classes_of([300] * 13, d=32, shift=10.0)
    noise = torch.rand(len(targets), generator=torch.Generator().manual_seed(0)) < 0.85
    targets = torch.where(groups > 0, noise, targets)
    strength = fit_linear_svms(features, targets, groups, 13).strength
    p = permutation_p_values(strength, permutation_strength(features, targets, groups, 13, 40))
    assert p[0] == pytest.approx(1 / 41)
    assert (p[1:] <= 0.05).sum() <= 3
    assert p[1:].mean() > 0.4
