"""Published rows of RobustBench as data, and which of its tables a data set's class names belong to. No torch.

Facts from the leaderboard's pages (github.com/RobustBench/robustbench.github.io at 0bf7012): clean accuracy and the
best known robust accuracy of every row, measured with AutoAttack on all 10,000 test images (5,000 of ImageNet's).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from app.audits.epsilon import Norm, radius

TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet"}
IMAGES = {"cifar10": 10_000, "cifar100": 10_000, "imagenet": 5_000}
_CIFAR10 = ("airplane|plane", "automobile|car", "bird", "cat", "deer", "dog", "frog", "horse", "ship|boat", "truck")


class Published(NamedTuple):
    """One row."""

    model: str
    architecture: str
    clean: float
    robust: float
    source: str


class Board(NamedTuple):
    """The rows of one data set at one ε, the most robust first."""

    data_set: str
    norm: Norm
    epsilon: str
    rows: tuple[Published, ...]


@cache
def boards() -> tuple[Board, ...]:
    """Every table."""
    found: dict[tuple[str, Norm, str], list[Published]] = {}
    for row in csv.DictReader(_text("robustbench.csv").splitlines()):
        norm: Norm = "Linf" if row["norm"] == "Linf" else "L2"
        line = Published(row["model"], row["architecture"], float(row["clean"]), float(row["robust"]), row["source"])
        found.setdefault((row["dataset"], norm, row["epsilon"]), []).append(line)
    return tuple(Board(*key, tuple(sorted(rows, key=lambda row: -row.robust))) for key, rows in found.items())


def known_as(classes: Sequence[str]) -> str:
    """Key of the data set that has these class names, in any order and spelling; empty for any other."""
    names = sorted(re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in classes)
    if len(names) == len(_CIFAR10) and all(any(re.fullmatch(want, name) for name in names) for want in _CIFAR10):
        return "cifar10"
    if names == sorted(_text("cifar100.txt").split()):
        return "cifar100"
    synsets = all(re.fullmatch(r"n\d{8}", name) for name in names)
    if len(names) == 1000 and (synsets or any(name.startswith("tench") for name in names)):
        return "imagenet"
    return ""


def same(board: Board, norm: Norm, text: str) -> bool:
    """Whether an ε is a table's."""
    return board.norm == norm and abs(radius(text) / radius(board.epsilon) - 1) < 1e-3


def _text(name: str) -> str:
    return files("app.audits.attacks").joinpath(name).read_text("utf-8")
