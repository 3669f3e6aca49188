"""Published accuracies of many models on an original and a shifted data set, to fit lines to."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from app.numerics.shift.estimates import Floats


class Published(NamedTuple):
    """One pair of data sets; facts from `published.csv`."""

    key: str
    original: str
    shifted: str
    models: tuple[str, ...]
    accuracy: Floats
    """float64 [k] in [0, 1], on the original images."""
    shifted_accuracy: Floats
    """float64 [k], on the shifted ones."""
    source: str


@cache
def published() -> dict[str, Published]:
    """Every published pair by its key.

    `imagenetv2`: models trained on ImageNet-1k alone, as timm's authors measured them. `cifar10.1`: the seven models
    that Recht et al. 2019 list in table 1.
    """
    text = files("app.numerics.shift").joinpath("published.csv").read_text("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    return {key: _pair(key, [row for row in rows if row["line"] == key]) for key in {row["line"]: None for row in rows}}


def _pair(key: str, rows: list[dict[str, str]]) -> Published:
    first = rows[0]
    return Published(
        key, first["original"], first["shifted"], tuple(row["model"] for row in rows),
        np.array([float(row["accuracy"]) for row in rows]), np.array([float(row["shifted_accuracy"]) for row in rows]),
        first["source"],
    )  # fmt: skip
