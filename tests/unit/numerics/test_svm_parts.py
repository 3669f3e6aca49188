"""The parts of the SVM solver against independent references."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.svm import SVC

from app.numerics.svm_admm import balance, solve_duals
from app.numerics.svm_cv import balanced_accuracy
from app.numerics.svm_intercept import optimal_intercept, saturated_intercept, saturated_side
from app.numerics.svm_kernel import Kernel, ShiftedInverse
from app.numerics.svm_rows import Padded, RowsByClass


def padded_rows(sizes, d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
    return torch.randn(len(sizes), max(sizes), d, generator=generator) / d**0.5 * mask[..., None], mask


@pytest.mark.parametrize("d", [5, 40])
def test_kernel_and_inverse(d):
    rows, mask = padded_rows([12, 20], d)
    kernel, vectors = Kernel.of(rows, mask), torch.randn(2, 3, 20, generator=torch.Generator().manual_seed(1))
    dense = rows.double() @ rows.double().mT
    torch.testing.assert_close(kernel.times(vectors).double(), vectors.double() @ dense, rtol=1e-5, atol=1e-5)
    rho = torch.tensor([0.5, 3.0])[:, None, None]
    inverse = torch.linalg.inv(dense + rho * torch.eye(20))
    found = ShiftedInverse.of(kernel, rho)
    torch.testing.assert_close(found.times(vectors).double(), vectors.double() @ inverse, rtol=1e-4, atol=1e-5)
    second = found.take(torch.tensor([1]))
    torch.testing.assert_close(second.times(vectors[1:]), found.times(vectors)[1:], rtol=1e-5, atol=1e-6)


def all_of(signs):
    return torch.ones(signs.shape[:2], dtype=torch.bool)


def test_only_wanted_problems_are_solved():
    rows, mask = padded_rows([20, 20, 20], 30)
    signs = torch.where(torch.arange(20) % 3 == 0, -1.0, 1.0).expand(3, 4, 20)
    wanted = torch.tensor([[True, False, False, False], [False] * 4, [False, False, True, False]])
    args = Kernel.of(rows, mask), signs, torch.ones_like(signs), torch.ones(3)
    part, whole = (solve_duals(*args, which, 1e-5, 1000) for which in (wanted, torch.ones_like(wanted)))
    assert torch.equal(part.gap.isfinite(), wanted)
    torch.testing.assert_close(part.beta[wanted], whole.beta[wanted], rtol=0, atol=1e-2)


@pytest.mark.parametrize("d", [6, 60])
def test_duals_against_libsvm(d):
    sizes, cost = [24, 40, 33], 2.0
    rows, mask = padded_rows(sizes, d)
    noise = torch.randn(3, 4, 40, generator=torch.Generator().manual_seed(2)) / d**0.5
    signs = torch.where(rows[:, None, :, 0] + noise < -0.2, -1.0, 1.0) * mask[:, None]
    upper = cost * mask[:, None].expand_as(signs).float()
    solution = solve_duals(Kernel.of(rows, mask), signs, upper, torch.full((3,), 1 / cost), all_of(signs), 1e-6, 5000)
    assert (solution.gap <= 1e-6).all()
    assert solution.beta.sum(-1).abs().max() < 1e-4
    assert (signs * solution.beta >= 0).all()
    assert (signs * solution.beta <= upper).all()
    assert not solution.beta[0, :, 24:].any()
    for g, n in enumerate(sizes):
        for q in range(4):
            x, y = rows[g, :n].numpy(), signs[g, q, :n].numpy()
            peer = SVC(kernel="linear", C=cost, tol=1e-5).fit(x, y)
            weights = solution.beta[g, q] @ rows[g]
            length = np.linalg.norm(peer.coef_)
            assert length > 0.1
            np.testing.assert_allclose(weights, peer.coef_[0], atol=5e-3 * length)


def test_a_poor_penalty_is_adapted():
    rows, mask = padded_rows([60], 80)
    signs = torch.where(torch.arange(60) % 5 == 0, -1.0, 1.0)[None, None]
    for rho in (1e-3, 1e3):
        solution = solve_duals(
            Kernel.of(rows, mask), signs, torch.ones_like(signs), torch.tensor([rho]), all_of(signs), 1e-4, 1000
        )
        assert solution.gap.item() <= 1e-4


def test_balance_keeps_the_box():
    beta = torch.tensor([[1.0, 2.0, -1.0, 0.0], [0.5, 0.0, -3.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    found = balance(beta)
    torch.testing.assert_close(found.sum(-1), torch.zeros(4))
    assert (found.abs() <= beta.abs()).all()
    torch.testing.assert_close(found[0], torch.tensor([1 / 3, 2 / 3, -1.0, 0.0]))


def test_optimal_intercept_minimises_the_hinge_loss():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        signs = torch.where(torch.rand(30, generator=generator) < 0.3, -1.0, 1.0)
        scores, upper = (
            torch.randn(30, generator=generator),
            torch.where(signs > 0, 1 / (signs > 0).sum(), 1 / (signs < 0).sum()),
        )
        grid = torch.linspace(-4, 4, 4001)
        loss = (upper * (1 - signs * (scores + grid[:, None])).clamp(min=0)).sum(1)
        found = optimal_intercept(signs, scores, upper)
        assert (upper * (1 - signs * (scores + found)).clamp(min=0)).sum() <= loss.min() + 1e-5


def test_optimal_intercept_ignores_padding_and_takes_the_middle():
    signs, scores = torch.tensor([1.0, -1.0, 0.0]), torch.tensor([0.2, -0.1, 9.0])
    found = optimal_intercept(signs, scores, torch.tensor([1.0, 1.0, 0.0]))
    assert found.item() == pytest.approx((0.8 - 0.9) / 2)


def test_saturated_side_is_libsvms():
    """The replay of libsvm's rounding against libsvm itself: at least 95 % alike (99 % over all counts)."""
    rng = np.random.default_rng(0)
    agreed = []
    for n, n_negative in ((25, 4), (25, 9), (30, 20), (50, 5), (50, 8), (50, 20), (75, 60), (80, 11)):
        x = rng.standard_normal((n, 200))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        y = rng.permutation(n) >= n_negative
        share = {True: n / (2 * (n - n_negative)), False: n / (2 * n_negative)}
        scores = x @ (x.T @ np.where(y, share[True], -share[False]))
        top, bottom = scores[y].max(), scores[~y].min()
        for cost in np.logspace(-6, -2, 5):
            b = SVC(kernel="linear", C=cost, class_weight="balanced").fit(x, y).intercept_[0]
            side = saturated_side(n - n_negative, n_negative, cost * share[True], cost * share[False])
            ours = saturated_intercept(*(torch.tensor(v) for v in (cost * top, cost * bottom, side)))
            agreed.append(abs(float(ours) - b) < 2e-3)
    assert np.mean(agreed) >= 0.95


def test_balanced_accuracy_is_scikit_learns():
    generator = torch.Generator().manual_seed(0)
    scores, targets = torch.randn(2, 3, 20, generator=generator), torch.rand(2, 3, 20, generator=generator) < 0.7
    mask = torch.arange(20) < torch.tensor([[14], [20]])
    found = balanced_accuracy(scores, targets, mask)
    for g in range(2):
        for q in range(3):
            y, predicted = targets[g, q][mask[g]].numpy(), scores[g, q][mask[g]].numpy() >= 0
            assert found[g, q].item() == pytest.approx(balanced_accuracy_score(y, predicted))


def test_balanced_accuracy_of_one_outcome_is_its_recall():
    found = balanced_accuracy(
        torch.tensor([[[1.0, -1.0]]]), torch.ones(1, 1, 2, dtype=torch.bool), torch.ones(1, 2).bool()
    )
    assert found.item() == 0.5


def test_padded_positions():
    found = Padded.where(torch.tensor([[True, False, True, False], [False, False, False, True]]))
    assert found.at[0].tolist() == [0, 2]
    assert found.at[1, 0].item() == 3
    assert found.mask.tolist() == [[True, True], [True, False]]


def test_rows_by_class_keep_their_order():
    rows = RowsByClass.of(torch.tensor([2, 0, 2, 0, 2]), 4)
    assert rows.size.tolist() == [2, 0, 3, 0]
    block = rows.block(torch.tensor([2, 0]))
    assert block.at[block.mask].tolist() == [0, 2, 4, 1, 3]


@pytest.mark.parametrize("elements", [1, 5_000, 100_000, 10**9])
def test_buckets_hold_every_class_once_within_the_bound(elements):
    generator = torch.Generator().manual_seed(0)
    sizes = torch.randint(1, 300, (40,), generator=generator)
    rows = RowsByClass.of(torch.arange(40).repeat_interleave(sizes), 40)
    buckets = list(rows.buckets(torch.arange(40), dimensions=32, vectors=2, elements=elements))
    assert sorted(torch.cat(buckets).tolist()) == list(range(40))
    for bucket in buckets:
        size = sizes[bucket]
        assert len(bucket) == 1 or len(bucket) * int(size.max()) * 32 <= elements
        assert int(size.max()) <= 1.25 * int(size.min()) + 8
    assert list(rows.buckets(torch.arange(0), 32, 2, elements)) == []
