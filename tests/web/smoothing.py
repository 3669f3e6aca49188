"""What the stages of the kind `smoothing` leave behind, for the finished run of the tests of pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from app.audits.base import Result
from app.audits.drawn import drawn
from app.audits.smoothing.budgets import EFFORTS
from app.audits.smoothing.schema import Params, amount
from app.audits.smoothing.summarise import summarise
from app.numerics.smoothing.radius import certified_radius
from app.store.artifacts import artifact_key
from app.store.places import get_artifacts
from tests.results_fixture import TRAIN_ROWS
from tests.results_rows import CLASSES
from tests.web.conftest import Results
from tests.web.measured import publish, stage_inputs
from workers.stages import results as saved

NOISES = ["0.25", "0.5"]


def params(budget: str = "standard", copies: int = 0) -> Params:
    """What was asked for."""
    return Params.model_validate(
        {"sigmas": NOISES, "radii": ["0.1", "0.25", "0.5"], "budget": budget, "train_copy": copies}
    )


def add_smoothing(results: Results, budget: str = "standard", copies: int = 0) -> dict[str, Any]:
    """Give the finished run a result of the kind; return its arrays."""
    return add_to(results.built.run_id, results.built.rows.label, results.built.rows.wrong, budget, copies)


def add_to(
    run_id: int, label: np.ndarray, wrong: np.ndarray, budget: str = "standard", copies: int = 0
) -> dict[str, Any]:
    """Give a run a result of the kind; return its arrays."""
    asked, n = params(budget, copies), len(label)
    chosen = np.sort(drawn((TRAIN_ROWS, TRAIN_ROWS + n), 0, EFFORTS[asked.budget].rows)) - TRAIN_ROWS
    own = _judged(label[chosen], wrong[chosen], asked, 0.0)
    model = {f"list.{name}": array for name, array in own.items()} | {"list.row": chosen + TRAIN_ROWS}
    key = artifact_key("smoothing", 1, test="web", budget=budget, copies=copies)
    earlier: dict[str, Path] = {}
    if copies:
        copied = {
            name: array.swapaxes(0, 1) for name, array in _judged(label[chosen], wrong[chosen], asked, 0.3).items()
        }
        earlier["plan"] = _saved(f"{key}-plan", Result({}, details={"targets": chosen}))
        measured = {f"measured.{name}": array for name, array in copied.items()}
        earlier["copy"] = _saved(f"{key}-copy", Result({}, details={"models": np.arange(len(NOISES)), **measured}))
    found = summarise(stage_inputs(label, "smooth", model, asked, earlier))
    publish(run_id, "smoothing", "summarise", found, f"{n} {budget} {copies}")
    return dict(found.details)


def _judged(label: np.ndarray, wrong: np.ndarray, asked: Params, better: float) -> dict[str, np.ndarray]:
    """Arrays [m, noises, …] as a shard gives them, of a network that larger noise disturbs more."""
    generator, effort = np.random.default_rng(0), EFFORTS[asked.budget]
    ease = np.where(wrong, 0.3, 0.72) + 0.28 * generator.random(len(label))
    found: dict[str, list[np.ndarray]] = {}
    for sigma in map(amount, asked.sigmas):
        share = np.clip(ease * (1.3 - 1.1 * sigma) + better * (sigma - 0.2), 0, 1)
        hits = np.floor(share * effort.copies).astype(np.int32)
        radius = certified_radius(hits, effort.copies, asked.alpha, sigma)
        radii = np.array([0.0, *map(amount, asked.radii)])
        decided = (radius[:, None] > radii).astype(np.int8)
        if effort.asks:
            decided[(decided == 0) & (np.abs(np.nan_to_num(radius)[:, None] - radii) < 0.04)] = -1
            radius = np.where((decided == 1).any(axis=1), radii[np.maximum((decided == 1).sum(axis=1) - 1, 0)], np.nan)
        one = {
            "taken": np.where(share > 0.4, label, (label + 1) % len(CLASSES)).astype(np.int32),
            "base": np.where(wrong, (label + 1) % len(CLASSES), label).astype(np.int32),
            "radius": radius.astype(np.float32),
            "decided": decided,
            "hits": hits,
            "used": np.full(len(label), effort.first + effort.copies, np.int32),
            "noisy": share.astype(np.float32),
        }
        for name, array in one.items():
            found.setdefault(name, []).append(array)
    return {name: np.stack(arrays, axis=1) for name, arrays in found.items()}


def _saved(key: str, result: Result) -> Path:
    if not get_artifacts().has(key):
        with get_artifacts().write(key) as folder:
            saved.save(result, folder)
    return get_artifacts().local(key)
