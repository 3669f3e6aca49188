"""Stage `suspects`: training images that are probably mislabelled, memorised, duplicated or leaked into the test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from app.audits.base import Inputs, Result, Split
from app.audits.influence.scores import CannotAttribute, checkpoints_of, tensor
from app.numerics.attribution.self_influence import (
    Votes,
    neighbour_probabilities,
    neighbour_votes,
    self_influence,
)
from app.numerics.intervals import wilson_interval

PLANTED_SHARE = 0.03
PLANTED_LEAST = 10
WORST_SHARE = 0.2
NEIGHBOURS = 20
FEWEST_ROWS = 50


class LabelQuality(NamedTuple):
    """`quality` float64 [n] in [0, 1], 0 is worst; `suspect` bool [n], counted by confident learning; `likelier` int64
    [n], the class that the neighbours prefer."""

    quality: NDArray[np.float64]
    suspect: NDArray[np.bool_]
    likelier: NDArray[np.int64]


def suspects(inputs: Inputs) -> Result:
    """Judge every training image.

    Table `suspects`, a row for each training image: `label_quality` (0 is worst), `mislabelled` (by confident
    learning), `likelier` (class index), `self_influence`, `copies` (other training rows with the same pixels),
    `conflict` (a copy has another label), `leaked` (the audited split holds the same picture).
    """
    if inputs.train is None:
        return Result(summary={})
    train = inputs.train
    inputs.progress(0.0, "Asking the neighbours of each training image")
    columns, quality = _labels(inputs, train)
    inputs.progress(0.7, "How much each training image leans on itself")
    columns |= _self(inputs, train) | _copies(train, inputs.audited)
    return Result(
        summary={"suspects": _summary(columns, quality)},
        tables={"suspects": pa.table({"row": train.manifest["row"], "label": train.manifest["label"], **columns})},
    )


def _labels(inputs: Inputs, train: Split) -> tuple[dict[str, Any], dict[str, Any]]:
    labels = train.manifest["label"].to_numpy().astype(np.int64)
    if len(labels) < FEWEST_ROWS or len(np.unique(labels[labels >= 0])) < 2:
        return {}, {"reason": f"Fewer than {FEWEST_ROWS} training images, or a single class: labels cannot be judged."}
    spaces = [tensor(values) for values in (train.embeddings, train.features) if values is not None]
    if not spaces:
        return {}, {"reason": "There are neither penultimate features nor embeddings to compare images in."}
    groups = torch.from_numpy(train.manifest["group"].to_numpy().astype(np.int64))
    votes = [neighbour_votes(space, torch.from_numpy(labels >= 0), groups, NEIGHBOURS) for space in spaces]
    inputs.progress(0.4, "Planting wrong labels, to see how many are found")
    changed, chosen = plant(labels, inputs.seed)
    classes = len(inputs.classes)
    said = [_said(one, changed, classes) for one in votes]
    weights = _trust(said, changed, chosen)
    found = _judge(_mean([_said(one, labels, classes) for one in votes], weights), labels)
    columns = {"label_quality": found.quality, "mislabelled": found.suspect, "likelier": found.likelier}
    return columns, _planted(_judge(_mean(said, weights), changed), chosen)


def _said(votes: Votes, labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    found: NDArray[np.float64] = neighbour_probabilities(votes, torch.from_numpy(labels), classes).numpy()
    return found


def _mean(said: Sequence[NDArray[np.float64]], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.average(np.stack(said), axis=0, weights=weights)


def _trust(
    said: Sequence[NDArray[np.float64]], labels: NDArray[np.int64], planted: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How far each space is listened to: its power to tell planted labels from others (AUROC), above chance.

    Two are better than the best: an encoder that knows such pictures badly is hardly heard, and a network that has
    learned wrong labels by heart, so that its own layers repeat them, is outvoted.
    """
    rows = np.flatnonzero(labels >= 0)
    wrong = np.isin(rows, planted)
    found = []
    for probabilities in said:
        ranks = np.argsort(np.argsort(probabilities[rows, labels[rows]], kind="stable")) + 0.5
        found.append(1 - (ranks[wrong].mean() - wrong.sum() / 2) / (~wrong).sum())
    above = np.maximum(np.array(found) - 0.5, 0)
    return above if above.any() else np.ones(len(said))


def _judge(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> LabelQuality:
    # Half a second of pandas, in the one stage that needs it.
    from cleanlab.filter import find_label_issues  # noqa: PLC0415
    from cleanlab.rank import get_label_quality_scores  # noqa: PLC0415

    known = labels >= 0
    used, own = np.unique(labels[known], return_inverse=True)
    inside = probabilities[known][:, used]
    inside /= inside.sum(axis=1, keepdims=True)
    quality, suspect = np.ones(len(labels)), np.zeros(len(labels), bool)
    quality[known] = get_label_quality_scores(own, inside, method="self_confidence")
    suspect[known] = find_label_issues(own, inside, filter_by="both", n_jobs=1)
    return LabelQuality(quality, suspect, probabilities.argmax(axis=1))


def plant(labels: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give some images of known label another one: labels int64 [n] and the places of those that changed."""
    generator = np.random.default_rng(seed)
    known = np.flatnonzero(labels >= 0)
    count = min(max(PLANTED_LEAST, round(PLANTED_SHARE * len(known))), len(known) // 4)
    chosen = generator.choice(known, count, replace=False)
    changed, used = labels.copy(), np.unique(labels[known])
    shift = generator.integers(1, len(used), count)
    changed[chosen] = used[(np.searchsorted(used, labels[chosen]) + shift) % len(used)]
    return changed, chosen


def _planted(found: LabelQuality, chosen: NDArray[np.int64]) -> dict[str, Any]:
    """What the list is worth here: how many planted labels it finds, real wrong ones standing beside them."""
    worst = np.argsort(found.quality, kind="stable")[: round(WORST_SHARE * len(found.quality))]
    named = int(found.suspect[chosen].sum())
    low, high = (float(bound) for bound in wilson_interval(named, len(chosen)))
    return {
        "planted": len(chosen),
        "planted_in_worst": int(np.isin(chosen, worst).sum()),
        "planted_named": named,
        "planted_low": low,
        "planted_high": high,
    }


def _self(inputs: Inputs, train: Split) -> dict[str, Any]:
    try:
        points, ridge = checkpoints_of(inputs, train)
    except CannotAttribute:
        return {}
    return {"self_influence": self_influence(points, ridge).numpy()}


def _copies(train: Split, audited: Split) -> dict[str, Any]:
    groups, labels = train.manifest["group"].to_numpy(), train.manifest["label"].to_numpy()
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    first = np.full(len(counts), -1)
    first[inverse] = labels
    differs = np.zeros(len(counts), bool)
    np.logical_or.at(differs, inverse, labels != first[inverse])
    return {
        "copies": (counts[inverse] - 1).astype(np.int32),
        "conflict": differs[inverse],
        "leaked": np.isin(groups, audited.manifest["group"].to_numpy()),
    }


def _summary(columns: dict[str, Any], quality: dict[str, Any]) -> dict[str, Any]:
    counted: dict[str, Any] = {
        name: int(np.sum(columns[name])) for name in ("mislabelled", "conflict", "leaked") if name in columns
    }
    return {**counted, "duplicated": int(np.sum(columns["copies"] > 0)), **quality}
