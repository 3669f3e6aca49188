"""Short texts as arrays, the one form in which a shard hands over what it knows. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LONGEST = 400
"""Bytes of a text; what is longer is cut."""


def lines(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Texts in UTF-8, uint8 [n, 400]."""
    found = np.zeros((len(texts), LONGEST), np.uint8)
    for line, text in zip(found, texts, strict=True):
        data = np.frombuffer(text.encode()[:LONGEST], np.uint8)
        line[: len(data)] = data
    return found


def texts(found: NDArray[np.uint8]) -> list[str]:
    """The texts of uint8 [n, 400]."""
    return [bytes(np.asarray(line)).rstrip(b"\0").decode(errors="ignore") for line in found]
