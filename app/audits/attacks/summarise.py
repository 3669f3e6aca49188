"""Adds up what the shards found: robust accuracy by ε, class and group, with intervals, and how far to believe it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits.attacks.figures import group_row
from app.audits.attacks.kept import kept_pictures
from app.audits.attacks.schema import ARRAYS, NAMES, PROVEN, AttacksSummary, GroupRow, Level
from app.audits.attacks.trust import normalisation, trust
from app.audits.base import Inputs, Result, ScoreColumn
from app.audits.drawn import share
from app.audits.epsilon import radius
from app.audits.texts import texts

SHOWN = 12
"""Classes that the summary lists."""
LEAST = 5
"""Images below which a class is not ranked."""


def summarise(inputs: Inputs) -> Result:
    """Return the summary; of the attacked rows `positions`, `labels` and what `measure` found; and pictures."""
    if "attack.list.row" not in inputs.audited.model:
        why = "This model is a table of predictions: there is no network to show changed images to."
        return Result(AttacksSummary(unavailable=why).model_dump())
    every = inputs.audited.manifest["label"].to_numpy()
    positions = np.asarray(inputs.audited.model["attack.list.row"]) - int(inputs.audited.manifest["row"][0].as_py())
    known = every[positions] >= 0
    positions = positions[known]
    if not len(positions):
        why = "None of the images that were drawn has a label and can be read, so that nothing could be attacked."
        return Result(AttacksSummary(unavailable=why).model_dump())
    found = {name: np.asarray(inputs.audited.model[f"attack.list.{name}"])[known] for name in ARRAYS}
    labels = every[positions].astype(np.int32)
    details = {"positions": positions.astype(np.int64), "labels": labels, **found}
    return Result(
        _summary(inputs, found, labels).model_dump(),
        scores=[_score(len(every), positions, found["outcome"])],
        details=details | kept_pictures(inputs, positions, found),
    )


def _score(rows: int, positions: NDArray[np.int64], outcome: NDArray[np.int8]) -> ScoreColumn:
    shares = np.full(rows, np.nan, np.float32)
    shares[positions] = outcome.mean(axis=1)
    about = "Share of the unchanged image and of each ε at which the prediction stays right; null: not attacked."
    return ScoreColumn("attacks_withstood", shares, about)


def _summary(inputs: Inputs, found: dict[str, NDArray[Any]], labels: NDArray[np.int32]) -> AttacksSummary:
    outcome, params = found["outcome"], inputs.params
    levels = [
        Level(
            text=text,
            radius=radius(text),
            robust=share(outcome[:, column]),
            proven=int((found["by"][:, column - 1] == PROVEN).sum()),
            broken_by=_first(found["by"][:, column - 1]),
        )
        for column, text in enumerate(params.radii, 1)
    ]
    why = no_gradients(inputs)
    classes = [group_row(inputs.classes[c], outcome[labels == c], c) for c in np.unique(labels).tolist()]
    return AttacksSummary(
        no_gradients=why,
        norm=params.norm,
        budget=params.budget,
        rows=len(outcome),
        of_rows=int((inputs.audited.manifest["label"].to_numpy() >= 0).sum()),
        clean=share(outcome[:, 0]),
        levels=levels,
        classes=_worst(classes),
        of_classes=len(classes),
        signs=[*normalisation(outcome[:, 0], otherwise(inputs)), *trust(found, levels, params.norm, gradients=not why)],
    )


def no_gradients(inputs: Inputs) -> str:
    """Why only the attack without gradients ran; empty where all did."""
    return next(iter(texts(inputs.audited.model["attack.list.reason"])), "")


def otherwise(inputs: Inputs) -> dict[str, int]:
    """How many clean images are right under each other normalisation."""
    names, tried = texts(inputs.audited.model["attack.list.other"]), inputs.audited.model["attack.list.tried"]
    found: dict[str, int] = {}
    for name, right in zip(names, tried.tolist(), strict=True):
        found[name] = found.get(name, 0) + right
    return found


def _first(by: NDArray[np.int8]) -> dict[str, int]:
    return {name: int((by == place).sum()) for place, name in enumerate(NAMES) if (by == place).any()}


def _worst(groups: list[GroupRow]) -> list[GroupRow]:
    ranked = [group for group in groups if group.clean.n >= LEAST]
    return sorted(ranked, key=lambda group: (group.robust.value, group.clean.value))[:SHOWN]
