"""How far an image may change, as people write it. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

Norm = Literal["Linf", "L2"]
MOST_RADII = 5
FARTHEST = {"Linf": 1.0, "L2": 100.0}
_DECIMAL = r"(?:[0-9]{1,20}\.?[0-9]{0,20}|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,2})?"
_NUMBER = re.compile(rf"([+-]?{_DECIMAL})(?:/({_DECIMAL}))?")
"""Short, since an exponent of eight digits is a number of a hundred million."""


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
    return once(texts)


def once(texts: Sequence[str]) -> list[str]:
    """Numbers as they were written, by rising value; of those of one value the first."""
    found: dict[float, str] = {}
    for text in texts:
        found.setdefault(number(text), text)
    return [found[value] for value in sorted(found)]


def number(text: str) -> float:
    """A number or fraction such as 0.25, 64/255 or 0.5/255.

    Raises:
        ValueError: it is neither, or too long to be one that somebody means.
        ZeroDivisionError: a fraction of zeros.
    """
    plain = text.replace(" ", "").replace(",", ".")
    found = _NUMBER.fullmatch(plain)
    if not found:
        raise ValueError(f"“{text}” is no number or fraction")
    return float(Fraction(found[1]) / Fraction(found[2] or 1))


def radius(text: str) -> float:
    """What somebody wrote as ε, such as 8/255, 0.5/255 or 0.5.

    Raises:
        ValueError: no positive number.
    """
    try:
        found = number(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"“{text}” is no number or fraction; write ε like 8/255 or 0.5") from error
    if not found > 0:
        raise ValueError(f"ε = {text} is not positive; write ε like 8/255 or 0.5")
    return found
