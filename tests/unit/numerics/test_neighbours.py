import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from app.numerics.neighbours import nearest_neighbours


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


def test_k_is_capped_and_no_queries_are_fine():
    assert nearest_neighbours(rows(4), rows(3), 9).indices.shape == (4, 3)
    assert nearest_neighbours(rows(0), rows(3), 2).indices.shape == (0, 2)
    with pytest.raises(ValueError, match="k >= 1"):
        nearest_neighbours(rows(2), rows(0), 1)
