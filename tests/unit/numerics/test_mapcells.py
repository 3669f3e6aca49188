import pytest
import torch
from sklearn.mixture import GaussianMixture

from app.numerics.gaussian_mixture import log_joint
from app.numerics.mapcells import fit_map_cells, map_cell_scores


def a_map(seed=0, n=800):
    """Four islands on the map; the third is mostly wrong, the fourth half wrong and twice as large."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.tensor([[0.0, 0.0], [12.0, 0.0], [0.0, 12.0], [12.0, 12.0]])
    island = torch.tensor([0, 1, 2, 3, 3])[torch.randint(5, (n,), generator=generator)]
    positions = centres[island] + torch.randn((n, 2), generator=generator)
    errors = torch.rand(n, generator=generator) < torch.tensor([0.03, 0.03, 0.9, 0.45])[island]
    noise = 0.1 * torch.rand(n, generator=generator)
    return positions, torch.where(errors, 0.2, 0.8) + noise, errors, island


def test_cells_are_ranked_by_errors_times_error_rate():
    positions, confidence, errors, _ = a_map()
    cells = fit_map_cells(positions, confidence, errors, 0)
    raw = torch.cat([positions, confidence[:, None]], dim=1).double()
    home = log_joint(cells.mixture, (raw - cells.low) / cells.span).argmax(1)
    expected = []
    for cell in cells.order.tolist():
        inside = errors[home == cell]
        expected.append(float(inside.sum()) * float(inside.double().mean()) if len(inside) else 0.0)
    assert cells.importance.tolist() == pytest.approx(expected)
    assert expected == sorted(expected, reverse=True)


def test_the_worst_island_comes_first_even_without_its_confidence():
    positions, confidence, errors, island = a_map()
    cells = fit_map_cells(positions, confidence, errors, 0)
    scores = map_cell_scores(cells, positions)
    top = scores[:, 0].topk(25).indices
    assert (island[top] == 2).double().mean() >= 0.95


def test_scores_are_the_mixture_restricted_to_the_map():
    positions, confidence, errors, _ = a_map(n=300)
    cells = fit_map_cells(positions, confidence, errors, 0)
    model = GaussianMixture(len(cells.order), covariance_type="full")
    model.weights_ = cells.mixture.weights.numpy()
    model.means_ = cells.mixture.means[:, :2].numpy()
    inverse = torch.linalg.inv(cells.mixture.covariances[:, :2, :2])
    model.precisions_cholesky_ = torch.linalg.cholesky(inverse).numpy()
    points = ((positions.double() - cells.low[:2]) / cells.span[:2]).numpy()
    expected = model.predict_proba(points)[:, cells.order.numpy()]
    assert map_cell_scores(cells, positions).numpy() == pytest.approx(expected, abs=1e-5)


def test_the_number_of_cells_is_scikit_learns_choice_by_bic():
    positions, confidence, errors, _ = a_map(n=400)
    cells = fit_map_cells(positions, confidence, errors, 0, max_components=10)
    raw = torch.cat([positions, confidence[:, None]], dim=1).double()
    points = ((raw - cells.low) / cells.span).numpy()
    bic = {k: GaussianMixture(k, n_init=5, random_state=0).fit(points).bic(points) for k in (2, 4, 6, 8, 10)}
    assert bic[len(cells.order)] <= min(bic.values()) + 0.02 * abs(min(bic.values()))


def test_degenerate_maps():
    cells = fit_map_cells(torch.zeros(3, 2), torch.ones(3), torch.zeros(3, dtype=torch.bool), 0)
    assert cells.importance.tolist() == [0.0]
    assert torch.isfinite(map_cell_scores(cells, torch.zeros(2, 2))).all()
    with pytest.raises(ValueError, match=r"\[n, 2\]"):
        fit_map_cells(torch.zeros(3, 3), torch.ones(3), torch.zeros(3, dtype=torch.bool), 0)
    with pytest.raises(ValueError, match="at least 1"):
        fit_map_cells(torch.zeros(0, 2), torch.ones(0), torch.zeros(0, dtype=torch.bool), 0)
