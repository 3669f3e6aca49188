"""Which training images a stage fits on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from app.audits.base import FitSpec
from workers.stages import fit_model

TRAIN = (100, 400)


def sampled(monkeypatch: pytest.MonkeyPatch, rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Of a training split in which every third row has no label."""
    labels = np.where(np.arange(300) % 3 == 0, -1, np.arange(300) % 5)
    monkeypatch.setattr(fit_model, "labels_between", lambda plan, start, stop: labels[start - 100 : stop - 100])
    plan: Any = SimpleNamespace(range=lambda role: TRAIN, rows=SimpleNamespace(run=SimpleNamespace(seed=seed)))
    return fit_model.sample(plan, FitSpec("Fit", "app.audits.influence.curvature:fit", rows))


def test_a_sample_has_labelled_rows_in_order_and_no_more_than_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = sampled(monkeypatch, 50)
    assert len(rows) == len(set(rows.tolist())) == 50
    assert (np.diff(rows) > 0).all()
    assert ((rows >= 100) & (rows < 400) & ((rows - 100) % 3 != 0)).all()
    assert labels.tolist() == ((rows - 100) % 5).tolist()


def test_a_small_split_is_taken_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(sampled(monkeypatch, 5000)[0]) == 200


def test_the_seed_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    first, again, other = (sampled(monkeypatch, 50, seed)[0].tolist() for seed in (0, 0, 1))
    assert first == again != other
