"""Sentences of the kind `shift`. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

from app.audits.pieces import Estimate
from app.audits.shift.schema import EFFORTS, LEVEL, AccuracyPart, ShiftSummary, SpacePart, Verdict

VERDICTS: dict[Verdict, str] = {
    "none": "No shift is seen: neither the classes' shares nor the images within classes differ by more than chance.",
    "label": "Label shift: the classes' shares moved, and images are not seen to have changed within classes.",
    "covariate": "Covariate shift: images changed within classes, and the classes' shares are not seen to have moved.",
    "both": "Both: the classes' shares moved, and images changed within classes.",
}


def points(found: Estimate) -> str:
    """A difference of shares in percentage points, with its interval."""
    ends = "" if found.low is None or found.high is None else f" [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    return f"{100 * found.value:+.1f}{ends} points".replace("-", "−")


def p_text(p: float) -> str:
    """A p-value in words."""
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".", 1)


def verdict(summary: ShiftSummary) -> list[str]:
    """Which kind of shift it is, and the evidence for it."""
    return [*_kind(summary.space, summary.accuracy), *_made_of(summary.accuracy)]


def _kind(space: SpacePart, accuracy: AccuracyPart) -> Iterator[str]:
    if space.verdict is not None:
        yield _statement(space.verdict, space, accuracy)
        yield from _images(space)
    elif accuracy.label_p is not None:
        said = "moved" if accuracy.label_p <= LEVEL else "are not seen to have moved"
        yield f"The classes' shares {said}; whether images changed within classes cannot be said without embeddings."
    if accuracy.label_p is not None:
        yield f"That the classes are equally frequent in both sets: {p_text(accuracy.label_p)} (χ², permuted)."
    elif accuracy.shares is not None:
        yield (
            "That the model predicts the classes equally often in both sets: "
            f"{p_text(accuracy.shares.p_value)} (χ², permuted). Without labels other shares and other images cannot "
            "be told apart for certain."
        )


def _statement(verdict: Verdict, space: SpacePart, accuracy: AccuracyPart) -> str:
    """What was seen; images that are not seen to differ are no comfort where the model errs more often on them."""
    harder = accuracy.harder_p is not None and accuracy.harder_p <= LEVEL and accuracy.parts is not None
    if verdict in {"none", "label"} and harder and accuracy.parts is not None:
        often = "less" if accuracy.parts.within.value < 0 else "more"
        shares = "the classes' shares moved" if verdict == "label" else "the classes' shares are not seen to have moved"
        return (
            f"Within classes the model is {often} often right, though the embeddings do not show why: what changed is "
            f"not in what the encoder sees, or the labels mean something else. Beside that, {shares}."
        )
    if verdict == "none" and (seen := [test.name for test in space.tests if test.holm <= LEVEL]):
        return (
            f"The sets differ as a whole ({' and '.join(seen)}, below), but neither the classes' shares nor the images "
            "within classes are seen to: more images would tell."
        )
    return VERDICTS[verdict]


def _images(space: SpacePart) -> Iterator[str]:
    changed = sum(row.holm <= LEVEL for row in space.classes)
    of = "what the model takes for a class" if space.by_prediction else "a class's images"
    how = f"(MMD of {of}, {space.permutations:,} permutations, Holm over the classes)"
    tested = len(space.classes)
    if space.images_p is not None:
        yield f"That images within classes are the same, of {tested:,} classes together: {p_text(space.images_p)}."
    if not tested:
        yield "No class has enough images in both sets for a test of its own."
    elif changed:
        yield f"The images of {changed:,} of {tested:,} tested classes changed, each taken alone {how}."
    else:
        yield f"Of {tested:,} tested classes none is seen to have other images, each taken alone {how}."
    if space.of_classes > tested:
        yield (
            f"{space.of_classes - tested:,} further classes have too few images in one of the sets, or were left out "
            "by the budget."
        )


def _made_of(accuracy: AccuracyPart) -> Iterator[str]:
    if accuracy.parts is None or accuracy.change is None:
        return
    yield (
        f"Accuracy changes by {points(accuracy.change.difference)}: {points(accuracy.parts.label)} from other shares "
        f"of the classes, {points(accuracy.parts.within)} from classes becoming harder or easier (below zero is "
        "a loss)."
    )
    if accuracy.parts.left_out:
        yield f"{accuracy.parts.left_out:,} images of classes that the audited set lacks are in neither part."


def leaves_out(summary: ShiftSummary) -> str:
    """What the budget did not do: it completes “leaves out …”."""
    effort, first, second = EFFORTS[summary.budget], summary.first, summary.second
    if first is None or second is None or summary.space.unavailable:
        return ""
    of_class = f"images of a class beyond {effort.of_class} of each set from the tests of classes"
    if max(first.rows, second.rows) <= effort.rows:
        return of_class
    return f"images beyond {effort.rows:,} of each set from MMD and what the classifier learns from; {of_class}"


def estimate_text(summary: ShiftSummary) -> list[str]:
    """What the estimate without labels is worth."""
    found = summary.accuracy.unlabelled
    if found is None:
        return [summary.accuracy.no_estimate] if summary.accuracy.no_estimate else []
    said = [
        "Average thresholded confidence: the share of the second set's images of which the model is as sure as of the "
        "audited ones that it gets right. Its interval knows chance, not the shift: the table shows how far it was off "
        "where the truth is known."
    ]
    if found.error is not None:
        side = "above" if found.error > 0 else "below"
        said.append(f"With the labels: the estimate is {100 * abs(found.error):.1f} points {side} the truth.")
    return said
