"""Adds up what the shards and the copies found: certified accuracy by radius, class and variant, with intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits.base import Inputs, Result, ScoreColumn
from app.audits.drawn import LEAST, mean_of, share
from app.audits.smoothing.budgets import EFFORTS
from app.audits.smoothing.copies import measured_copies
from app.audits.smoothing.figures import SCORE, Found, asked_radii, group_row, middle
from app.audits.smoothing.reach import reach
from app.audits.smoothing.schema import (
    ARRAYS,
    CurvePoint,
    GroupRow,
    Params,
    SmoothingSummary,
    Variant,
    amount,
)

SHOWN = 12
"""Classes that the summary lists."""
POINTS = 25


def summarise(inputs: Inputs) -> Result:
    """Return the summary; of the images `positions`, `labels` and the arrays of `measure.judged` [m, variants, …]."""
    model = inputs.audited.model
    if "smooth.list.row" not in model:
        return _none("This model is a table of predictions: there is no network to show noisy images to.")
    every = inputs.audited.manifest["label"].to_numpy()
    positions = np.asarray(model["smooth.list.row"]) - int(inputs.audited.manifest["row"][0].as_py())
    known = every[positions] >= 0
    positions = positions[known].astype(np.int64)
    if not len(positions):
        return _none("None of the images that were drawn has a label and can be read, so that nothing was certified.")
    arrays = {name: np.asarray(model[f"smooth.list.{name}"])[known] for name in ARRAYS}
    copied, why = measured_copies(inputs, positions)
    arrays = {name: np.concatenate([own, copied[name]], axis=1) for name, own in arrays.items()} if copied else arrays
    labels = every[positions].astype(np.int32)
    summary = _summary(inputs, arrays, labels, why)
    score = _score(inputs.params, len(every), positions, Found.of(arrays, labels, summary.first))
    return Result(summary.model_dump(), scores=[score], details={"positions": positions, "labels": labels, **arrays})


def _none(why: str) -> Result:
    return Result(SmoothingSummary(unavailable=why).model_dump())


def _score(params: Params, rows: int, positions: NDArray[np.int64], found: Found) -> ScoreColumn:
    """1 where the radius is as large as can be certified at all."""
    shares = np.full(rows, np.nan, np.float32)
    radius = np.where(found.right, np.nan_to_num(found.radius), 0.0)
    shares[positions] = radius / max(reach(params.budget, params.alpha, amount(s)) for s in params.sigmas)
    about = (
        "Certified radius of the smoothed network as a share of the largest one that the number of noisy copies can "
        "certify; 0 where it abstains or is wrong, null where it was not asked."
    )
    return ScoreColumn(SCORE, np.clip(shares, 0, 1), about)


def _summary(
    inputs: Inputs, arrays: dict[str, NDArray[Any]], labels: NDArray[np.int32], no_copy: str
) -> SmoothingSummary:
    params: Params = inputs.params
    noises = len(params.sigmas)
    found = [Found.of(arrays, labels, variant) for variant in range(arrays["taken"].shape[1])]
    column = middle(params.radii)
    first = max(range(noises), key=lambda variant: float(found[variant].certified(column).mean()))
    classes = [
        group_row(inputs.classes[index], found[first].take(np.flatnonzero(labels == index)), column, index)
        for index in np.unique(labels).tolist()
    ]
    return SmoothingSummary(
        budget=params.budget,
        alpha=params.alpha,
        radii=params.radii,
        rows=len(labels),
        of_rows=int((inputs.audited.manifest["label"].to_numpy() >= 0).sum()),
        variants=[
            _variant(params, params.sigmas[number % noises], one, copied=number >= noises)
            for number, one in enumerate(found)
        ],
        first=first,
        classes=_worst(classes),
        of_classes=len(classes),
        no_copy=no_copy,
        leaves_out=EFFORTS[params.budget].leaves_out,
    )


def _variant(params: Params, sigma: str, found: Found, *, copied: bool) -> Variant:
    far = reach(params.budget, params.alpha, amount(sigma))
    asked = asked_radii(params.radii, found)
    points = [CurvePoint(radius=0.0, certified=share(found.certified(0)))]
    if EFFORTS[params.budget].asks:
        points += [CurvePoint(radius=amount(one.text), certified=one.certified) for one in asked]
    else:
        grid = np.linspace(0, far, POINTS)[1:].tolist()
        points += [CurvePoint(radius=radius, certified=share(found.beyond(radius))) for radius in grid]
    return Variant(
        sigma=sigma,
        copied=copied,
        reach=far,
        base=share(found.clean),
        noisy=mean_of(found.noisy),
        smoothed=share(found.certified(0)),
        abstained=share(found.abstained),
        asked=asked,
        curve=points,
        mean_copies=float(found.used.mean()),
    )


def _worst(groups: list[GroupRow]) -> list[GroupRow]:
    ranked = [group for group in groups if group.base.n >= LEAST]
    return sorted(ranked, key=lambda group: (group.certified.value, group.smoothed.value))[:SHOWN]
