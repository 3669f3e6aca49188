"""Clusters by effect, the sample of targets, and the comparison of two runs' attributions."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
import torch

from app.audits.influence import effects
from app.audits.influence.compare import compare
from app.audits.influence.compare_schema import CompareAnswer, ComparePayload
from app.numerics.attribution.effects import effect_components

N, M = 40, 30


def planted(seed: int = 0) -> torch.Tensor:
    """Rows 0–19 help targets 0–14, rows 20–39 targets 15–29, and a little noise."""
    scores = torch.zeros(N, M)
    scores[:20, :15] = scores[20:, 15:] = 1.0
    return scores + 0.05 * torch.randn(N, M, generator=torch.Generator().manual_seed(seed))


def test_clusters_are_the_planted_groups() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = effects.cluster(effect_components(planted(), 4, generator), generator)
    first, second = set(labels[:20].tolist()), set(labels[20:].tolist())
    assert not first & second


def test_the_sample_is_the_same_for_all_runs_on_the_same_splits() -> None:
    assert effects.sampled_targets(100, 50).tolist() == list(range(50))
    some = effects.sampled_targets(50_000, 10_000)
    assert len(some) == effects.MOST_NUMBERS // 50_000
    assert (np.diff(some) > 0).all()
    np.testing.assert_array_equal(some, effects.sampled_targets(50_000, 10_000))


def run(folder: Path, scores: torch.Tensor, method: str = "trak", first_row: int = 0) -> Any:
    """A run's inputs with what the stage `effects` left behind."""
    folder.mkdir()
    unit = torch.nn.functional.normalize(scores, dim=0) * N**0.5
    np.save(folder / "scores.npy", unit.half().numpy())
    np.save(folder / "targets.npy", np.arange(M))
    summary = {"method": method, "targets": M, "of_targets": M, "shares": [0.5], "clusters": []}
    (folder / "summary.json").write_text(json.dumps({"effects": summary}))
    splits = [
        SimpleNamespace(manifest=pa.table({"row": np.arange(start, start + n)}))
        for start, n in ((first_row, N), (100, M))
    ]
    return cast(Any, SimpleNamespace(train=splits[0], audited=splits[1], earlier={"effects": folder}))


def answered(first: Any, second: Any) -> CompareAnswer:
    return CompareAnswer.model_validate(compare(first, ComparePayload(other_run_id=2), second).result)


def test_a_planted_difference_is_found_and_named_by_data_set_rows(tmp_path: Path) -> None:
    """The second model leans on rows 0–4 for the targets 0–9; the first does not."""
    base, other = planted(), planted()
    other[:5, :10] += 4.0
    found = answered(run(tmp_path / "a", base), run(tmp_path / "b", other))
    best = found.others[0]
    assert set(best.train_high[:5]) == set(range(5))
    assert set(best.audited_high) <= set(range(100, 110))
    assert best.own > 2 * best.other
    assert best.n == M // 2
    assert best.low is not None
    assert best.high is not None
    assert 0 < best.low < best.own - best.other < best.high
    assert 0.5 < found.similarity < 0.98
    assert found.low <= found.similarity <= found.high


def test_two_runs_that_differ_by_noise_alone_differ_in_nothing_that_holds(tmp_path: Path) -> None:
    """Each direction has a chance of 1 in 40 to seem to hold; of 24, 4 or more do in 1 of 300 cases."""
    held = 0
    for seed in range(3):
        noise = [torch.randn(N, M, generator=torch.Generator().manual_seed(10 * seed + i)) for i in (1, 2)]
        runs = [run(tmp_path / f"{seed}{i}", planted() + 0.2 * noise[i]) for i in (0, 1)]
        found = answered(runs[0], runs[1])
        assert len(found.own + found.others) == 8
        held += sum(one.low is not None and one.low > 0 for one in found.own + found.others)
    assert held <= 3


def test_a_run_agrees_with_itself(tmp_path: Path) -> None:
    found = answered(run(tmp_path / "a", planted()), run(tmp_path / "b", planted()))
    assert found.similarity == pytest.approx(1.0, abs=1e-3)
    assert (found.own, found.others) == ([], [])


def test_what_cannot_be_compared_is_told(tmp_path: Path) -> None:
    first = run(tmp_path / "a", planted())
    with pytest.raises(ValueError, match="TRAK and the other by Similarity"):
        answered(first, run(tmp_path / "b", planted(), "similarity"))
    with pytest.raises(ValueError, match="other images"):
        answered(first, run(tmp_path / "c", planted(), first_row=5))
    with pytest.raises(ValueError, match="kept no attributions"):
        answered(first, SimpleNamespace(earlier={}))
