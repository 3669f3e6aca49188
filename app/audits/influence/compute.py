"""Stage `attribute`: the training images that each audited prediction leans on, by every method the model allows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.base import Inputs, Result, Split
from app.audits.influence.columns import ColumnEnds
from app.audits.influence.kept import spectra_arrays
from app.audits.influence.ridge import ChosenRidge, choose_ridge
from app.audits.influence.schema import STABLE, InfluenceSummary, MethodSummary, Stability
from app.audits.influence.scores import Attributor, BlockScores, checkpoints, curvature_of
from app.audits.influence.stability import StableTrak

BLOCK = 256
FELT = 12
"""Audited images kept at each end for every training image."""


def attribute(inputs: Inputs) -> Result:
    """Keep, for each target and method, the most helpful and the most harmful training images.

    Details, for each method: `<method>.rows` int32 [m, 2·top] (places in the training split, most helpful first, most
    harmful last) and `<method>.scores` float32, the same shape; `<method>.felt` int32 [N, 2·FELT] (places in the
    audited split that each training image helps most, hurts most last) and `<method>.felt_scores`; `trak.shared` uint8
    [m, 2], how many of the most helpful and of the most harmful two halves of the evidence agree on; and what
    `app.audits.influence.kept` says. Table `train`: one row per training image with each method's mean score over
    targets, over targets that the model gets right, and over those that it gets wrong, with half the width of the
    latter's 95 % interval. See `choose_ridge` for TRAK's ridge.
    """
    if inputs.train is None:
        return _nothing("The run names no training split; start it with the split that the model was trained on.")
    if len(inputs.train.manifest) < 2:
        return _nothing("The training split has a single image; there is nothing to compare it with.")
    found = Attributor(inputs, inputs.train, inputs.audited)
    ridge = choose_ridge(found)
    stable = StableTrak(found) if found.trained else None
    details: dict[str, NDArray[np.generic]] = {}
    columns: dict[str, NDArray[np.float32]] = {}
    for done, method in enumerate(found.methods):
        inputs.progress(done / len(found.methods), f"Attributing: {method}")
        arrays, means = _run(found, stable if stable and method == STABLE else found.methods[method], inputs)
        details |= {f"{method}.{name}": values for name, values in arrays.items()}
        columns |= {f"{method}.{name}": values for name, values in means.items()}
    if stable:
        details[f"{STABLE}.shared"] = stable.shared()
    summary = _summary(found, inputs.train, ridge, stable.summary() if stable else None)
    return Result(
        summary=summary.model_dump(mode="json"),
        details=details | spectra_arrays(found.trained, found.ridge),
        tables={"train": _train_table(inputs.train, columns)},
    )


def _train_table(train: Split, columns: dict[str, NDArray[np.float32]]) -> pa.Table:
    return pa.table({"row": train.manifest["row"], "label": train.manifest["label"], **columns})


def _run(
    found: Attributor, scored: BlockScores, inputs: Inputs
) -> tuple[dict[str, NDArray[np.generic]], dict[str, NDArray[np.float32]]]:
    count, wrong = len(found.targets.manifest), _wrong(found.targets)
    top = min(inputs.params.top, len(found.train.manifest) // 2)
    places, values = [], []
    felt = ColumnEnds(len(found.train.manifest), FELT)
    sums = torch.zeros(2, len(found.train.manifest), dtype=torch.float64)
    squares = torch.zeros(len(found.train.manifest), dtype=torch.float64)
    for start in range(0, count, BLOCK):
        block = np.arange(start, min(start + BLOCK, count))
        scores = scored(block)
        some = _ends(scores, top)
        places.append(some[0])
        values.append(some[1])
        felt.add(scores, block)
        missed = torch.from_numpy(wrong[block])
        sums[0] += scores[:, ~missed].sum(dim=1)
        sums[1] += scores[:, missed].sum(dim=1)
        squares += scores[:, missed].square().sum(dim=1)
    arrays = {"rows": torch.cat(places).int().numpy(), "scores": torch.cat(values).float().numpy()}
    columns = dict(zip(("felt", "felt_scores"), felt.arrays(), strict=True))
    sizes = np.maximum([(~wrong).sum(), wrong.sum()], 1)
    means = {name: (sums[i] / sizes[i]).float().numpy() for i, name in enumerate(("right", "wrong"))}
    means |= {"mean": (sums.sum(dim=0) / count).float().numpy()}
    return arrays | columns, means | {"wrong_half": _half_width(sums[1], squares, int(wrong.sum()))}


def _half_width(total: Tensor, squares: Tensor, n: int) -> NDArray[np.float32]:
    """Half the 95 % interval of each row's mean of `n` scores; NaN of fewer than two."""
    if n < 2:
        return np.full(len(total), np.nan, np.float32)
    variance = (squares - total.square() / n).clamp(min=0) / (n - 1)
    return (1.96 * (variance / n).sqrt()).float().numpy()


def _ends(scores: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """The `top` highest and lowest scores of each column, int64 and float [m, 2·top], highest first."""
    high, low = scores.topk(top, dim=0), scores.topk(top, dim=0, largest=False)
    rows = torch.cat([high.indices, low.indices.flip(0)])
    return rows.T.contiguous(), torch.cat([high.values, low.values.flip(0)]).T.contiguous()


def _wrong(split: Split) -> NDArray[np.bool_]:
    labels = split.manifest["label"].to_numpy()
    if split.logits is None:
        return np.zeros(len(labels), bool)
    found: NDArray[np.bool_] = (np.array(split.logits).argmax(axis=1) != labels) & (labels >= 0)
    return found


def _summary(
    found: Attributor, train: Split, ridge: ChosenRidge | None, stability: Stability | None
) -> InfluenceSummary:
    methods = [MethodSummary(method=method) for method in found.methods]
    methods += [MethodSummary(method=method, reason=reason) for method, reason in found.reasons.items()]
    coverage = train.model.get("gradients.coverage")
    return InfluenceSummary(
        train_rows=len(train.manifest),
        targets=len(found.targets.manifest),
        mistakes=int(_wrong(found.targets).sum()),
        checkpoints=checkpoints(train),
        same_split=train.name == found.targets.name,
        coverage=None if coverage is None else float(coverage[0]),
        ridge=found.ridge,
        ridge_by=ridge.by if ridge else "usual",
        ridge_curve=ridge.curve if ridge else [],
        methods=methods,
        curvature=curvature_of(train),
        stability=stability,
    )


def _nothing(reason: str) -> Result:
    return Result(summary=InfluenceSummary(unavailable=reason).model_dump(mode="json"))
