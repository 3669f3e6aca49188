"""Whatever a network returns, as one matrix of finite numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from app.errors import UserError

_RIGHT = "Save a network whose forward returns the class scores alone: wrap it in a module that picks them."
_PREFERRED_KEYS = ("logits", "output", "out", "pred", "scores", "probabilities")


class BadOutput(UserError):
    """The network's output cannot be read as one row of class scores per image."""


def class_scores(raw: Any, rows: int, classes: int | None = None) -> Tensor:
    """Find the scores float32 [rows, C] in a tensor, or in a dict, tuple or list that holds one such tensor.

    Raises:
        BadOutput: none, several, or a C that is not `classes`.
    """
    return find_scores(raw, rows, classes)[1]


def find_scores(raw: Any, rows: int, classes: int | None = None) -> tuple[str, Tensor]:
    """Return the place of the scores in what the network returned (empty: it is the scores), and the scores.

    Raises:
        BadOutput: as `class_scores`.
    """
    named = [(place, _as_matrix(tensor)) for place, tensor in _tensors(raw)]
    candidates = [(place, matrix) for place, matrix in named if _fits(matrix, rows)]
    if classes is not None and len(candidates) > 1:
        candidates = [found for found in candidates if found[1].shape[1] == classes] or candidates
    if len(candidates) != 1:
        raise BadOutput(_complaint(raw, rows, [place for place, _ in candidates]))
    place, scores = candidates[0]
    if scores.shape[1] == 1:
        raise BadOutput(
            "The network has a single output. Faultline audits classifiers with one output per class: for two "
            "classes, return two."
        )
    if classes is not None and scores.shape[1] != classes:
        raise BadOutput(
            f"The network has {scores.shape[1]} outputs, but {classes} classes are named. Name one class for each "
            "output, in their order."
        )
    return place, scores.float()


def wrapping(raw: Any, place: str) -> str:
    """Say what a network returns around its scores, and what would be right; empty where it returns them alone."""
    if not place:
        return ""
    return f"The network returns {_describe(raw)}. {place} is taken as the class scores. {_RIGHT}"


def check_finite(scores: Tensor) -> Tensor:
    """Return `scores` [n, C] as they are.

    Raises:
        BadOutput: some are NaN or infinite.
    """
    bad = ~torch.isfinite(scores).all(1)
    if bool(bad.any()):
        first, count = int(bad.nonzero()[0]), int(bad.sum())
        raise BadOutput(
            f"The network returned NaN or infinity for {count} of {len(scores)} images (the first is number {first} "
            "of its batch). Check the weights, the normalisation and the number format."
        )
    return scores


def are_probabilities(scores: Tensor, tolerance: float = 1e-3) -> bool:
    """Whether every row of [n, C] is non-negative and sums to one."""
    sums = scores.sum(1)
    return bool((scores >= 0).all()) and bool(((sums - 1).abs() < tolerance).all())


def to_logits(scores: Tensor) -> Tensor:
    """Logits whose softmax is `scores` (probabilities [n, C]); zeros become the smallest normal float32.

    Raises:
        BadOutput: the rows are no probabilities.
    """
    if not are_probabilities(scores):
        raise BadOutput(
            "The network's outputs are declared as probabilities, but its rows do not sum to one. Choose logits."
        )
    return scores.clamp_min(torch.finfo(torch.float32).tiny).log()


def _tensors(raw: Any, place: str = "") -> list[tuple[str, Tensor]]:
    """All tensors with their places in words."""
    if isinstance(raw, Tensor):
        return [(place, raw)]
    if isinstance(raw, Mapping):
        for key in _PREFERRED_KEYS:
            if isinstance(raw.get(key), Tensor):
                return [(f"The entry {key!r}", raw[key])]
        return [(f"The entry {key!r}", value) for key, value in raw.items() if isinstance(value, Tensor)]
    if isinstance(raw, (tuple, list)):
        return [found for i, item in enumerate(raw) for found in _tensors(item, f"Entry {i + 1}")]
    return []


def _as_matrix(tensor: Tensor) -> Tensor:
    """[n, C, 1, 1] (fully convolutional heads) counts as [n, C]."""
    trailing = tensor.ndim > 2 and tensor.shape[2:].numel() == 1
    return tensor.flatten(1) if trailing else tensor


def _fits(tensor: Tensor, rows: int) -> bool:
    return tensor.ndim == 2 and tensor.shape[0] == rows and tensor.is_floating_point()


def _complaint(raw: Any, rows: int, places: list[str]) -> str:
    wanted = f"one matrix of scores with a row for each image ({rows} here)"
    if len(places) > 1:
        said = f"The network returns {_describe(raw)}: {len(places)} matrices that could be the class scores"
    else:
        said = f"The network returned {_describe(raw)}"
    return f"{said}; it should return {wanted}. {_RIGHT}"


def _describe(raw: Any) -> str:
    if isinstance(raw, Tensor):
        kind = str(raw.dtype).removeprefix("torch.")
        return f"a {kind} tensor of shape {'×'.join(map(str, raw.shape)) or 'scalar'}"
    if isinstance(raw, Mapping):
        return "a dict with the keys " + (", ".join(repr(key) for key in list(raw)[:5]) or "(none)")
    if isinstance(raw, (tuple, list)):
        return f"a {type(raw).__name__} of " + (", ".join(_describe(item) for item in raw[:4]) or "nothing")
    return f"a {type(raw).__name__}"
