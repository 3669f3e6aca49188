import numpy as np
import pytest
import torch
from sklearn.manifold import trustworthiness as scikit_trustworthiness

from app.numerics.pca import principal_components, project
from app.numerics.projection import flat_map, trustworthiness


def clusters(n=400, d=30, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centres = 6 * torch.randn((5, d), generator=generator)
    home = torch.randint(5, (n,), generator=generator)
    return centres[home] + torch.randn((n, d), generator=generator), home


def nearest_share(positions, home, k=5):
    distance = torch.cdist(positions, positions).fill_diagonal_(torch.inf)
    return float((home[distance.topk(k, largest=False).indices] == home[:, None]).double().mean())


@pytest.fixture(scope="module")
def mapped():
    features, home = clusters()
    return features, home, flat_map(features, 0, home, sample_rows=250, iterations=100)


def test_neighbours_stay_neighbours_sampled_or_placed(mapped):
    _, home, result = mapped
    assert result.positions.shape == (400, 2)
    assert nearest_share(result.positions, home) > 0.97
    assert result.trustworthiness > 0.8
    assert result.trust_n == 400


def test_map_is_more_trustworthy_than_two_components(mapped):
    features, _, result = mapped
    plain = project(principal_components(features, 2), features)
    assert result.trustworthiness > trustworthiness(features, plain)


def test_every_stratum_is_in_the_sample(mapped):
    _, home, result = mapped
    assert len(result.sample) == 250
    share = np.bincount(home[result.sample], minlength=5) / np.bincount(home, minlength=5)
    assert share == pytest.approx(np.full(5, 0.625), abs=0.02)
    rare = np.array([0] * 395 + [1, 2, 3, 4, 5])
    tiny = flat_map(clusters()[0], 0, rare, sample_rows=20, iterations=10)
    assert set(rare[tiny.sample]) == set(range(6))


def test_seeded():
    features, _ = clusters(120)
    a, b = (flat_map(features, 3, sample_rows=80, iterations=20) for _ in range(2))
    assert torch.equal(a.positions, b.positions)


@pytest.mark.parametrize("k", [5, 12])
def test_trustworthiness_agrees_with_scikit_learn(k):
    features, _ = clusters(150)
    flat = features[:, :2]
    expected = scikit_trustworthiness(features.numpy(), flat.numpy(), n_neighbors=k)
    assert trustworthiness(features, flat, k) == pytest.approx(expected)


@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_few_rows_are_placed_all_the_same(n):
    result = flat_map(torch.randn((n, 4), generator=torch.Generator().manual_seed(0)), 0)
    assert result.positions.shape == (n, 2)
    assert torch.isfinite(result.positions).all()


def test_ten_rows_and_identical_rows():
    some = flat_map(torch.randn((10, 3), generator=torch.Generator().manual_seed(0)), 0, iterations=10)
    assert torch.isfinite(some.positions).all()
    assert torch.all(flat_map(torch.ones((12, 3)), 0).positions == 0)
