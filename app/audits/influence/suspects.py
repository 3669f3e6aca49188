"""Stage `suspects`: training images that are probably mislabelled, memorised, duplicated or leaked into the test."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from app.audits.base import Inputs, Result, Split
from app.audits.influence.scores import CannotAttribute, checkpoints_of, space
from app.numerics.attribution.self_influence import neighbour_probabilities, self_influence

PLANTED_SHARE = 0.03
PLANTED_LEAST = 10
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
    classes = len(inputs.classes)
    if len(labels) < FEWEST_ROWS or len(np.unique(labels[labels >= 0])) < 2:
        return {}, {"reason": f"Fewer than {FEWEST_ROWS} training images, or a single class: labels cannot be judged."}
    try:
        features = space(train, embeddings_first=True)
    except CannotAttribute as error:
        return {}, {"reason": str(error)}
    groups = torch.from_numpy(train.manifest["group"].to_numpy().astype(np.int64))
    found = _judge(features, torch.from_numpy(labels), groups, classes)
    columns = {"label_quality": found.quality, "mislabelled": found.suspect, "likelier": found.likelier}
    inputs.progress(0.4, "Planting wrong labels, to see how many are found")
    return columns, _planted(features, labels, groups, classes, inputs.seed)


def _judge(features: torch.Tensor, labels: torch.Tensor, groups: torch.Tensor, classes: int) -> LabelQuality:
    # Half a second of pandas, in the one stage that needs it.
    from cleanlab.filter import find_label_issues  # noqa: PLC0415
    from cleanlab.rank import get_label_quality_scores  # noqa: PLC0415

    known = (labels >= 0).numpy()
    probabilities = neighbour_probabilities(features, labels, groups, classes, NEIGHBOURS).numpy()
    used, own = np.unique(labels.numpy()[known], return_inverse=True)
    inside = probabilities[known][:, used]
    inside /= inside.sum(axis=1, keepdims=True)
    quality, suspect = np.ones(len(labels)), np.zeros(len(labels), bool)
    quality[known] = get_label_quality_scores(own, inside, method="self_confidence")
    suspect[known] = find_label_issues(own, inside, filter_by="both", n_jobs=1)
    return LabelQuality(quality, suspect, probabilities.argmax(axis=1))


def _planted(
    features: torch.Tensor, labels: NDArray[np.int64], groups: torch.Tensor, classes: int, seed: int
) -> dict[str, Any]:
    """Give some images of known label another one, and count how many the list finds: what the list is worth here."""
    generator = np.random.default_rng(seed)
    known = np.flatnonzero(labels >= 0)
    count = min(max(PLANTED_LEAST, round(PLANTED_SHARE * len(known))), len(known) // 4)
    chosen = generator.choice(known, count, replace=False)
    changed = labels.copy()
    used = np.unique(labels[known])
    shift = generator.integers(1, len(used), count)
    changed[chosen] = used[(np.searchsorted(used, labels[chosen]) + shift) % len(used)]
    found = _judge(features, torch.from_numpy(changed), groups, classes)
    worst = np.argsort(found.quality, kind="stable")[:count]
    return {
        "planted": count,
        "planted_in_worst": int(np.isin(chosen, worst).sum()),
        "planted_named": int(found.suspect[chosen].sum()),
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
