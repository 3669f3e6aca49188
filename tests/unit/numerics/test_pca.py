import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from app.numerics.pca import principal_components, project


@pytest.mark.parametrize("shape", [(300, 20), (15, 40)])
def test_axes_and_variances_agree_with_scikit_learn(shape):
    rows = np.random.default_rng(0).normal(size=shape) * np.linspace(3, 0.3, shape[1]) + 5
    ours = principal_components(torch.from_numpy(rows), 6, block=7)
    theirs = PCA(6).fit(rows)
    assert ours.variance.numpy() == pytest.approx(theirs.explained_variance_)
    assert np.abs((ours.axes.numpy() * theirs.components_).sum(1)) == pytest.approx(np.ones(6), abs=1e-5)
    coordinates = project(ours, torch.from_numpy(rows), block=11)
    assert np.abs(coordinates.numpy()) == pytest.approx(np.abs(theirs.transform(rows)), abs=1e-4)


def test_signs_do_not_depend_on_chance_and_count_is_capped():
    rows = torch.randn((5, 9), generator=torch.Generator().manual_seed(0))
    found = principal_components(rows, 99)
    assert found.axes.shape == (4, 9)
    assert torch.all(found.axes.gather(1, found.axes.abs().argmax(1, keepdim=True)) > 0)
    assert project(found, rows[:0]).shape == (0, 4)


def test_too_few_rows():
    with pytest.raises(ValueError, match="two rows"):
        principal_components(torch.ones(1, 3), 2)
