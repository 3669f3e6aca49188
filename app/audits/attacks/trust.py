"""Whether to believe the figure: signs that attacks failed because they could not see. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits.attacks.schema import SQUARE, WRONG, Level, Sign
from app.audits.epsilon import Norm
from app.numerics.intervals import wilson_interval

BLACK_BOX = 0.002
"""Share of images that only the attack without gradients broke, above which gradients are in doubt."""
ZERO = 0.01
CHANCE = 0.02
GAIN = 0.1
"""Of the images, how many more another normalisation must get right to be mentioned."""


def trust(found: Mapping[str, NDArray[Any]], levels: Sequence[Level], norm: Norm, *, gradients: bool) -> list[Sign]:
    """Return what speaks for and against the figure, in words."""
    signs, by = found["signs"], found["by"]
    rows = [_random(signs[:, 1]), _probabilities(signs[:, 2])]
    if gradients:
        rows += [_zero(signs[:, 0]), _black_box(by[:, -1]), _grey(signs[:, 3], norm)]
    return [*rows, *_proven(levels), *_beyond(levels, norm, len(by))]


def normalisation(clean: NDArray[np.int8], others: Mapping[str, int]) -> list[Sign]:
    """Whether the network is far better under another normalisation than under the declared one."""
    n, right = len(clean), int(clean.sum())
    if not others:
        return []
    name, best = max(others.items(), key=lambda entry: entry[1])
    if best - right < GAIN * n or float(wilson_interval(best, n)[0]) <= float(wilson_interval(right, n)[1]):
        text = f"No usual normalisation gets clearly more than {right:,} of the {n:,} unchanged images right."
        return [Sign(ok=True, title="Normalisation", text=text)]
    return [
        Sign(
            ok=False,
            title="Another normalisation fits better",
            text=f"With “{name}” the model is right on {best:,} of {n:,} unchanged images, with the declared one on "
            f"{right:,}: it probably normalises inside as well, or expects another scale, and ε means another distance "
            "then. Correct the version's preprocessing and run this audit again.",
        )
    ]


def _random(column: NDArray[np.int8]) -> Sign:
    hit, n = _count(column)
    if not hit:
        return Sign(ok=True, title="Same answer twice", text=f"All {n:,} images got the same logits when asked again.")
    return Sign(
        ok=False,
        title="Random outputs",
        text=f"{hit:,} of {n:,} images got other logits when they were asked again, so a single gradient says little "
        "and the share of robust images is too high. Attack the network without its random part, or its average.",
    )


def _probabilities(column: NDArray[np.int8]) -> Sign:
    hit, n = _count(column)
    if hit < n or not n:
        return Sign(ok=True, title="Logits", text="The network returns logits, as the attacks expect.")
    return Sign(
        ok=False,
        title="Probabilities where logits are expected",
        text=f"The outputs of all {n:,} images are non-negative and sum to one: the network ends in a softmax, whose "
        "gradient vanishes where it is sure. Upload it without the softmax, or declare its outputs as probabilities.",
    )


def _zero(column: NDArray[np.int8]) -> Sign:
    hit, n = _count(column)
    if hit <= ZERO * n:
        return Sign(ok=True, title="Gradients", text=f"{n - hit:,} of {n:,} images have a gradient to follow.")
    return Sign(
        ok=False,
        title="Gradients of zero",
        text=f"{hit:,} of {n:,} images have a gradient of exactly zero, so attacks with gradients cannot see a way: "
        "rounding, a saturated softmax or a step function inside the network are the usual reasons. Believe only what "
        "Square broke.",
    )


def _black_box(by: NDArray[np.int8]) -> Sign:
    hit, n = int((by == SQUARE).sum()), int((by != WRONG).sum())
    if hit <= BLACK_BOX * n:
        return Sign(
            ok=True,
            title="Gradients lead further than guessing",
            text=f"Square, which uses no gradients, broke {hit:,} of {n:,} images that the attacks before it did not.",
        )
    return Sign(
        ok=False,
        title="Guessing beats gradients",
        text=f"Square, which uses no gradients, broke {hit:,} of {n:,} images that attacks with gradients did not: the "
        "gradients are masked, and the true share of robust images is probably lower still.",
    )


def _grey(column: NDArray[np.int8], norm: Norm) -> Sign:
    hit, n = _count(column)
    size = "0.5" if norm == "Linf" else "half the longest possible distance"
    if hit <= CHANCE * n:
        return Sign(
            ok=True,
            title="A large ε breaks everything",
            text=f"At ε = {size}, where every image can be made plain grey, {hit:,} of {n:,} images stay right.",
        )
    return Sign(
        ok=False,
        title="A large ε does not reach 0 %",
        text=f"At ε = {size} every image can be made plain grey, and yet {hit:,} of {n:,} stay right under 40 steps of "
        "APGD: the attack fails to find what is certainly there, so smaller ε are in doubt too.",
    )


def _proven(levels: Sequence[Level]) -> list[Sign]:
    """What needs no belief."""
    found = [f"{level.proven:,} at ε = {level.text}" for level in levels if level.proven]
    if not found:
        return []
    text = f"Of the {levels[0].robust.n:,} images these need no belief in attacks: {', '.join(found)}."
    return [Sign(ok=True, title="Proven", text=f"{text} Bounds prove that no change within ε makes the model wrong.")]


def _beyond(levels: Sequence[Level], norm: Norm, n: int) -> list[Sign]:
    """An ε at which every image can be made the same says nothing of robustness."""
    wide = [level for level in levels if norm == "Linf" and level.radius >= 0.5]
    if not wide:
        return []
    return [
        Sign(
            ok=False,
            title="ε is beyond what has a meaning",
            text=f"At ε = {wide[0].text} each of the {n:,} images can be made plain grey: no network can be right on "
            "all of them, whatever it learnt. Usual values are 8/255 for small and 4/255 for large images.",
        )
    ]


def _count(column: NDArray[np.int8]) -> tuple[int, int]:
    return int((column == 1).sum()), int(np.count_nonzero(column >= 0))
