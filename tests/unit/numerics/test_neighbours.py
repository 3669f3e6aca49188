import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from app.numerics.neighbours import exact_duplicate_groups, near_duplicate_groups, nearest_neighbours


def rows(n, d=12, seed=0):
    return torch.randn((n, d), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("blocks", [(2048, 32_768), (7, 13)])
def test_neighbours_agree_with_scikit_learn(blocks):
    reference, queries = rows(200), rows(30, seed=1)
    found = nearest_neighbours(queries, reference, 5, query_block=blocks[0], reference_block=blocks[1])
    model = NearestNeighbors(n_neighbors=5, metric="cosine").fit(reference.numpy())
    distance, index = model.kneighbors(queries.numpy())
    assert np.array_equal(found.indices.numpy(), index)
    assert found.similarity.numpy() == pytest.approx(1 - distance, abs=1e-5)


@pytest.mark.parametrize("block", [9, 4096])
def test_a_row_is_not_its_own_neighbour(block):
    reference = rows(60)
    found = nearest_neighbours(reference, reference, 3, exclude_self=True, query_block=block, reference_block=block + 4)
    assert not (found.indices == torch.arange(60)[:, None]).any()
    full = torch.nn.functional.normalize(reference, dim=1)
    products = (full @ full.T).fill_diagonal_(-2)
    assert torch.allclose(found.similarity, products.topk(3).values, atol=1e-6)


def test_k_is_capped_and_no_queries_are_fine():
    assert nearest_neighbours(rows(4), rows(3), 9).indices.shape == (4, 3)
    assert nearest_neighbours(rows(3), rows(3), 9, exclude_self=True).indices.shape == (3, 2)
    assert nearest_neighbours(rows(0), rows(3), 2).indices.shape == (0, 2)
    with pytest.raises(ValueError, match="k >= 1"):
        nearest_neighbours(rows(2), rows(0), 1)


def union_find(pairs, n):
    parent = list(range(n))

    def root(i):
        while parent[i] != i:
            i = parent[i]
        return i

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return np.array([root(i) for i in range(n)])


@pytest.mark.parametrize("blocks", [(2048, 32_768), (10, 20), (16, 7)])
def test_groups_are_those_of_a_union_find_over_all_pairs(blocks):
    base = rows(80, 6)
    features = torch.cat([base, base[:25] + 0.05 * rows(25, 6, 1), base[:5] + 0.05 * rows(5, 6, 2)])
    unit = torch.nn.functional.normalize(features, dim=1)
    pairs = torch.nonzero(unit @ unit.T >= 0.97).tolist()
    found = near_duplicate_groups(features, 0.97, query_block=blocks[0], reference_block=blocks[1])
    assert np.array_equal(found, union_find(pairs, len(features)))
    assert len(np.unique(found)) < len(features)


def test_known_groups_are_merged_with_similar_rows():
    features = torch.eye(5)
    features[1] = features[0]
    known = np.array([10, 11, 11, 12, 13])
    assert near_duplicate_groups(features, 0.99, known).tolist() == [0, 0, 0, 3, 4]
    with pytest.raises(ValueError, match="all 5 rows"):
        near_duplicate_groups(features, 0.99, np.zeros(3, dtype=np.int64))


def test_exact_groups_are_named_by_their_first_row():
    assert exact_duplicate_groups(np.array(["b", "a", "b", "c", "a"])).tolist() == [0, 1, 0, 3, 1]


def test_no_rows():
    assert near_duplicate_groups(torch.zeros((0, 4))).shape == (0,)


def test_rows_that_are_all_alike_are_one_group(monkeypatch):
    monkeypatch.setattr("app.numerics.neighbours.PAIRS_AT_ONCE", 500)
    assert near_duplicate_groups(torch.ones((90, 3)), query_block=20, reference_block=30).tolist() == [0] * 90
