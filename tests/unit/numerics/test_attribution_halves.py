"""Shared top lists: against sets, on noise and on signal."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import hypergeom
from torch import Tensor

from app.numerics.attribution.halves import chance_shared, checkpoint_halves, half_spectrum, shared_tops
from app.numerics.attribution.quantised import quantise
from app.numerics.attribution.ridge import Spectrum
from app.numerics.attribution.trak import Checkpoint, trak_scores

ROWS, TARGETS, COUNT = 600, 40, 20


def point(train: Tensor, targets: Tensor) -> Checkpoint:
    stored = quantise(train)
    return Checkpoint(stored, Spectrum.of([stored.rows()]), targets, torch.ones(len(train)))


def agreement(points: list[Checkpoint]) -> Tensor:
    first, second = checkpoint_halves(points)
    return shared_tops(trak_scores(first), trak_scores(second), COUNT)


def row_scale(scores: Tensor) -> Tensor:
    return scores.square().mean(dim=1).sqrt()


def test_shared_rows_are_those_of_the_sets() -> None:
    noise = torch.Generator().manual_seed(0)
    a = torch.randn(50, 7, generator=noise)
    b = a + torch.randn(50, 7, generator=noise)
    found = shared_tops(a, b, 9)
    for target in range(7):
        highs, lows = (
            set(a[:, target].topk(9, largest=largest).indices.tolist())
            & set(b[:, target].topk(9, largest=largest).indices.tolist())
            for largest in (True, False)
        )
        assert found[target].tolist() == [len(highs), len(lows)]


@pytest.mark.parametrize(("rows", "count"), [(2000, 20), (60, 20), (12, 10), (6, 5)])
def test_chance_among_equal_rows_is_hypergeometric(rows: int, count: int) -> None:
    found = chance_shared(torch.ones(rows), count, torch.Generator().manual_seed(0))
    law = hypergeom(rows, count, count)
    assert abs(found.mean - law.mean()) < 4 * law.std() / 1000**0.5 + 1e-9
    assert law.ppf(0.98) <= found.most <= law.ppf(0.997)


def test_chance_knows_that_few_rows_have_large_scores() -> None:
    """Where 30 rows of 600 are loud, noise shares a third of its top 10, as if there were no others."""
    scale = torch.full((ROWS,), 1e-6)
    scale[:30] = 1
    found = chance_shared(scale, 10, torch.Generator().manual_seed(0))
    assert found.mean == pytest.approx(hypergeom(30, 10, 10).mean(), abs=0.15)
    assert found.most > hypergeom(ROWS, 10, 10).ppf(0.99)


def noise_points(checkpoints: int) -> list[Checkpoint]:
    """Independent features at every checkpoint, of very different lengths, and very different doubts."""
    noise = torch.Generator().manual_seed(1)
    length, doubt = torch.randn(ROWS, 1, generator=noise).exp(), torch.rand(ROWS, generator=noise) ** 4
    made = []
    for _ in range(checkpoints):
        train, targets = (torch.randn(n, 64, generator=noise) for n in (ROWS, TARGETS))
        made.append(point(length * train, targets)._replace(doubt=doubt))
    return made


@pytest.mark.parametrize("checkpoints", [1, 4])
def test_gradients_that_are_noise_agree_no_more_than_chance(checkpoints: int) -> None:
    """One list in a hundred may pass; more than 4 of 80 do with a probability below 0.002."""
    points = noise_points(checkpoints)
    chance = chance_shared(row_scale(trak_scores(points)), COUNT, torch.Generator().manual_seed(0))
    found = agreement(points)
    assert int((found > chance.most).sum()) <= 4
    assert float(found.double().mean()) == pytest.approx(chance.mean, rel=0.15)


def test_gradients_of_one_truth_agree() -> None:
    """Each checkpoint, and each half of the features, is another random view of the same 8 numbers an image."""
    noise = torch.Generator().manual_seed(2)
    train, targets = (torch.randn(n, 8, generator=noise) for n in (ROWS, TARGETS))
    for checkpoints in (1, 4):
        views = [torch.randn(8, 512, generator=noise) for _ in range(checkpoints)]
        found = agreement([point(train @ view, targets @ view) for view in views])
        assert float(found.double().mean()) > 0.8 * COUNT
        assert int(found.min()) > chance_shared(row_scale(train @ targets.T), COUNT, noise).most


def test_a_half_s_spectrum_is_that_of_its_features() -> None:
    rows = torch.randn(90, 14, generator=torch.Generator().manual_seed(3))
    whole, queries = Spectrum.of([rows]), torch.randn(5, 7, generator=torch.Generator().manual_seed(4))
    for side in (0, 1):
        found, expected = half_spectrum(whole, side), Spectrum.of([rows[:, side::2]])
        torch.testing.assert_close(found.solve(queries, 0.7), expected.solve(queries, 0.7))


def test_checkpoints_are_halved_every_second() -> None:
    points = [point(torch.eye(5, 4), torch.eye(2, 4)) for _ in range(3)]
    assert [len(half) for half in checkpoint_halves(points)] == [2, 1]
    with pytest.raises(ValueError, match="nothing to halve"):
        checkpoint_halves([])
