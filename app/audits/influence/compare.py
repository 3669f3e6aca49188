"""The question `compare`: training data that one run's model leans on and another's does not (ModelDiff)."""

from __future__ import annotations

import json

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.base import ActionResult, Inputs
from app.audits.influence.compare_schema import CompareAnswer, ComparePayload, Direction
from app.audits.influence.schema import METHODS, EffectsSummary
from app.numerics.attribution.effects import loadings, model_difference

DIRECTIONS = 4
SHOWN = 6
_DRAWS = 1_000

Rows = NDArray[np.int64]


def compare(inputs: Inputs, payload: ComparePayload, other: Inputs) -> ActionResult:
    """Compare two runs by the attributions that their stages `effects` kept.

    Raises:
        ValueError: either kept none, or they are of other images or by another method.
    """
    mine, theirs = _summary(inputs), _summary(other)
    if mine.method != theirs.method:
        raise ValueError(
            f"This run attributes by {METHODS[mine.method].title} and the other by {METHODS[theirs.method].title}; "
            "attributions by different methods cannot be compared."
        )
    first, second = _scores(inputs), _scores(other)
    rows = _rows(inputs)
    if not all(np.array_equal(a, b) for a, b in zip(rows, _rows(other), strict=True)):
        raise ValueError("The two runs attribute other images; compare runs on the same splits of one data set.")
    cosine = torch.nn.functional.cosine_similarity(first, second, dim=0).numpy()
    low, high = _bootstrap(cosine)
    answer = CompareAnswer(
        other_run_id=payload.other_run_id,
        method=mine.method,
        targets=mine.targets,
        of_targets=mine.of_targets,
        similarity=float(cosine.mean()),
        low=low,
        high=high,
        own=_directions(first, second, rows),
        others=_directions(second, first, rows),
    )
    return ActionResult(answer.model_dump(mode="json"))


def _summary(inputs: Inputs) -> EffectsSummary:
    path = inputs.earlier["effects"] / "summary.json" if "effects" in inputs.earlier else None
    found = json.loads(path.read_text()).get("effects") if path else None
    if found is None:
        raise ValueError("One of the two runs kept no attributions to compare. Start it again.")
    return EffectsSummary.model_validate(found)


def _scores(inputs: Inputs) -> Tensor:
    return torch.from_numpy(np.load(inputs.earlier["effects"] / "scores.npy", allow_pickle=False)).float()


def _rows(inputs: Inputs) -> tuple[Rows, Rows]:
    """Data set rows of the training split, and of the attributed images."""
    if inputs.train is None:
        raise ValueError("The run names no training split.")
    targets = np.load(inputs.earlier["effects"] / "targets.npy", allow_pickle=False)
    return inputs.train.manifest["row"].to_numpy(), inputs.audited.manifest["row"].to_numpy()[targets]


def _directions(first: Tensor, second: Tensor, rows: tuple[Rows, Rows]) -> list[Direction]:
    """What the first leans on and the second does not; nothing where there is no such thing.

    One half of the attributed images finds the directions, the other says how much either model uses them.
    """
    drawn = np.random.default_rng(1).permutation(first.shape[1])
    finding, judging = np.sort(drawn[::2]), np.sort(drawn[1::2]) if len(drawn) > 1 else drawn
    try:
        found = model_difference(first[:, finding], second[:, finding], DIRECTIONS, torch.Generator().manual_seed(0))
    except ValueError:
        return []
    used, shares = (
        loadings(first, found),
        [loadings(side[:, judging], found).square().numpy() for side in (first, second)],
    )
    return [_direction(found[:, c], used[:, c], [side[:, c] for side in shares], rows) for c in range(found.shape[1])]


def _direction(train: Tensor, used: Tensor, shares: list[NDArray[np.float64]], rows: tuple[Rows, Rows]) -> Direction:
    low, high = _bootstrap(shares[0] - shares[1])
    return Direction(
        own=float(shares[0].mean()),
        other=float(shares[1].mean()),
        low=low,
        high=high,
        n=len(shares[0]),
        train_high=_ends(train, rows[0]),
        train_low=_ends(-train, rows[0]),
        audited_high=_ends(used, rows[1]),
        audited_low=_ends(-used, rows[1]),
    )


def _ends(values: Tensor, rows: Rows) -> list[int]:
    """Rows of the highest positive values."""
    high = values.topk(min(SHOWN, len(values)))
    return [int(rows[i]) for i, value in zip(high.indices.tolist(), high.values.tolist(), strict=True) if value > 0]


def _bootstrap(values: NDArray[np.floating]) -> tuple[float, float]:
    draws = np.random.default_rng(0).integers(len(values), size=(_DRAWS, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
