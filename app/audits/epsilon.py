"""How far an image may change, as people write it. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

Norm = Literal["Linf", "L2"]
MOST_RADII = 5
FARTHEST = {"Linf": 1.0, "L2": 100.0}


def checked(given: Sequence[str], norm: Norm) -> list[str]:
    """Each ε once, by rising value, as it was written.

    Raises:
        ValueError: none or too many, what is no positive number, or one that is beyond the range of pixels.
    """
    texts = [text.strip() for text in given if text.strip()]
    if not 1 <= len(texts) <= MOST_RADII:
        raise ValueError(f"give one to {MOST_RADII} values of ε, such as 8/255; there are {len(texts)}")
    for text in texts:
        if radius(text) > FARTHEST[norm]:
            raise ValueError(
                f"ε = {text} is beyond the range: pixels run from 0 to 1 here, not to 255, so that ε is at most "
                f"{FARTHEST[norm]:g} for {norm}. If you meant steps of 1/255, write {text}/255"
            )
    return sorted(dict.fromkeys(texts), key=radius)


def radius(text: str) -> float:
    """What somebody wrote as ε, such as 8/255 or 0.5.

    Raises:
        ValueError: no positive number.
    """
    try:
        found = float(Fraction(text.replace(" ", "").replace(",", ".")))
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"“{text}” is no number or fraction; write ε like 8/255 or 0.5") from error
    if not found > 0:
        raise ValueError(f"ε = {text} is not positive; write ε like 8/255 or 0.5")
    return found
