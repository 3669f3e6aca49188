"""The question `behind_slice`: which training images the members of a slice depend on, on average."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from app.audits.base import ActionResult, Inputs, Split
from app.audits.influence.group_schema import GroupAnswer, GroupEnds, GroupPayload, Scored
from app.audits.influence.kept import kept_spectra
from app.audits.influence.schema import METHODS, Method
from app.audits.influence.scores import (
    CannotAttribute,
    array,
    checkpoints,
    last_layer,
    loss_slope,
    rows,
    space,
    targets_of,
    whitened_of,
)
from app.audits.influence.stability import HalvedTrak, compared, mean_row
from app.numerics.attribution.halves import shared_tops
from app.numerics.attribution.knn_shapley import knn_shapley
from app.numerics.attribution.trak import Checkpoint

SHOWN = 24
MOST_SORTED = 4_000_000
"""Distances that KNN-Shapley sorts for one question; of more members a sample is asked."""

Places = NDArray[np.int64]


class Mean(NamedTuple):
    """Mean scores float32 [N] over `asked` members, and what the two halves of the evidence share, if it has any."""

    scores: Tensor
    asked: int
    shared: tuple[int, int] | None = None


def behind_slice(inputs: Inputs, payload: GroupPayload) -> ActionResult:
    """Average every method's scores over the slice's members and keep both ends.

    All methods but KNN-Shapley are linear in the target, so that one product with the members' mean does.

    Raises:
        ValueError: the run has no training split, a position lies outside of the audited split, or no method applies.
    """
    train, members = _checked(inputs, payload)
    makers: dict[Method, Callable[[], Mean]] = {
        "trak": lambda: trak_mean(inputs, train, members),
        "ekfac": lambda: Mean(_ekfac(train, inputs.audited, members), len(members)),
        "tracin_full": lambda: Mean(_tracin_full(train, inputs.audited, members), len(members)),
        "tracin": lambda: Mean(_tracin(inputs, train, members), len(members)),
        "knn_shapley": lambda: _knn_shapley(inputs, train, members),
        "similarity": lambda: Mean(_similarity(inputs, train, members), len(members)),
    }
    found = []
    for method in METHODS:
        try:
            found.append(_ends(method, makers[method](), train))
        except CannotAttribute:
            continue
    if not found:
        raise ValueError("This run has neither gradients nor features nor embeddings to attribute with.")
    answer = GroupAnswer(finding_id=payload.finding_id, members=len(members), methods=found)
    return ActionResult(answer.model_dump(mode="json"))


def _checked(inputs: Inputs, payload: GroupPayload) -> tuple[Split, Places]:
    if inputs.train is None:
        raise ValueError("The run names no training split.")
    members = np.array(payload.rows, dtype=np.int64)
    if members.min() < 0 or members.max() >= len(inputs.audited.manifest):
        raise ValueError("The slice names an image outside of the audited split.")
    return inputs.train, members


def trak_mean(inputs: Inputs, train: Split, members: Places) -> Mean:
    """TRAK's scores for the mean of some audited images, and how much the two halves of the evidence share.

    Raises:
        CannotAttribute: the model gives no gradients.
    """
    kept = kept_spectra(inputs)
    if kept is None:
        raise CannotAttribute("There are no gradients.")
    points, means = [], []
    for c in range(checkpoints(train)):
        doubt = torch.from_numpy(array(train, "doubt", c))
        points.append(Checkpoint(rows(train, c), kept.spectrum(c), torch.zeros(0), doubt))
        means.append(mean_row(inputs.audited, c, members))
    found = HalvedTrak(points).scores(means, kept.ridge)
    helpful, harmful = shared_tops(found.first, found.second, compared(len(train.manifest)))[0].tolist()
    return Mean(found.scores[:, 0], len(members), (helpful, harmful))


def _ekfac(train: Split, audited: Split, members: Places) -> Tensor:
    mean = whitened_of(audited).take(members).rows().mean(dim=0, keepdim=True)
    slope = loss_slope(train, "ekfac.doubt")
    return whitened_of(train).dot(mean)[:, 0] * slope / len(slope)


def _tracin_full(train: Split, audited: Split, members: Places) -> Tensor:
    if not checkpoints(train):
        raise CannotAttribute("There are no gradients.")
    total = torch.zeros(len(train.manifest))
    for c in range(checkpoints(train)):
        doubts = torch.from_numpy(array(audited, "doubt", c))[members]
        mean = doubts[None] @ rows(audited, c).take(members).rows() / len(members)
        total += rows(train, c).dot(mean)[:, 0] * loss_slope(train, f"gradients.doubt-{c}")
    return total


def _tracin(inputs: Inputs, train: Split, members: Places) -> Tensor:
    """Σ over members of (error · error)(input · input) is one bilinear form, [C, d + 1]."""
    error, features = last_layer(train, teaches=True)
    other_error, other_features = last_layer(inputs.audited, teaches=False)
    form = other_error[members].T @ other_features[members]
    return ((error @ form) * features).sum(dim=1) / len(members)


def _similarity(inputs: Inputs, train: Split, members: Places) -> Tensor:
    """Cosines with members of the row's own label, less those with all others."""
    labels, own = targets_of(inputs.audited)[members], targets_of(train)
    queries = normalize(space(inputs.audited)[members], dim=1)
    keys = normalize(space(train), dim=1)
    total = -(keys @ queries.sum(dim=0))
    for label in set(labels.tolist()):
        same = own == label
        total[same] += 2 * (keys[same] @ queries[labels == label].sum(dim=0))
    return total / len(members)


def _knn_shapley(inputs: Inputs, train: Split, members: Places) -> Mean:
    most = max(16, MOST_SORTED // max(len(train.manifest), 1))
    some = members
    if len(members) > most:
        some = np.sort(np.random.default_rng(0).permutation(members)[:most])
    targets, labels = space(inputs.audited)[some], targets_of(inputs.audited)[some]
    scores = knn_shapley(space(train), targets_of(train), targets, labels, inputs.params.neighbours)
    return Mean(scores.mean(dim=1), len(some))


def _ends(method: Method, mean: Mean, train: Split) -> GroupEnds:
    top = min(SHOWN, max(len(mean.scores) // 2, 1))
    high, low = mean.scores.topk(top), mean.scores.topk(top, largest=False)
    return GroupEnds(
        method=method,
        asked=mean.asked,
        shared=mean.shared,
        helpful=[_scored(train, i, s) for i, s in _pairs(high) if s > 0],
        harmful=[_scored(train, i, s) for i, s in _pairs(low) if s < 0],
    )


def _pairs(found: tuple[Tensor, Tensor]) -> list[tuple[int, float]]:
    return list(zip(found[1].tolist(), found[0].tolist(), strict=True))


def _scored(train: Split, place: int, score: float) -> Scored:
    row, label = (train.manifest[name][place].as_py() for name in ("row", "label"))
    return Scored(row=row, label=label, score=score)
