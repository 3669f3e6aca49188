"""Products with quantised rows in blocks, also of every second feature, and from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from app.numerics.attribution.quantised import QuantisedRows


def exact(rows: QuantisedRows, wanted: Tensor) -> Tensor:
    return rows.codes.double() * rows.scales[:, None] @ wanted.double().T


@pytest.mark.parametrize(("count", "width", "queries"), [(1500, 2048, 1), (3, 7, 4), (513, 2048, 3)])
def test_products_in_blocks_are_those_of_whole_matrices(count: int, width: int, queries: int) -> None:
    noise = torch.Generator().manual_seed(1)
    codes = torch.randint(-127, 128, (count, width), dtype=torch.int8, generator=noise)
    rows = QuantisedRows(codes, torch.rand(count, generator=noise))
    wanted = torch.randn(queries, width, generator=noise)
    assert (rows.dot(wanted) - exact(rows, wanted)).norm() < 1e-6 * exact(rows, wanted).norm()
    half = QuantisedRows(codes[:, 1::2], rows.scales)
    found, expected = half.dot(wanted[:, 1::2]), exact(half, wanted[:, 1::2])
    assert (found - expected).norm() < 1e-6 * expected.norm()


def test_blocks_are_all_rows_in_order() -> None:
    codes = torch.arange(9000, dtype=torch.int64).remainder(127).to(torch.int8)[:, None].expand(9000, 3)
    rows = QuantisedRows(codes, torch.linspace(0, 1, 9000))
    blocks = list(rows.blocks())
    assert len(blocks) == 3
    assert torch.equal(torch.cat(blocks), rows.rows())


def test_rows_may_stay_in_their_file(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(-127, 128, (90, 12), dtype=np.int8)
    np.save(tmp_path / "codes.npy", codes)
    mapped = torch.from_numpy(np.load(tmp_path / "codes.npy", mmap_mode="c", allow_pickle=False))
    rows, wanted = QuantisedRows(mapped, torch.ones(90)), torch.ones(1, 12)
    assert rows.dot(wanted)[:, 0].tolist() == codes.sum(axis=1, dtype=float).tolist()
