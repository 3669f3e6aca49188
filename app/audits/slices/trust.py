"""Stage `trust`: how well each method finds slices planted in these very rows, and which space holds failures best."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from app.audits.base import Inputs, Result
from app.audits.slices.propose import PROPOSERS
from app.audits.slices.rows import Ints, Rows, load
from app.audits.slices.schema import EncoderSummary, MethodSummary, Params
from app.audits.slices.strength import class_strengths
from app.numerics.embedding import Standardiser
from app.numerics.kmeans import kmeans

MOST_CLASSES = 12
FEWEST_ROWS = 60
CLUSTERS = 8
FLIP_INSIDE = 0.7
MOST_ROWS = 100_000
Bools = NDArray[np.bool_]


def trust(inputs: Inputs) -> Result:
    """Plant a slice in a few classes and let every method look for it; compare spaces by strength."""
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
    planted, truth = plant(rows, inputs.seed)
    if not truth:
        note = f"No class has {FEWEST_ROWS} audited rows on each side, too few to plant a slice."
        return [m.model_copy(update={"note": note}) for m in methods]
    done = []
    for i, method in enumerate(methods):
        inputs.progress(0.8 * i / len(methods), f"Looking for planted slices: {method.method}")
        done.append(_scored(method, planted, truth, inputs))
    return done


def plant(rows: Rows, seed: int) -> tuple[Rows, dict[int, Bools]]:
    """Make a random embedding cluster of some classes fail.

    Outcomes are first drawn anew at the class's own error rate, so that no real slice competes; then 70 % of the
    cluster becomes wrong.

    Returns:
        The rows with planted predictions, and for each planted class the cluster: bool over its positions.
    """
    generator = np.random.default_rng([seed, 3])
    eligible = [
        (index, p) for index, p in rows.by_class() if min(rows.fit[p].sum(), (~rows.fit[p]).sum()) >= FEWEST_ROWS
    ]
    chosen = [eligible[i] for i in generator.permutation(len(eligible))[:MOST_CLASSES]]
    predictions, truth = np.array(rows.predictions), {}
    kept = np.zeros(len(rows.labels), bool)
    for index, positions in chosen:
        cluster = _cluster(rows, positions, generator)
        wrong = generator.permutation(~rows.correct[positions])
        wrong |= cluster & (generator.random(len(positions)) < FLIP_INSIDE)
        other = (index + 1) % max(len(rows.classes), 2)
        predictions[positions] = np.where(wrong, other, index)
        kept[positions] = True
        truth[index] = cluster
    return replace(rows, predictions=predictions, audited=rows.audited & kept), truth


def _cluster(rows: Rows, positions: Ints, generator: np.random.Generator) -> Bools:
    """A random one of the class's k-means clusters that is neither tiny nor half the class."""
    seeded = torch.Generator().manual_seed(int(generator.integers(2**31)))
    labels = kmeans(rows.features(positions).cpu().double(), CLUSTERS, seeded, restarts=2).labels.numpy()
    share = np.bincount(labels, minlength=CLUSTERS) / len(labels)
    fair = np.flatnonzero((share >= 0.05) & (share <= 0.3))
    pick = generator.choice(fair) if len(fair) else int(np.argsort(share)[-2])
    return np.asarray(labels == pick)


def _scored(method: MethodSummary, planted: Rows, truth: dict[int, Bools], inputs: Inputs) -> MethodSummary:
    """Precision of the best-matching candidate of each planted class, on confirm rows."""
    found: dict[int, list[tuple[float, float, float]]] = {index: [(0.0, 0.0, 0.0)] for index in truth}
    for candidate in PROPOSERS[method.method](planted, inputs.params, inputs.seed):
        if candidate.class_index not in truth:
            continue
        confirm = ~planted.fit[candidate.positions]
        inside = truth[candidate.class_index][confirm]
        found[candidate.class_index].append(_precision(inside, candidate.scores[confirm]))
    best = np.array([max(scores, key=lambda s: s[2]) for scores in found.values()])
    p10, p25, average = (float(value) for value in best.mean(axis=0))
    update = {"precision_at_10": p10, "precision_at_25": p25, "average_precision": average, "planted": len(truth)}
    return method.model_copy(update=update)


def _precision(inside: Bools, scores: NDArray[np.float32]) -> tuple[float, float, float]:
    """Return (P@10, P@25, average precision) of a ranking; P@k is over the slice's size where that is smaller."""
    hits = inside[np.argsort(-scores, kind="stable")]
    total = int(inside.sum())
    if not total:
        return 0.0, 0.0, 0.0
    at = [float(hits[: min(k, total)].mean()) for k in (10, 25)]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return at[0], at[1], float(precision[hits].mean())


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
