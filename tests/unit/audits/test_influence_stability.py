"""Scores by halves of the evidence: the whole is TRAK's, each half is TRAK's on it; noise and signal are told apart."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from app.audits.influence.page_stability import steadiness
from app.audits.influence.schema import Stability
from app.audits.influence.stability import HalvedTrak, StableTrak, mean_row
from app.numerics.attribution.quantised import QuantisedRows, quantise
from app.numerics.attribution.ridge import Spectrum
from app.numerics.attribution.trak import Checkpoint, trak_scores

ROWS, TARGETS, RIDGE = 400, 50, 1.0


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def points(features: list[Tensor]) -> list[Checkpoint]:
    stored = [quantise(one) for one in features]
    doubts = [torch.rand(ROWS, generator=torch.Generator().manual_seed(c)) for c in range(len(stored))]
    return [
        Checkpoint(rows, Spectrum.of([rows.rows()]), torch.zeros(0), doubt)
        for rows, doubt in zip(stored, doubts, strict=True)
    ]


@pytest.mark.parametrize("checkpoints", [1, 2, 5])
def test_the_whole_is_trak_and_so_is_each_half(checkpoints: int) -> None:
    trained = points([noise(ROWS, 24, seed=c) for c in range(checkpoints)])
    targets = [noise(TARGETS, 24, seed=100 + c) for c in range(checkpoints)]
    found = HalvedTrak(trained).scores(targets, RIDGE)
    doubt = torch.stack([point.doubt for point in trained]).mean(dim=0)
    own = [p._replace(targets=t, doubt=doubt) for p, t in zip(trained, targets, strict=True)]
    torch.testing.assert_close(found.scores, trak_scores(own, RIDGE), rtol=1e-4, atol=1e-6)
    for side, half in enumerate((found.first, found.second)):
        if checkpoints > 1:
            expected = trak_scores(own[side::2], RIDGE)
        else:
            rows = QuantisedRows(own[0].train.codes[:, side::2], own[0].train.scales)
            point = Checkpoint(rows, Spectrum.of([rows.rows()]), targets[0][:, side::2], doubt)
            expected = trak_scores([point], RIDGE)
        torch.testing.assert_close(half, expected, rtol=1e-4, atol=1e-6)


def judged(features: list[Tensor], targets: list[Tensor]) -> tuple[Stability, np.ndarray]:
    """What a run with these features at its checkpoints says of its lists."""
    stored = [quantise(one) for one in targets]
    model = {
        f"gradients.{name}-{c}": getattr(one, name).numpy() for c, one in enumerate(stored) for name in one._fields
    }
    split = SimpleNamespace(manifest=pa.table({"row": np.arange(ROWS)}))
    attributor: Any = SimpleNamespace(
        trained=points(features),
        ridge=RIDGE,
        train=split,
        targets=SimpleNamespace(model=model),
        inputs=SimpleNamespace(seed=0),
    )
    stable = StableTrak(cast(Any, attributor))
    for start in range(0, TARGETS, 20):
        stable(np.arange(start, min(start + 20, TARGETS)))
    return stable.summary(), stable.shared()


@pytest.mark.parametrize("checkpoints", [1, 4])
def test_noise_is_called_noise(checkpoints: int) -> None:
    found, shared = judged(
        [noise(ROWS, 64, seed=c) for c in range(checkpoints)],
        [noise(TARGETS, 64, seed=50 + c) for c in range(checkpoints)],
    )
    assert found.halves == ("features" if checkpoints == 1 else "checkpoints")
    assert (found.targets, found.compared, shared.shape) == (TARGETS, 20, (TARGETS, 2))
    assert found.helpful.noisy >= TARGETS - 3
    assert found.harmful.noisy >= TARGETS - 3
    assert found.helpful.low <= found.helpful.mean <= found.helpful.high
    assert found.helpful.mean == pytest.approx(found.chance, abs=0.7)
    worst = shared[shared.sum(axis=1).argmin()]
    assert steadiness((int(worst[0]), int(worst[1])), found).verdict == "This ranking is noise."


@pytest.mark.parametrize("checkpoints", [1, 4])
def test_signal_is_called_stable(checkpoints: int) -> None:
    train, targets = noise(ROWS, 6, seed=1), noise(TARGETS, 6, seed=2)
    views = [noise(6, 256, seed=10 + c) for c in range(checkpoints)]
    found, shared = judged([train @ view for view in views], [targets @ view for view in views])
    assert (found.helpful.noisy, found.harmful.noisy) == (0, 0)
    assert found.helpful.mean > 0.8 * found.compared
    best = shared[shared.min(axis=1).argmax()]
    assert steadiness((int(best[0]), int(best[1])), found).verdict == "Stable ranking."


def test_a_mean_row_is_the_mean_of_rows() -> None:
    rows = quantise(noise(30, 8, seed=3))
    split: Any = SimpleNamespace(
        model={"gradients.codes-0": rows.codes.numpy(), "gradients.scales-0": rows.scales.numpy()}
    )
    places = np.array([4, 9, 11])
    torch.testing.assert_close(mean_row(split, 0, places)[0], rows.rows()[places].mean(dim=0))
