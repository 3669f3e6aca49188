import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler, normalize

from app.numerics.embedding import Standardiser, unit_rows


def sample(n=200, d=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator) * torch.arange(1, d + 1) + 3


def test_is_scikit_learns_scaler():
    reference, other = sample(), sample(50, seed=1)
    peer = StandardScaler().fit(reference.double().numpy())
    found = Standardiser.of(reference)
    np.testing.assert_allclose(found.apply(other), peer.transform(other.double().numpy()), rtol=1e-4, atol=1e-5)
    expected = normalize(peer.transform(other.double().numpy()))
    np.testing.assert_allclose(found.unit_rows(other), expected, rtol=1e-4, atol=1e-5)


def test_the_reference_split_alone_decides():
    reference = sample()
    found = Standardiser.of(reference)
    torch.testing.assert_close(found.apply(reference).mean(0), torch.zeros(12), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.apply(reference).std(0, correction=0), torch.ones(12), atol=1e-4, rtol=0)
    assert found.apply(reference + 10).mean() > 1


@pytest.mark.parametrize("constant", [0.0, 0.1, -7.3, 1e4])
def test_constant_dimensions_become_zero(constant):
    reference = sample()
    reference[:, 4] = constant
    found = Standardiser.of(reference)
    assert found.std[4] == 1
    assert found.apply(reference)[:, 4].abs().max() <= 1e-6 * max(1, abs(constant))


def test_small_but_real_spread_is_kept():
    reference = sample() * 1e-8
    assert (Standardiser.of(reference).apply(reference).std(0) > 0.9).all()


def test_large_means_do_not_drown_the_spread():
    reference = torch.randn(40_000, 2, generator=torch.Generator().manual_seed(0)) + 1000
    torch.testing.assert_close(Standardiser.of(reference).std, torch.ones(2), atol=0.02, rtol=0)


def test_blocks_are_joined(monkeypatch):
    reference = sample(101)
    whole = Standardiser.of(reference)
    expected = whole.unit_rows(reference)
    monkeypatch.setattr("app.numerics.embedding.ROWS_AT_ONCE", 7)
    parts = Standardiser.of(reference)
    torch.testing.assert_close(parts.mean, whole.mean)
    torch.testing.assert_close(parts.std, whole.std)
    assert torch.equal(whole.unit_rows(reference), expected)


def test_writes_where_it_is_told(tmp_path):
    reference = sample()
    place = np.memmap(tmp_path / "rows.npy", dtype=np.float32, mode="w+", shape=(200, 12))
    found = Standardiser.of(reference)
    found.unit_rows(reference, out=torch.from_numpy(place))
    np.testing.assert_array_equal(place, found.unit_rows(reference).numpy())


def test_one_row_and_no_rows():
    found = Standardiser.of(torch.ones(1, 3))
    assert torch.equal(found.unit_rows(torch.ones(1, 3)), torch.zeros(1, 3))
    assert found.unit_rows(torch.zeros(0, 3)).shape == (0, 3)
    with pytest.raises(ValueError, match="no rows"):
        Standardiser.of(torch.zeros(0, 3))


def test_unit_rows_have_length_one_and_zero_stays():
    rows = sample(10)
    rows[3] = 0
    length = unit_rows(rows).norm(dim=1)
    assert length[3] == 0
    torch.testing.assert_close(length[torch.arange(10) != 3], torch.ones(9))


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_non_finite_values_are_named(value):
    rows = sample()
    rows[23, 1] = value
    with pytest.raises(ValueError, match="row 23"):
        Standardiser.of(rows)
    with pytest.raises(ValueError, match="row 23"):
        Standardiser.of(sample()).unit_rows(rows)
    with pytest.raises(ValueError, match=r"need \[N, d\]"):
        Standardiser.of(rows[0])
