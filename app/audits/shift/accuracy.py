"""Stage `accuracy`: both accuracies, their difference, what it is made of, and the estimate without labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from app.audits.base import Inputs, Result, Second, Split
from app.audits.pieces import Estimate
from app.audits.shift.families import Group, compared
from app.audits.shift.schema import EFFORTS, AccuracyPart, Changed, ClassShare, GroupShift, Parts, SetName, Shares
from app.audits.shift.sets import NO_SECOND, Side, difference, estimate, share, sides
from app.audits.shift.unlabelled import unlabelled
from app.numerics.shift.decompose import gap, harder_p
from app.numerics.shift.estimates import Bounded
from app.numerics.shift.labels import LabelShift, homogeneity, label_shift
from app.numerics.shift.moved import differences
from app.numerics.streams import stream

SHOWN_CLASSES = 1000
SHOWN_SHARES = 20
MOST_CLASSES = 100
"""Classes up to which shares are estimated without labels: each resample solves a system of that size."""


def compare(inputs: Inputs) -> Result:
    """Return the part `accuracy` of the summary; of the second set's rows `rows`, `labels`, `predictions`, …"""
    both = sides(inputs)
    if both is None or inputs.second is None:
        return Result({"unavailable": NO_SECOND})
    first, second = both
    if not first.labelled:
        return Result({"unavailable": "No audited image has a label, so that there is no accuracy to compare with."})
    summary = {
        "unavailable": "",
        "budget": inputs.params.budget,
        "published": inputs.params.published,
        "first": _name(first, ""),
        "second": _name(second, inputs.second.dataset, inputs.second.dataset_id),
        "notes": list(inputs.second.notes),
        "doubts": list(_doubts(inputs, first, second)),
        "accuracy": _part(inputs, first, second).model_dump(),
    }
    return Result(summary, details=_details(second))


def _part(inputs: Inputs, first: Side, second: Side) -> AccuracyPart:
    inputs.progress(0.1, "Comparing accuracies")
    resamples, classes = EFFORTS[inputs.params.budget].resamples, len(inputs.classes)
    found = AccuracyPart(classes=_classes(inputs, first, second))
    if second.labelled:
        found.change = _change(first, second)
        found.parts = _parts(first, second, classes, inputs.seed, resamples)
        found.label_p = _same_shares(first, second, classes, inputs.seed)
        one, other = first.judged, second.judged
        found.harder_p = harder_p(
            first.labels[one], first.right[one], second.labels[other], second.right[other], classes
        )
    inputs.progress(0.3, "Estimating the classes' shares without labels")
    found.shares, found.no_shares = _shares(inputs, first, second, resamples)
    inputs.progress(0.6, "Estimating accuracy without labels")
    found.unlabelled, found.no_estimate = unlabelled(first, second, inputs.seed, resamples)
    return found


def _change(first: Side, second: Side) -> Changed:
    (a, n), (b, m) = ((int(side.right[side.judged].sum()), int(side.judged.sum())) for side in (first, second))
    gap_, p, q = difference(differences([a], n, [b], m), 0, m)
    return Changed(first=share(a, n), second=share(b, m), difference=gap_, p_value=p, q_value=q)


def _classes(inputs: Inputs, first: Side, second: Side) -> list[GroupShift]:
    if not second.labelled:
        return []
    sizes, rights = (
        [_by_class(side, right, len(inputs.classes)) for side in (first, second)] for right in (False, True)
    )
    totals = [int(counts.sum()) for counts in sizes]
    groups = [
        Group(
            f"class-{c}", name, c,
            ((int(sizes[0][c]), totals[0]), (int(sizes[1][c]), totals[1])),
            ((int(rights[0][c]), int(sizes[0][c])), (int(rights[1][c]), int(sizes[1][c]))),
        )
        for c, name in enumerate(inputs.classes)
        if sizes[0][c] + sizes[1][c]
    ]  # fmt: skip
    return compared(groups)[:SHOWN_CLASSES]


def _by_class(side: Side, right: bool, classes: int) -> np.ndarray:
    rows = side.judged & side.right if right else side.judged
    return np.bincount(side.labels[rows], minlength=classes)


def _parts(first: Side, second: Side, classes: int, seed: int, resamples: int) -> Parts | None:
    one, other = first.judged, second.judged
    if not np.isin(second.labels[other], first.labels[one]).any():
        return None
    found = gap(
        first.labels[one], first.right[one], second.labels[other], second.right[other], classes,
        seed=seed, resamples=resamples,
    )  # fmt: skip
    return Parts(label=estimate(found.label), within=estimate(found.within), left_out=found.left_out)


def _same_shares(first: Side, second: Side, classes: int, seed: int) -> float:
    here, there = (_by_class(side, False, classes) for side in (first, second))
    return homogeneity(here, there, np.random.Generator(stream(seed, "shares")))


def _shares(inputs: Inputs, first: Side, second: Side, resamples: int) -> tuple[Shares | None, str]:
    classes = len(inputs.classes)
    if classes > MOST_CLASSES:
        return None, f"Shares of the classes are estimated without labels for up to {MOST_CLASSES} classes."
    known = first.judged
    found = label_shift(
        first.labels[known], first.predictions[known], second.predictions[second.used], classes,
        seed=inputs.seed, resamples=resamples,
    )  # fmt: skip
    rows = [
        ClassShare(name=name, class_index=c, first=float(found.source[c]), second=_bounded(found, c))
        for c, name in enumerate(inputs.classes)
        if np.isfinite([found.source[c], found.target[c], found.low[c]]).all()
    ]
    rows.sort(key=lambda row: -abs(row.second.value - row.first))
    return Shares(p_value=found.p_value, near_singular=found.near_singular, classes=rows[:SHOWN_SHARES]), ""


def _bounded(found: LabelShift, c: int) -> Estimate:
    return estimate(Bounded(float(found.target[c]), float(found.low[c]), float(found.high[c]), found.n_target))


def _name(side: Side, dataset: str, dataset_id: int = 0) -> dict[str, Any]:
    name = f"{dataset} / {side.split.name}" if dataset else side.split.name
    return SetName(
        dataset_id=dataset_id,
        name=name,
        split=side.split.name,
        rows=int(side.used.sum()),
        left_out=int((~side.used).sum()),
        labelled=int(side.judged.sum()),
    ).model_dump()


def _doubts(inputs: Inputs, first: Side, second: Side) -> Iterator[str]:
    """What is to be said of pictures that lie in two sets, and of rows that the model said nothing of."""
    if both := _common(first.split, second.split):
        yield (
            f"{both:,} pictures lie in both sets, byte for byte. The tests take the sets for independent, so that "
            "these make a shift look smaller than it is."
        )
    if inputs.train is not None and (seen := _common(inputs.train, second.split)):
        yield (
            f"The model was trained on {seen:,} of the pictures of the second set: its accuracy there says little of "
            "new images."
        )
    if missing := int((~second.used).sum()):
        yield (
            f"{missing:,} of the {len(second.used):,} images of the second set are left out: the model's table has no "
            "row for them, or they cannot be read."
        )


def _common(one: Split, other: Split) -> int:
    """How many pictures two splits share."""
    if any("sha256" not in split.manifest.column_names for split in (one, other)):
        return 0
    here, there = (set(split.manifest["sha256"].to_pylist()) - {None, ""} for split in (one, other))
    return len(here & there)


def _details(second: Side) -> dict[str, np.ndarray]:
    """Arrays over all rows of the second split."""
    assert isinstance(second.split, Second)
    return {
        "rows": second.split.manifest["row"].to_numpy().astype(np.int64),
        "labels": np.where(second.used, second.labels, -1).astype(np.int32),
        "predictions": np.where(second.used, second.predictions, -1).astype(np.int32),
        "confidence": second.confidence.astype(np.float32),
        "pictured": _pictured(second.split.manifest),
    }


def _pictured(manifest: pa.Table) -> np.ndarray:
    """Whether a row came with a picture: bool [m]."""
    if "width" not in manifest.column_names:
        return np.ones(manifest.num_rows, bool)
    return np.array([bool(width) for width in manifest["width"].to_pylist()], bool)
