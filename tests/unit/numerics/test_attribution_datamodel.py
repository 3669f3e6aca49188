"""Datamodels block by block: the same as at once, scikit-learn's adaptive LASSO, and memory that does not grow."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.stats import ttest_ind
from sklearn.linear_model import Lasso, LinearRegression
from torch import Tensor

from app.numerics.attribution import datamodel, subset_influence
from app.numerics.attribution.datamodel import DatamodelFitter, block_size, fit_datamodels, subset_masks


def drawn(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def planted() -> tuple[Tensor, Tensor, Tensor]:
    """Masks, outputs and a prior that points at the planted rows."""
    masks = subset_masks(300, 60, 0.5, torch.Generator().manual_seed(1))
    truth = torch.zeros(60, 6)
    truth[:5] = drawn(5, 6, seed=2) * 2
    return masks, masks.float() @ truth + 0.5 * drawn(300, 6, seed=9) + 3, truth.abs() + 0.2 * drawn(60, 6).abs()


def test_weighted_weights_are_scikit_learn_s_lasso_of_what_the_prior_leaves(
    planted: tuple[Tensor, Tensor, Tensor],
) -> None:
    masks, outputs, prior = planted
    found = fit_datamodels(masks, outputs, prior)
    for t in range(outputs.shape[1]):
        scale = (prior[:, t] / prior[:, t].mean()).sqrt().clamp(min=1e-3).numpy()
        predicted = (masks.double() @ prior[:, t].double()).numpy()
        multiple = max(LinearRegression().fit(predicted[:, None], outputs[:, t].numpy()).coef_[0], 0.0)
        peer = Lasso(alpha=float(found.penalties[t]) / 240, tol=1e-6, max_iter=20_000)
        peer.fit(masks.numpy() * scale, outputs[:, t].numpy() - multiple * predicted)
        expected = multiple * prior[:, t].numpy() + peer.coef_ * scale
        np.testing.assert_allclose(found.weights[:, t].numpy(), expected, atol=0.02)
        assert found.intercepts[t] == pytest.approx(peer.intercept_, abs=0.05)


def test_a_prior_that_is_right_needs_few_models_and_one_that_is_noise_costs_little() -> None:
    masks, others = (subset_masks(n, 60, 0.5, torch.Generator().manual_seed(n)) for n in (60, 400))
    truth = drawn(60, 8, seed=3)
    outputs = masks.float() @ truth + drawn(60, 8, seed=4)
    kinds = {"plain": None, "right": truth + 0.3 * drawn(60, 8, seed=5), "noise": drawn(60, 8, seed=6)}
    wanted = others.float() @ truth
    error = {
        name: float((others.float() @ found.weights + found.intercepts - wanted).square().mean())
        for name, found in ((name, fit_datamodels(masks, outputs, prior)) for name, prior in kinds.items())
    }
    assert error["right"] < 0.5 * error["plain"]
    assert error["noise"] < 1.5 * error["plain"]


def test_blocks_and_parts_of_the_masks_change_nothing(
    planted: tuple[Tensor, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    masks, outputs, prior = planted
    whole = fit_datamodels(masks, outputs, prior, path=3)
    monkeypatch.setattr(datamodel, "_PART", 60 * 90)
    monkeypatch.setattr(subset_influence, "_PART", 300 * 25)
    fitter = DatamodelFitter(masks, path=3)
    parts = [fitter.fit(outputs[:, some], prior[:, some]) for some in (slice(0, 4), slice(4, 6))]
    torch.testing.assert_close(torch.cat([p.weights for p in parts], dim=1), whole.weights, atol=0.01, rtol=0)
    torch.testing.assert_close(torch.cat([p.penalties for p in parts]), whole.penalties, rtol=0.02, atol=0)
    by_hand = outputs[masks[:, 8]].mean(dim=0) - outputs[~masks[:, 8]].mean(dim=0)
    torch.testing.assert_close(subset_influence.subset_influence(masks, outputs)[8], by_hand, rtol=1e-4, atol=1e-5)


def test_memorisation_over_its_error_is_welch_s_statistic() -> None:
    masks, own = subset_masks(50, 9, 0.5, torch.Generator().manual_seed(4)), drawn(50, 9) + torch.arange(9)
    masks[:, 7], masks[:, 8] = True, torch.arange(50) > 0
    found = subset_influence.memorisation(masks, own)
    for i in range(7):
        inside, outside = own[masks[:, i], i].double().numpy(), own[~masks[:, i], i].double().numpy()
        peer = ttest_ind(inside, outside, equal_var=False)
        assert float(found.value[i] / found.error[i]) == pytest.approx(peer.statistic, rel=1e-6)
        assert (int(found.seen[i]), int(found.unseen[i])) == (len(inside), len(outside))
    assert found.value[7].isnan()
    assert found.error[8].isnan()
    assert found.value[8].isfinite()


_PEAK = """
import resource, torch
from app.numerics.attribution import datamodel
from app.numerics.attribution.datamodel import DatamodelFitter, block_size, subset_masks
from app.numerics.attribution.sparse_weights import SparseCollector
datamodel._STEPS = 3
rows = 50_000
block = block_size(rows)
masks = subset_masks(24, rows, 0.5, torch.Generator().manual_seed(0))
outputs = torch.randn(24, 2 * block)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
fitter, kept = DatamodelFitter(masks, path=2), SparseCollector(4096)
for start in range(0, 2 * block, block):
    some = slice(start, start + block)
    kept.add(fitter.fit(outputs[:, some], torch.rand(rows, block)).weights)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_memory_is_that_of_a_block_at_fifty_thousand_rows() -> None:
    """About ten matrices of a block and a part of the masks; 10,000 targets at once would be 2 GB each."""
    block = block_size(50_000)
    assert block * 50_000 <= 2**21
    assert block_size(10**9) == 16
    done = subprocess.run([sys.executable, "-c", _PEAK], capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout) < 300e6
