"""The methods' two ends as pages draw them, and how far to trust each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from app.audits.base import RunReader
from app.audits.datamodels.schema import METHODS, DatamodelsSummary, FitSummary, beaten, ranked
from app.audits.influence.page_ends import AllEnds, Ends, training_thumb
from app.audits.pieces import Estimate, Thumb

SHOWN = 12
NOTE = (
    "Beside each method stands its linear datamodelling score: the rank correlation of what it predicts with what "
    "{held:,} random parts of the training data gave, trained on by {repeats} networks each, which no fit saw. 1 is "
    "best, and the dashed tick is what a perfect attribution would reach."
)


BEHIND = (
    "Positive: networks that saw the training image are surer of the true class than those that did not; negative: "
    "less sure."
)
FELT = "Positive: with this training image networks are surer of the audited image’s true class; negative: less sure."


def all_ends(found: Sequence[Ends], summary: DatamodelsSummary, direction: str = BEHIND) -> AllEnds:
    """Return methods' ends on one scale of trust; `direction` says what the sign of a score means."""
    note = NOTE.format(held=summary.held_out, repeats=summary.repeats)
    return AllEnds(
        methods=list(found),
        scale=trust_scale(summary),
        ceiling=summary.ceiling,
        direction=direction,
        note=note,
    )


def ends(method: FitSummary, summary: DatamodelsSummary, helpful: list[Thumb], harmful: list[Thumb]) -> Ends:
    """Return one method's two ends."""
    text = METHODS[method.method]
    return Ends(
        title=text.title,
        scale=text.scale,
        verified=True,
        evidence=f"linear datamodelling score {method.lds:.2f} [{method.low:.2f}, {method.high:.2f}]",
        lds=trust(method, summary),
        beaten=beaten(method, summary.methods),
        steady=None,
        helpful=helpful[:SHOWN],
        harmful=harmful[:SHOWN],
    )


def computed(summary: DatamodelsSummary, names: Sequence[str]) -> list[FitSummary]:
    """The methods of those names that were computed, the most trusted first."""
    return [m for m in ranked(summary.methods) if m.method in names and m.lds is not None]


def trust(method: FitSummary, summary: DatamodelsSummary) -> Estimate | None:
    """Return a method's linear datamodelling score; its n are the targets."""
    if method.lds is None:
        return None
    return Estimate(value=method.lds, low=method.low, high=method.high, n=summary.targets)


def trust_scale(summary: DatamodelsSummary) -> tuple[float, float]:
    """From 0, or the tenth below the lowest whisker, to the tenth above the highest whisker or the ceiling."""
    bounds = [b for m in summary.methods for b in (m.low, m.high, m.lds) if b is not None]
    bounds += [summary.ceiling] if summary.ceiling is not None else []
    low, high = min([0.0, *bounds]), max(bounds, default=1.0)
    return math.floor(10 * low) / 10, max(min(1.0, math.ceil(10 * high) / 10), 0.1)


def thumbs(rows: Sequence[int], labels: Sequence[int], scores: Sequence[float], reader: RunReader) -> list[Thumb]:
    """Pictures of training images by data set row, with label and score."""
    return [training_thumb(*one, reader) for one in zip(rows, labels, scores, strict=True)]
