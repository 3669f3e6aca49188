"""The index on disk against TRAK's formula on everything in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from app.numerics.attribution.index import AttributionIndex, mapped_rows
from app.numerics.attribution.quantised import QuantisedRows, quantise
from app.numerics.attribution.ridge import Spectrum
from app.numerics.attribution.trak import Checkpoint, trak_scores


def test_the_index_gives_traks_scores_and_their_ends(tmp_path: Path) -> None:
    noise = torch.Generator().manual_seed(0)
    points, rows, solved = [], [], []
    for c in range(3):
        stored = quantise(torch.randn(700, 40, generator=noise))
        target, doubt = torch.randn(1, 40, generator=noise), torch.rand(700, generator=noise)
        points.append(Checkpoint(stored, Spectrum.of([stored.rows()]), target, doubt))
        np.save(tmp_path / f"codes-{c}.npy", stored.codes.numpy())
        np.save(tmp_path / f"scales-{c}.npy", stored.scales.numpy())
        rows.append(mapped_rows(tmp_path / f"codes-{c}.npy", tmp_path / f"scales-{c}.npy"))
        solved.append(points[-1].spectrum.solve(target, 0.5)[0])
    index = AttributionIndex(rows, torch.stack([point.doubt for point in points]).mean(dim=0))
    expected = trak_scores(points, ridge=0.5)[:, 0]
    torch.testing.assert_close(index.scores(torch.stack(solved)), expected)
    ends = index.ends(torch.stack(solved), 5)
    order = expected.argsort(descending=True)
    assert ends.rows.tolist() == [*order[:5].tolist(), *order[-5:].tolist()]
    torch.testing.assert_close(ends.scores, expected[ends.rows])


@pytest.mark.parametrize(("count", "width", "queries"), [(1500, 2048, 1), (3, 7, 4), (513, 2048, 3)])
def test_products_in_blocks_are_those_of_whole_matrices(count: int, width: int, queries: int) -> None:
    noise = torch.Generator().manual_seed(1)
    codes = torch.randint(-127, 128, (count, width), dtype=torch.int8, generator=noise)
    rows = QuantisedRows(codes, torch.rand(count, generator=noise))
    wanted = torch.randn(queries, width, generator=noise)
    expected = codes.double() * rows.scales[:, None] @ wanted.double().T
    assert (rows.dot(wanted) - expected).norm() < 1e-6 * expected.norm()
