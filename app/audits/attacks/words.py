"""Sentences of the kind `attacks`. Imports no torch."""

from __future__ import annotations

from app.audits.attacks.budgets import EFFORTS
from app.audits.attacks.schema import AttacksSummary

NORMS = {"Linf": "L∞", "L2": "L2"}


def sentences(summary: AttacksSummary) -> list[str]:
    """How it was measured, and what was left out."""
    effort = EFFORTS[summary.budget]
    found = [
        f"{summary.rows:,} of {summary.of_rows:,} labelled images, drawn at random. What is changed are the pixels, "
        "from 0 to 1, that the network gets after resizing and cropping and before normalisation; they are not "
        "rounded to 256 steps. Each attack gets the images that withstood the ones before it.",
    ]
    if summary.no_gradients:
        found.append(
            f"Only Square ran, with {effort.queries:,} queries an image, since there are no gradients: "
            f"{summary.no_gradients} An attack with gradients would find more, so read the shares as upper bounds."
        )
    else:
        found.append(f"The budget “{summary.budget}” leaves out {effort.leaves_out}.")
    if summary.rows < summary.of_rows:
        found.append(f"It also leaves out the other {summary.of_rows - summary.rows:,} images.")
    return [*found, _limits(max((level.proven for level in summary.levels), default=0))]


def _limits(proven: int) -> str:
    rest = "are not proven to be robust: a stronger attack may break them."
    if not proven:
        return f"Images that withstand {rest}"
    return f"Up to {proven:,} images are proven to withstand and were spared the dear attacks; others that do {rest}"
