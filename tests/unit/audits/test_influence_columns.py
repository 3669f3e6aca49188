"""Column ends over blocks are those of the whole matrix, and kept spectra solve as the ones that they were made of."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from app.audits.influence.columns import ColumnEnds
from app.audits.influence.kept import kept_spectra, spectra_arrays
from app.numerics.attribution.quantised import quantise
from app.numerics.attribution.ridge import Spectrum
from app.numerics.attribution.trak import Checkpoint


@pytest.mark.parametrize("block", [1, 3, 50])
def test_blocks_do_not_matter(block: int) -> None:
    scores = torch.randn(7, 50, generator=torch.Generator().manual_seed(0))
    ends = ColumnEnds(7, 4)
    for start in range(0, 50, block):
        places = np.arange(start, min(start + block, 50))
        ends.add(scores[:, places], places)
    places, values = ends.arrays()
    order = scores.argsort(dim=1, descending=True)
    expected = torch.cat([order[:, :4], order[:, -4:]], dim=1)
    np.testing.assert_array_equal(places, expected.numpy())
    np.testing.assert_array_equal(values, scores.gather(1, expected).numpy())


def test_fewer_targets_than_wanted_are_all_kept() -> None:
    ends = ColumnEnds(2, 4)
    ends.add(torch.tensor([[1.0, -1.0], [0.0, 2.0]]), np.array([5, 9]))
    assert ends.arrays()[0].tolist() == [[5, 9, 5, 9], [9, 5, 9, 5]]


def test_kept_spectra_solve_as_before(tmp_path: Path) -> None:
    rows = torch.randn(40, 12, generator=torch.Generator().manual_seed(1))
    spectrum = Spectrum.of([rows])
    point = Checkpoint(quantise(rows), spectrum, torch.zeros(0, 12), torch.ones(40))
    for name, array in spectra_arrays([point], 0.5).items():
        np.save(tmp_path / f"{name}.npy", array)
    kept = kept_spectra(cast(Any, SimpleNamespace(earlier={"attribute": tmp_path})))
    assert kept is not None
    assert kept.ridge == 0.5
    torch.testing.assert_close(kept.spectrum(0).solve(rows, 0.5), spectrum.solve(rows, 0.5), rtol=1e-5, atol=1e-5)


def test_nothing_is_kept_without_gradients(tmp_path: Path) -> None:
    assert spectra_arrays([], None) == {}
    assert kept_spectra(cast(Any, SimpleNamespace(earlier={"attribute": tmp_path}))) is None
    assert kept_spectra(cast(Any, SimpleNamespace(earlier={}))) is None
