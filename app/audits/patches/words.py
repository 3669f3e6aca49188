"""Names and sentences of the kind `patches`. Imports no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.audits.patches.budgets import EFFORTS
from app.audits.patches.schema import Method, MethodRow, PatchesSummary, PatchSize
from app.audits.pieces import Estimate

NAMES: dict[Method, str] = {
    "two masks": "Two masks",
    "columns": "Columns that vote",
    "blocks": "Blocks that vote",
    "smoothed ViT": "Smoothed ViT",
}
SLUGS: dict[Method, str] = {
    "two masks": "two-masks",
    "columns": "columns",
    "blocks": "blocks",
    "smoothed ViT": "smoothed-vit",
}
MEANINGS: dict[Method, str] = {
    "two masks": "Large masks are laid over the image so that one of them hides the patch, wherever it is, and then "
    "pairs of masks. Certified: the label is predicted under each mask and each pair (PatchCleanser). Training on "
    "images with hidden squares raises it most.",
    "columns": "Each band of columns alone says what it sees; a patch can touch only some of the bands. Certified: the "
    "label leads by more than twice as many votes ((de)randomised smoothing).",
    "blocks": "The same with square blocks in place of bands: more of them, and each shows less.",
    "smoothed ViT": "Bands of columns vote by their likeliest class, and the transformer is given only the tokens that "
    "hold a kept pixel: the same votes for a fraction of the work.",
}
_FILLS = {
    "mean of the normalisation": "the pixel that normalisation turns into zero",
    "grey": "mid-grey",
    "black": "black",
}
_WEAK = 0.5


def size_text(size: PatchSize) -> str:
    """A size in words: 2 % (5 × 5 px)."""
    square = f"{size.px} × {size.px} px"
    return square if size.text.lower().endswith("px") else f"{size.text} of the area ({square})"


def sentences(summary: PatchesSummary) -> list[str]:
    """How it was measured, what the figures stand for, and what was left out."""
    found = [
        f"{summary.rows:,} of {summary.of_rows:,} labelled images, drawn at random, of {summary.height} × "
        f"{summary.width} pixels as the network gets them. The patch is a square of any content at any place; the "
        "proofs hold for the defended prediction, which a method makes of many passes, not for the model as it is.",
        f"Hidden pixels become {_FILLS[summary.fill]}. The published smoothing methods tell their networks with two "
        "further channels that a pixel is missing; a network that was not trained for that cannot know it.",
        *[weak(row) for row in summary.methods if row.votes],
        f"The budget “{summary.budget}” leaves out {EFFORTS[summary.budget].leaves_out}.",
    ]
    if any(row.method == "two masks" for row in summary.methods):
        found.append(
            "Masks are laid for each size anew, so that an image may be certified at one size and not at a smaller one."
        )
    if summary.rows < summary.of_rows:
        found.append(f"It also leaves out the other {summary.of_rows - summary.rows:,} images.")
    return found


def doubts(signs: NDArray[np.int8]) -> list[str]:
    """Reasons not to believe the figures, of int8 [m, 2]: other logits when asked again, logits like probabilities."""
    (again, alike), n = signs.sum(axis=0).tolist(), len(signs)
    found = []
    if again:
        found.append(
            f"Random outputs: {again:,} of {n:,} images got other scores when the network was asked again, so nothing "
            "here is proven. Upload the network without its random part."
        )
    if n and alike == n:
        found.append(
            f"Probabilities where logits are expected: the outputs of all {n:,} images are non-negative and sum to "
            "one. A softmax of them is nearly even, so that a band's votes mean little. Declare the outputs as "
            "probabilities."
        )
    return found


def weak(row: MethodRow) -> str:
    """How well the network reads the pieces that it votes on."""
    votes = row.votes or Estimate(value=0, n=0)
    said = f"{NAMES[row.method]}: {100 * votes.value:.0f} % of an image's bands vote for its label on average"
    if votes.value >= _WEAK:
        return f"{said}."
    return (
        f"{said}: its votes are weak. Networks that were not trained on such pieces read them badly; fine-tuned on "
        "them they certify far more, so that the figure says little about what the method can do."
    )
