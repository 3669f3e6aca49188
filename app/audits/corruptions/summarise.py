"""Adds up what the shards measured: accuracy by cell, class and group, with intervals."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits.base import Inputs, Result, ScoreColumn
from app.audits.corruptions.figures import Outcomes, group_row, kind_rows, mean_of
from app.audits.corruptions.kept import kept_pictures
from app.audits.corruptions.sample import families
from app.audits.corruptions.schema import CorruptionsSummary, GroupRow, cells
from app.audits.drawn import share
from app.numerics.corruptions.parameters import COMMON, SEVERITIES

SHOWN = 12
"""Classes and groups that the summary lists."""
LEAST = 10
"""Images below which a class or group is not ranked."""
MOST_VALUES = 50
"""Values of a column above which it is no grouping."""
_IMAGENET = 1000


def summarise(inputs: Inputs) -> Result:
    """Return the summary; of the measured rows `positions`, `labels`, `outcome`, `margin`, `taken`; and pictures."""
    model = inputs.audited.model
    if "measure.list.row" not in model:
        why = "This model is a table of predictions: there is no network to show corrupted images to."
        return Result(CorruptionsSummary(unavailable=why).model_dump())
    table = inputs.audited.manifest
    positions = np.asarray(model["measure.list.row"]) - table["row"][0].as_py()
    known = (positions >= 0) & (positions < table.num_rows)
    labels = table["label"].to_numpy()[np.where(known, positions, 0)]
    known &= labels >= 0
    if not known.any():
        why = "None of the images that were drawn has a label and can be read, so that nothing could be measured."
        return Result(CorruptionsSummary(unavailable=why).model_dump())
    details = {name: np.asarray(model[f"measure.list.{name}"])[known] for name in ("outcome", "margin", "taken")}
    details |= {"positions": positions[known], "labels": labels[known].astype(np.int32)}
    summary = _summary(inputs, positions[known], details["outcome"])
    return Result(
        summary.model_dump(),
        scores=[_score(table.num_rows, positions[known], details["outcome"])],
        details=details | kept_pictures(inputs, positions[known], details),
    )


def _score(rows: int, positions: NDArray[np.int64], outcome: Outcomes) -> ScoreColumn:
    shares = np.full(rows, np.nan, np.float32)
    shares[positions] = outcome[:, 1:].mean(axis=1)
    return ScoreColumn("corruption_share", shares, "Share of corruptions under which the prediction is right.")


def _summary(inputs: Inputs, positions: NDArray[np.int64], outcome: Outcomes) -> CorruptionsSummary:
    params, labels = inputs.params.model_dump(), inputs.audited.manifest["label"].to_numpy()
    asked = cells(params)
    common = [column for column, (kind, _) in enumerate(asked, 1) if kind in COMMON]
    rows = kind_rows(outcome, asked, normalised=_as_published(inputs, asked))
    known = [row.alexnet for row in rows if row.alexnet is not None]
    classes = list(_groups(outcome, labels[positions], inputs.classes))
    groups = [found for name, values in _columns(inputs, positions) for found in _groups(outcome, values, name)]
    return CorruptionsSummary(
        family=_family(inputs),
        budget=params["budget"],
        severities=[int(severity) for severity in params["severities"]],
        rows=len(positions),
        of_rows=int((labels >= 0).sum()),
        clean=share(outcome[:, 0]),
        kinds=rows,
        mean_error=mean_of(1 - outcome[:, common].mean(axis=1)) if common else None,
        fall=mean_of(outcome[:, 0] - outcome[:, common].mean(axis=1)) if common else None,
        alexnet=float(np.mean(known)) if known else None,
        classes=_worst(classes),
        of_classes=len(classes),
        groups=_worst(groups),
        of_groups=len(groups),
    )


def _groups(outcome: Outcomes, values: NDArray[Any], names: Sequence[str] | str) -> Iterator[GroupRow]:
    """The groups of images with the same value; names of classes, or of the column."""
    for value in np.unique(values):
        members = outcome[values == value]
        by_class = not isinstance(names, str)
        name = names[int(value)] if by_class else f"{names}: {value}"
        yield group_row(name, members, int(value) if by_class else None)


def _worst(groups: list[GroupRow]) -> list[GroupRow]:
    ranked = [group for group in groups if group.clean.n >= LEAST]
    return sorted(ranked, key=lambda group: group.corrupted.value - group.clean.value)[:SHOWN]


def _columns(inputs: Inputs, positions: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[Any]]]:
    """The data set's own columns that have few values, each as text."""
    table = inputs.audited.manifest
    for column in (name for name in table.column_names if name.startswith("meta.")):
        values = np.array(["–" if value is None else str(value) for value in table[column].take(positions).to_pylist()])
        if 1 < len(np.unique(values)) <= MOST_VALUES:
            yield column[5:].replace("_", " "), values


def _family(inputs: Inputs) -> str:
    size = inputs.audited.model["measure.list.size"]
    return families(inputs.params.family, *(int(side) for side in size[0])) if len(size) else inputs.params.family


def _as_published(inputs: Inputs, asked: Sequence[tuple[str, int]]) -> bool:
    """Whether AlexNet's published errors are a yardstick: ImageNet's classes, ImageNet-C, every severity."""
    whole = {severity for _, severity in asked} == set(SEVERITIES)
    imagenet = len(inputs.classes) == _IMAGENET and (
        all(re.fullmatch(r"n\d{8}", name) for name in inputs.classes) or "tench" in inputs.classes[0]
    )
    return whole and imagenet and _family(inputs) == "imagenet-c"
