import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm

from app.numerics.mixture import confusion_start, error_mixture_scores, fit_error_mixture
from app.numerics.pca import project


def pictures(seed=0, n=1500, d=40):
    """Three classes far apart; inside class 0 a cluster of 10 % is taken for class 2."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (n,), generator=generator)
    axes = torch.linalg.qr(torch.randn((d, 4), generator=generator))[0].T
    members = (labels == 0) & (torch.rand(n, generator=generator) < 0.25)
    features = torch.randn((n, d), generator=generator) + 8 * axes[labels] + 8 * members[:, None] * axes[3]
    wrong = torch.rand(n, generator=generator) < torch.where(members, 0.8, 0.03)
    predictions = torch.where(wrong, torch.where(members, 2, (labels + 1) % 3), labels)
    return features, labels, predictions, members


def test_the_planted_mistake_is_the_first_slice_and_named():
    features, labels, predictions, members = pictures()
    found = fit_error_mixture(features, labels, predictions, 0, components=12, dimensions=16)
    scores = error_mixture_scores(found, features, labels)
    assert members[scores[:, 0].topk(25).indices].double().mean() >= 0.96
    assert (int(found.labels[0]), int(found.mistaken_for[0])) == (0, 2)
    assert torch.equal(found.gaps, found.gaps.sort(descending=True).values)
    assert float(found.gaps[0]) > 0.5


def test_new_rows_are_found_without_their_prediction():
    features, labels, predictions, members = pictures(n=2400)
    fit = torch.arange(2400) % 2 == 0
    found = fit_error_mixture(features[fit], labels[fit], predictions[fit], 0, components=12, dimensions=16)
    scores = error_mixture_scores(found, features[~fit], labels[~fit])
    assert members[~fit][scores[:, 0].topk(25).indices].double().mean() >= 0.96
    assert float(scores.min()) >= 0
    assert float(scores.max()) <= 1


def test_shuffled_predictions_do_not_place_rows():
    features, labels, predictions, _ = pictures(2, n=900)
    generator = torch.Generator().manual_seed(0)
    half = torch.rand(900, generator=generator) < 0.5
    shuffled = predictions.clone()
    for c in range(3):
        rows = torch.nonzero(labels == c)[:, 0]
        shuffled[rows] = predictions[rows[torch.randperm(len(rows), generator=generator)]]
    found = fit_error_mixture(features[half], labels[half], shuffled[half], 0, components=12, dimensions=16)
    scores = error_mixture_scores(found, features[~half], labels[~half])
    wrong = (shuffled != labels)[~half]
    for j in range(scores.shape[1]):
        top = scores[:, j].topk(60).indices
        base = wrong[labels[~half] == found.labels[j]].double().mean()
        assert abs(float(wrong[top].double().mean() - base)) < 0.2


def test_seeded_and_blockwise():
    features, labels, predictions, _ = pictures(n=300)
    a, b = (fit_error_mixture(features, labels, predictions, 4, components=5, dimensions=8) for _ in range(2))
    assert torch.equal(a.mixture.means, b.mixture.means)
    blocks = error_mixture_scores(a, features, labels, block=31)
    assert torch.allclose(blocks, error_mixture_scores(a, features, labels), atol=1e-5)


def test_one_class_and_few_rows():
    found = fit_error_mixture(torch.randn(6, 3), torch.zeros(6).long(), torch.zeros(6).long(), 0)
    assert float(found.gaps.max()) == pytest.approx(0.0, abs=1e-4)
    with pytest.raises(ValueError, match="one length"):
        fit_error_mixture(torch.randn(6, 3), torch.zeros(5).long(), torch.zeros(6).long(), 0)


def em_in_numpy(x, labels, predictions, share, weight, iterations=100, tolerance=1e-3):
    """The published recipe, written again from its formulas: log weights, means, variances and both tables."""
    own, said = np.eye(labels.max() + 1)[labels], np.eye(predictions.max() + 1)[predictions]
    before = -np.inf
    for _ in range(iterations + 1):
        mass = share.sum(0)
        mean = share.T @ x / mass[:, None]
        variance = np.stack([(s[:, None] * (x - m) ** 2).sum(0) / s.sum() for s, m in zip(share.T, mean, strict=True)])
        tables = [(share.T @ hot + 1e-6) / (share.T @ hot + 1e-6).sum(1, keepdims=True) for hot in (own, said)]
        density = np.stack(
            [norm.logpdf(x, m, np.sqrt(v + 1e-6)).sum(1) for m, v in zip(mean, variance, strict=True)], axis=1
        )
        joint = np.log(mass / mass.sum()) + density
        joint = joint + weight * (np.log(tables[0])[:, labels].T + np.log(tables[1])[:, predictions].T)
        total = logsumexp(joint, axis=1)
        if total.mean() - before < tolerance:
            break
        before, share = total.mean(), np.exp(joint - total[:, None])
    return mean, variance, tables


def test_it_is_the_published_recipe_from_the_same_start():
    features, labels, predictions, _ = pictures(3, n=400, d=6)
    found = fit_error_mixture(features, labels, predictions, 5, components=9, slices=9, dimensions=6)
    generator = torch.Generator().manual_seed(5)
    order = torch.randperm(400, generator=generator)
    start = confusion_start(labels[order], predictions[order], 9, generator)
    x = project(found.components, features[order]).double().numpy()
    mean, variance, tables = em_in_numpy(x, labels[order].numpy(), predictions[order].numpy(), start.numpy(), 10.0)
    np.testing.assert_allclose(found.mixture.means.numpy(), mean, atol=1e-6)
    np.testing.assert_allclose(found.mixture.covariances.numpy(), variance + 1e-6, atol=1e-6)
    for held, expected in zip(found.mixture.tables, tables, strict=True):
        np.testing.assert_allclose(held.numpy(), expected, atol=1e-6)
    gaps = np.abs(tables[0] - tables[1]).max(1)
    np.testing.assert_allclose(found.gaps.numpy(), np.sort(gaps)[::-1], atol=1e-6)


def test_the_start_deals_components_to_the_cells_that_occur():
    labels, predictions = torch.tensor([0, 0, 0, 1, 1, 0]), torch.tensor([0, 0, 0, 1, 1, 1])
    share = confusion_start(labels, predictions, 5, torch.Generator().manual_seed(0))
    assert share.sum(1).tolist() == pytest.approx([1] * 6)
    # Cells by size: (0, 0), (1, 1), (0, 1), and round again.
    assert (share > 0.1).long().tolist() == [[1, 0, 0, 1, 0]] * 3 + [[0, 1, 0, 0, 1]] * 2 + [[0, 0, 1, 0, 0]]
    assert not torch.equal(share[:, 0], share[:, 3])
