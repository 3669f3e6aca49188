import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from app.numerics.gaussian_mixture import bayesian_information, fit_mixture, log_joint, responsibilities
from app.numerics.kmeans import kmeans


def cloud(n=400, d=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centres = 2.5 * torch.randn((3, d), generator=generator)
    return (centres[torch.randint(3, (n,), generator=generator)] + torch.randn((n, d), generator=generator)).double()


def scikit_from_our_start(points, k, covariance, iterations):
    """scikit-learn's EM from the same k-means start, for exactly as many steps."""
    labels = kmeans(points, k, torch.Generator().manual_seed(0)).labels.numpy()
    x = points.numpy()
    groups = [x[labels == j] for j in range(k)]
    spread = [np.cov(g.T, bias=True) + 1e-6 * np.eye(x.shape[1]) for g in groups]
    precisions = [1 / np.diag(c) if covariance == "diag" else np.linalg.inv(c) for c in spread]
    model = GaussianMixture(
        k,
        covariance_type=covariance,
        tol=1e-3,
        max_iter=iterations,
        means_init=[g.mean(0) for g in groups],
        weights_init=[len(g) / len(x) for g in groups],
        precisions_init=precisions,
    )
    return model.fit(x)


@pytest.mark.parametrize("covariance", ["diag", "full"])
@pytest.mark.parametrize("informative", [False, True])
def test_agrees_with_scikit_learn_where_categories_say_nothing(covariance, informative):
    points = cloud()
    constant = torch.zeros(len(points), dtype=torch.int64)
    categories = (constant, constant) if informative else ()
    ours = fit_mixture(points, 3, torch.Generator().manual_seed(0), covariance, categories, category_weight=5.0)
    theirs = scikit_from_our_start(points, 3, covariance, 100)
    assert ours.converged
    assert ours.log_likelihood == pytest.approx(theirs.score(points.numpy()), abs=2e-3)
    assert ours.means.numpy() == pytest.approx(theirs.means_, abs=0.05)
    assert ours.weights.numpy() == pytest.approx(theirs.weights_, abs=0.02)


def test_random_categories_leave_the_clusters_where_they_are():
    points = cloud(3000)
    random = torch.randint(4, (3000,), generator=torch.Generator().manual_seed(1))
    plain = fit_mixture(points, 3, torch.Generator().manual_seed(0))
    beside = fit_mixture(points, 3, torch.Generator().manual_seed(0), categories=(random,))
    assert beside.means.numpy() == pytest.approx(plain.means.numpy(), abs=0.15)


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_densities_and_posteriors_agree_with_scikit_learn(covariance):
    points = cloud(seed=3)
    ours = fit_mixture(points, 3, torch.Generator().manual_seed(0), covariance)
    model = GaussianMixture(3, covariance_type=covariance)
    model.weights_, model.means_ = ours.weights.numpy(), ours.means.numpy()
    model.covariances_ = ours.covariances.numpy()
    inverse = np.linalg.inv(model.covariances_) if covariance == "full" else 1 / model.covariances_
    model.precisions_cholesky_ = np.linalg.cholesky(inverse) if covariance == "full" else np.sqrt(inverse)
    assert log_joint(ours, points).logsumexp(1).numpy() == pytest.approx(model.score_samples(points.numpy()))
    assert responsibilities(ours, points).numpy() == pytest.approx(model.predict_proba(points.numpy()), abs=1e-8)
    assert bayesian_information(ours, len(points)) == pytest.approx(model.bic(points.numpy()))


def test_categories_alone_can_separate():
    points = torch.randn((600, 2), generator=torch.Generator().manual_seed(0)).double()
    kind = torch.arange(600) % 2
    found = fit_mixture(
        points, 2, torch.Generator().manual_seed(1), categories=(kind, kind), iterations=500, tolerance=0
    )
    posterior = responsibilities(found, points, (kind, kind))
    agreement = (posterior.argmax(1) == kind).double().mean()
    assert max(float(agreement), 1 - float(agreement)) > 0.99


def test_a_category_never_seen_is_unlikely_but_defined():
    points = cloud(100)
    found = fit_mixture(points, 2, torch.Generator().manual_seed(0), categories=(torch.arange(100) % 2,))
    joint = log_joint(found, points[:1], (torch.tensor([7]),))
    assert torch.isfinite(joint).all()
    assert torch.all(joint < log_joint(found, points[:1], (torch.tensor([0]),)))


def test_as_many_components_as_points_and_identical_points():
    found = fit_mixture(torch.ones(4, 3), 9, torch.Generator().manual_seed(0))
    assert torch.isfinite(log_joint(found, torch.ones(2, 3))).all()
