"""Sentences of the kind `smoothing`. Imports no torch."""

from __future__ import annotations

from app.audits.smoothing.budgets import EFFORTS
from app.audits.smoothing.figures import middle, shown_variant
from app.audits.smoothing.schema import SmoothingSummary, Variant

BREAKS = 0.75
"""Of the accuracy without noise: what must be left under noise for smoothing to make sense."""


def title(variant: Variant) -> str:
    """A network under one noise."""
    return f"σ = {variant.sigma}, {'copy trained with this noise' if variant.copied else 'uploaded model'}"


def sentences(summary: SmoothingSummary) -> list[str]:
    """How it was measured, what the certificates are worth, and what was left out."""
    effort = EFFORTS[summary.budget]
    how = (
        f"{effort.first:,} noisy copies of an image choose the class; then each asked radius is tested with as few "
        f"further copies as it takes, at most {effort.copies:,}, by a test that may be looked at at any time"
        if effort.asks
        else f"{effort.first:,} noisy copies of an image choose the class, {effort.copies:,} others bound its share "
        "from below (Clopper, Pearson), and the radius is σ Φ⁻¹ of that bound"
    )
    drawn = summary.of_rows - summary.rows
    return [
        f"{summary.rows:,} of {summary.of_rows:,} labelled images, drawn at random. The smoothed model answers with "
        "the class that most noisy copies of an image are taken for, or abstains; what is certified is that answer, "
        f"for every change of the pixels, from 0 to 1, of Euclidean length up to the radius. {how}. Noisy pixels are "
        "not clipped. The model in use without smoothing has no such guarantee.",
        f"Each image’s certificate is wrong with probability at most α = {summary.alpha:g}, since the noise is drawn "
        f"at random: of these {summary.rows:,} expect at most {summary.alpha * summary.rows:.3g} wrong ones for each "
        "σ. The intervals beside the shares say how far other images of the same kind would move them; α comes on top.",
        *_chosen(summary),
        f"The budget “{summary.budget}” leaves out {summary.leaves_out}."
        + (f" It also leaves out the other {drawn:,} images." if drawn else ""),
    ]


def _chosen(summary: SmoothingSummary) -> list[str]:
    """Which of several noises classes, slices and the headline are shown for."""
    if len({variant.sigma for variant in summary.variants}) < 2:
        return []
    asked = summary.radii[middle(summary.radii) - 1]
    return [
        f"Classes, slices and the headline are shown for {shown_variant(summary)}, under which most images are "
        f"certified at r = {asked}; the best of several figures is slightly too high."
    ]


def plain(variant: Variant, summary: SmoothingSummary) -> str:
    """What noise alone does to the network; empty where it hardly matters."""
    if variant.noisy.value >= BREAKS * variant.base.value:
        return ""
    noise = f"noise of σ = {variant.sigma}"
    found = f"{_percent(variant.noisy.value)} of noisy copies right, without noise {_percent(variant.base.value)}"
    if variant.copied:
        return (
            f"Even the copy trained with {noise} gets only {found}: a smaller σ, or longer training, is what would "
            "help."
        )
    helps = [
        f"the copy trained with it has a smoothed accuracy of {_percent(other.smoothed.value)}."
        for other in summary.variants
        if other.copied and other.sigma == variant.sigma
    ] or ["a copy trained with it is what would help."]
    return (
        f"The model does not stand {noise}: it gets {found}; its smoothed accuracy is "
        f"{_percent(variant.smoothed.value)}. It was probably not trained with noise; {helps[0]}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}\u00a0%"
