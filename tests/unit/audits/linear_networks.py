"""Inputs of the kind `datamodels` whose networks' outputs are known functions of their training rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from app.audits.base import Inputs, Result, Split
from app.audits.datamodels import subsets
from app.audits.datamodels.kept import KeptDatamodel
from app.audits.datamodels.schema import Params
from app.audits.retraining import read_plan

from .planted_inputs import after

ROWS, TARGETS, MODELS = 40, 12, 400
HELD = 40


def split(name: str, labels: np.ndarray, seed: int, width: int = 5) -> Split:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(len(labels), width)).astype(np.float32)
    features[np.arange(len(labels)), labels.clip(0)] += 2
    manifest = pa.table({"row": np.arange(len(labels)) + 1000 * seed, "label": labels.astype(np.int32)})
    return Split(name, manifest, features, features[:, :3], features)


def inputs_of(params: Params, train: Split | None = None, audited: Split | None = None) -> Inputs:
    labels = np.arange(ROWS) % 3
    return Inputs(
        audited or split("test", np.arange(30) % 3, 1), train or split("train", labels, 2), ("a", "b", "c"), params,
        0, "cpu", None, {}, lambda _share, _message: None,
    )  # fmt: skip


@pytest.fixture
def retrained(tmp_path: Path) -> Callable[..., tuple[Inputs, np.ndarray]]:
    """Inputs after plan and retraining: margins are a sparse linear function of the mask, and noise."""

    def made(params: Params, noise: float = 0.3) -> tuple[Inputs, np.ndarray]:
        inputs = inputs_of(params)
        inputs = after(inputs, "plan", subsets.plan(inputs), tmp_path)
        plan, rng = read_plan(tmp_path / "plan", ROWS), np.random.default_rng(3)
        truth = np.where(rng.random((ROWS, len(plan.targets))) < 0.15, rng.normal(size=(ROWS, len(plan.targets))), 0)
        margins = plan.masks @ truth + 0.5 + noise * rng.normal(size=(len(plan.masks), len(plan.targets)))
        own = rng.normal(size=plan.masks.shape) + plan.masks * np.linspace(0, 5, ROWS)
        details = {"models": np.arange(len(plan.masks)), "margins": margins.astype(np.float32)}
        details |= {"right": margins > 0, "own": own.astype(np.float32)}
        return after(inputs, "retrain", Result(summary={}, details=details), tmp_path), truth

    return made


def dense(result: Result, method: str = "plain") -> np.ndarray:
    """Weights [m, N] of what the stage kept."""
    kept = KeptDatamodel(method, ROWS, lambda name: result.details[name])  # type: ignore[arg-type]
    return np.stack([kept.mean(np.array([j])).weights for j in range(len(kept.targets))])
