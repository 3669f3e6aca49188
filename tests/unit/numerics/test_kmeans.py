import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from app.numerics.kmeans import kmeans, nearest_centre, simplified_silhouette


def blobs(seed=0, k=4, each=60):
    generator = torch.Generator().manual_seed(seed)
    centres = 6 * torch.randn((k, 5), generator=generator)
    truth = torch.arange(k).repeat_interleave(each)
    return centres[truth] + torch.randn((k * each, 5), generator=generator), truth


def test_clusters_and_inertia_agree_with_scikit_learn():
    points, truth = blobs()
    ours = kmeans(points, 4, torch.Generator().manual_seed(0))
    theirs = KMeans(4, n_init=10, random_state=0).fit(points.numpy())
    assert adjusted_rand_score(truth, ours.labels) == pytest.approx(1.0)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-4)


def test_hard_case_is_as_good_as_scikit_learn():
    points = torch.randn((300, 8), generator=torch.Generator().manual_seed(1))
    ours = kmeans(points, 6, torch.Generator().manual_seed(0), restarts=20)
    theirs = KMeans(6, n_init=20, random_state=0).fit(points.numpy())
    assert ours.inertia <= theirs.inertia_ * 1.02


def test_labels_centres_and_inertia_are_consistent():
    points, _ = blobs(3)
    result = kmeans(points, 4, torch.Generator().manual_seed(5))
    distance = torch.cdist(points, result.centres) ** 2
    assert torch.equal(distance.argmin(1), result.labels)
    assert result.inertia == pytest.approx(float(distance.amin(1).sum()), rel=1e-4)
    for j in range(4):
        assert torch.allclose(points[result.labels == j].mean(0), result.centres[j], atol=1e-4)


def test_seeded():
    points = torch.randn((200, 3), generator=torch.Generator().manual_seed(2))
    a, b = (kmeans(points, 5, torch.Generator().manual_seed(9)) for _ in range(2))
    assert torch.equal(a.labels, b.labels)


def test_fewer_points_than_clusters_and_identical_points():
    assert kmeans(torch.ones(2, 3), 5, torch.Generator()).centres.shape == (2, 3)
    assert kmeans(torch.ones(9, 3), 3, torch.Generator()).inertia == pytest.approx(0.0, abs=1e-5)
    with pytest.raises(ValueError, match="at least one point"):
        kmeans(torch.ones(0, 3), 1, torch.Generator())


def test_nearest_centre_agrees_with_brute_force():
    points, _ = blobs(2)
    centres = points[::37]
    expected = [int(torch.linalg.vector_norm(centres - point, dim=1).argmin()) for point in points]
    assert nearest_centre(points, centres).tolist() == expected


def test_the_silhouette_agrees_with_its_definition():
    points, truth = blobs(5, each=20)
    centres = torch.stack([points[truth == j].mean(0) for j in range(4)])
    near = torch.cdist(points.double(), centres.double()).sort(dim=1).values[:, :2]
    expected = float(((near[:, 1] - near[:, 0]) / near.amax(dim=1)).mean())
    assert simplified_silhouette(points, centres) == pytest.approx(expected, abs=1e-4)
    assert simplified_silhouette(centres, centres) == pytest.approx(1.0, abs=1e-3)
    assert simplified_silhouette(torch.zeros(3, 2), torch.zeros(2, 2)) == 0.0
    with pytest.raises(ValueError, match="two centres"):
        simplified_silhouette(points, centres[:1])
