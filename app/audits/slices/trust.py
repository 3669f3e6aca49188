"""Stage `trust`: how well each method finds slices planted in these very rows, and which space holds failures best."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from app.audits.base import Inputs, Result
from app.audits.slices.planting import FEWEST_ROWS, Planted, plant
from app.audits.slices.propose import PROPOSERS
from app.audits.slices.ranking import BASELINE
from app.audits.slices.rows import Rows, load
from app.audits.slices.schema import EncoderSummary, MethodSummary, Params
from app.audits.slices.strength import class_strengths
from app.numerics.embedding import Standardiser
from app.numerics.planted import Recovery, recovery

WANTED = 12
MOST_ROUNDS = 4
MOST_ROWS = 100_000
MEASURES = ("precision_at_10", "precision_at_25", "average_precision")


class Sample(NamedTuple):
    """A few draws of planted slices."""

    rounds: Sequence[Planted]

    @property
    def size(self) -> int:
        """Planted slices in all."""
        return sum(len(drawn.truth) for drawn in self.rounds)


def trust(inputs: Inputs) -> Result:
    """Plant slices in a few classes and let every method look for them; compare spaces by strength."""
    params: Params = inputs.params
    folder = inputs.earlier["slices"]
    rows = load(inputs, folder)
    summary = json.loads((folder / "summary.json").read_text())
    methods = [MethodSummary.model_validate(m) for m in summary["methods"]]
    if params.calibrate:
        methods = _calibrated(inputs, rows, methods)
    encoders = _encoders(inputs, rows, summary) if params.compare_encoders else []
    return Result(
        summary={
            "methods": [m.model_dump(mode="json") for m in methods],
            "encoders": [e.model_dump(mode="json") for e in encoders],
        }
    )


def _calibrated(inputs: Inputs, rows: Rows, methods: list[MethodSummary]) -> list[MethodSummary]:
    sample = _sample(rows, inputs.seed)
    if not sample.size:
        note = f"No class has {FEWEST_ROWS} audited rows on each side, too few to plant a slice."
        return [m.model_copy(update={"note": note}) for m in methods]
    done = []
    for i, method in enumerate(methods):
        inputs.progress(0.8 * i / len(methods), f"Looking for planted slices: {method.method}")
        found = [r for drawn in sample.rounds for r in _recovered(method.method, drawn, inputs)]
        done.append(method.model_copy(update=_means(found)))
    return done


def _sample(rows: Rows, seed: int) -> Sample:
    """Draw again until a dozen slices were planted, so that a task of few classes is judged as surely."""
    rounds = [plant(rows, seed)]
    while 0 < Sample(rounds).size < WANTED and len(rounds) < MOST_ROUNDS:
        rounds.append(plant(rows, seed + len(rounds)))
    return Sample(rounds)


def _recovered(method: str, planted: Planted, inputs: Inputs) -> list[Recovery]:
    """How the best-matching candidate of each planted class ranks its confirm rows."""
    rows = planted.rows
    if method == BASELINE:
        # Knows every outcome: a bar for rankings, never a slice to be tested.
        columns = {index: [1 - rows.p_true[rows.of_class(index)]] for index in planted.truth}
    else:
        columns = {index: [] for index in planted.truth}
        for candidate in PROPOSERS[method](rows, inputs.params, inputs.seed):
            columns[candidate.class_index].append(candidate.scores)
    return [_recovery(planted, index, scores) for index, scores in columns.items()]


def _recovery(planted: Planted, index: int, scores: list[NDArray[np.float32]]) -> Recovery:
    confirm = ~planted.rows.fit[planted.rows.of_class(index)]
    stacked = np.stack(scores, axis=1) if scores else np.zeros((len(confirm), 0), np.float32)
    return recovery(torch.from_numpy(stacked[confirm]), torch.from_numpy(planted.truth[index][confirm]))


def _means(found: Sequence[Recovery]) -> dict[str, float | int]:
    means = {name: float(np.mean([getattr(r, name) for r in found])) for name in MEASURES}
    return {**means, "planted": len(found)}


def _encoders(inputs: Inputs, rows: Rows, summary: dict[str, list[dict[str, float | None]]]) -> list[EncoderSummary]:
    """Mean held-out strength over the classes that could be fitted, here and in the model's own features."""
    own = [float(c["strength"]) for c in summary["classes"] if c["strength"] is not None]
    spaces = [EncoderSummary(encoder="chosen encoder", strength=float(np.mean(own)), classes=len(own))] if own else []
    if inputs.audited.features is not None and own:
        inputs.progress(0.9, "Comparing with the model's own features")
        found = _strengths_in(inputs.audited.features, rows, inputs.seed)
        if len(found):
            mean = float(found.mean())
            spaces.append(EncoderSummary(encoder="the model's penultimate layer", strength=mean, classes=len(found)))
    return spaces


def _strengths_in(features: np.ndarray, rows: Rows, seed: int) -> NDArray[np.float64]:
    kept = np.flatnonzero(rows.fit & rows.audited)
    kept = np.sort(np.random.default_rng([seed, 4]).permutation(kept)[:MOST_ROWS])
    block = torch.from_numpy(np.array(features[kept], dtype=np.float32)).to(rows.device)
    finite = block.isfinite().all(1)
    block, kept = block[finite], kept[finite.cpu().numpy()]
    if not len(kept):
        return np.empty(0)
    unit = Standardiser.of(block).unit_rows(block)
    right, labels = torch.from_numpy(rows.correct[kept]), torch.from_numpy(rows.labels[kept])
    strengths = class_strengths(unit, right.to(unit.device), labels.to(unit.device), len(rows.classes), seed)
    found = strengths.cpu().numpy()
    return np.asarray(found[~np.isnan(found)])
