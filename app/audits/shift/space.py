"""Stage `space`: whether the two sets differ in embedding space, overall and class by class, and in which images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.audits.base import Inputs, Result, ScoreColumn
from app.audits.pieces import Estimate
from app.audits.shift.schema import EFFORTS, LEVEL, ClassImages, SpacePart, TwoSample
from app.audits.shift.sets import NO_SECOND, Floats, Ints, Side, sides
from app.numerics.intervals import newcombe_difference_interval
from app.numerics.shift.decompose import Evidence, evidence
from app.numerics.shift.mmd import MMDResult, mmd_test
from app.numerics.shift.multiplicity import holm
from app.numerics.shift.two_sample import FOLDS, ClassifierTest, classifier_test

PERMUTATIONS = 1000
LEAST = 10
"""Images of a class that each set needs for its test."""
Rows = NDArray[np.float32]


def compare(inputs: Inputs) -> Result:
    """Return the part `space` of the summary, and scores of all rows: `first` float32 [n], `second` float32 [m]."""
    both = sides(inputs)
    if both is None:
        return _without(NO_SECOND)
    first, second = both
    if why := _why_not(first, second):
        return _without(why)
    effort, (one, other) = EFFORTS[inputs.params.budget], (_rows(first), _rows(second))
    inputs.progress(0.05, "MMD with 1,000 permutations")
    kernel = mmd_test(one, other, PERMUTATIONS, seed=inputs.seed, most=effort.rows)
    inputs.progress(0.2, "A classifier that is to tell the sets apart")
    told = classifier_test(one, other, seed=inputs.seed, permutations=effort.relabellings, most=effort.rows)
    inputs.progress(0.6, "Testing every class")
    by_prediction = not second.labelled
    classes = _evidence(inputs, first, second, (one, other), by_prediction)
    part = SpacePart(
        tests=_tests(kernel, told),
        classes=_classes(inputs, classes, told, first, second, by_prediction),
        of_classes=len(classes.classes) + len(classes.untested),
        permutations=PERMUTATIONS,
        by_prediction=by_prediction,
        images_p=classes.images_p if classes.classes else None,
        verdict=classes.kind,
    )
    scores = [_all(side, values) for side, values in ((first, told.x_scores), (second, told.y_scores))]
    column = ScoreColumn("shift", scores[0], "How much the image looks like the second set (held-out log-odds).", "")
    return Result({"space": part.model_dump()}, scores=[column], details={"first": scores[0], "second": scores[1]})


def _without(why: str) -> Result:
    return Result({"space": SpacePart(unavailable=why).model_dump()})


def _why_not(first: Side, second: Side) -> str:
    one, other = first.split.embeddings, second.split.embeddings
    if one is None or other is None:
        return (
            "There are no embeddings of both sets: tests of the images need pictures and an encoder, or embeddings "
            "that both data sets brought."
        )
    if one.shape[1] != other.shape[1]:
        return f"The two sets brought embeddings of different lengths, {one.shape[1]:,} and {other.shape[1]:,}."
    if min(first.used.sum(), second.used.sum()) < 2 * FOLDS:
        return f"The tests of the images need {2 * FOLDS} images in each set."
    return ""


def _rows(side: Side) -> Rows:
    assert side.split.embeddings is not None
    return np.nan_to_num(np.asarray(side.split.embeddings, np.float32)[side.used])


def _evidence(inputs: Inputs, first: Side, second: Side, rows: tuple[Rows, Rows], by_prediction: bool) -> Evidence:
    """Tests of the largest classes; those that a budget leaves out count as not tested."""
    effort, count = EFFORTS[inputs.params.budget], len(inputs.classes)
    names = [_of_class(side, by_prediction) for side in (first, second)]
    kept = [of >= 0 for of in names]
    smaller = np.minimum(*(np.bincount(of[keep], minlength=count) for of, keep in zip(names, kept, strict=True)))
    left_out = np.argsort(-smaller, kind="stable")[effort.classes :]
    if len(left_out):
        kept = [keep & ~np.isin(of, left_out) for of, keep in zip(names, kept, strict=True)]
    return evidence(
        rows[0][kept[0]], names[0][kept[0]], rows[1][kept[1]], names[1][kept[1]], count,
        seed=inputs.seed, permutations=PERMUTATIONS, least=LEAST, most=effort.of_class, level=LEVEL,
    )  # fmt: skip


def _of_class(side: Side, by_prediction: bool) -> Ints:
    """Of the rows that count: the class that each belongs to, −1 for none."""
    return (side.predictions if by_prediction else side.labels)[side.used]


def _tests(kernel: MMDResult, told: ClassifierTest) -> list[TwoSample]:
    adjusted = holm([kernel.p_value, told.p_value]).tolist()
    return [
        TwoSample(
            name="MMD²",
            value=Estimate(value=kernel.statistic, n=kernel.n_x + kernel.n_y),
            p_value=kernel.p_value,
            holm=adjusted[0],
            null_95=kernel.null_95,
            n=(kernel.n_x, kernel.n_y),
        ),
        TwoSample(
            name="Classifier",
            value=Estimate(value=told.accuracy, low=told.low, high=told.high, n=told.n_x + told.n_y),
            p_value=told.p_value,
            holm=adjusted[1],
            auc=told.auc,
            n=(told.n_x, told.n_y),
        ),
    ]


def _classes(
    inputs: Inputs, found: Evidence, told: ClassifierTest, first: Side, second: Side, by_prediction: bool
) -> list[ClassImages]:
    names = [_of_class(side, by_prediction) for side in (first, second)]
    rows = [
        ClassImages(
            name=inputs.classes[row.class_index],
            class_index=row.class_index,
            n=(row.n_source, row.n_target),
            p_value=row.p_value,
            holm=row.holm,
            told_apart=_told(told.x_scores[names[0] == row.class_index], told.y_scores[names[1] == row.class_index]),
        )
        for row in found.classes
    ]
    return sorted(rows, key=lambda row: (row.holm, -row.told_apart.value))


def _told(here: Floats, there: Floats) -> Estimate:
    """The mean of the two sets' shares that the classifier recognises, with Newcombe's interval."""
    kept, found = int((here <= 0).sum()), int((there > 0).sum())
    low, high = newcombe_difference_interval(found, len(there), len(here) - kept, len(here))
    value = (kept / len(here) + found / len(there)) / 2
    return Estimate(value=value, low=(1 + float(low)) / 2, high=(1 + float(high)) / 2, n=len(here) + len(there))


def _all(side: Side, scores: Floats) -> NDArray[np.float32]:
    """Scores of the rows that count at their places; NaN elsewhere."""
    found = np.full(len(side.used), np.nan, np.float32)
    found[side.used] = scores
    return found
