"""Stage `fit`: outputs of the retrained networks as a sparse linear function of the training images they saw."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.base import Inputs, Result
from app.audits.datamodels.schema import DatamodelsSummary, FitSummary, Fitted, Params
from app.audits.influence.scores import CannotAttribute, checkpoints_of, rows
from app.audits.retraining import Retrained, read_retrained
from app.numerics.attribution.datamodel import Datamodels, fit_datamodels
from app.numerics.attribution.lds import linear_datamodelling_score
from app.numerics.attribution.quantised import QuantisedRows
from app.numerics.attribution.subset_influence import subset_influence
from app.numerics.attribution.trak import trak_scores

HELD_OUT = 0.2
BLOCK = 128
"""Targets fitted at once."""


class Scored(NamedTuple):
    """One method's scores float32 [N, m], and intercepts [m] where it predicts outputs themselves."""

    scores: Tensor
    intercepts: Tensor | None


def fit(inputs: Inputs) -> Result:
    """Fit datamodels, plain and weighted by TRAK, and judge them on a fifth of the networks that they did not see.

    Details, of the method that predicts the held-out networks best, fitted once more on all of them: `targets` int64
    [m]; `rows` int32 [m, 2·top] (places in the training split, most helpful first, most harmful last) and `scores`
    float32, the same shape; `weights` float32 [m, N] and `intercepts` [m]. Table `targets`: for each target its row,
    label, held-out R², number of images with a weight, predicted margin with all images, and `support`, the fewest
    images whose removal is predicted to turn the prediction; null where none are.
    """
    found, params = read_retrained(inputs, "plan", "retrain"), inputs.params
    if found is None or inputs.train is None:
        return Result(summary=DatamodelsSummary(unavailable=_why(inputs)).model_dump(mode="json"))
    masks, margins = torch.from_numpy(found.masks), torch.from_numpy(np.array(found.margins))
    prior, reason = _prior(inputs, found.targets)
    cut = len(masks) - max(round(HELD_OUT * len(masks)), 3)
    tried = dict(_methods(inputs, masks[:cut], margins[:cut], prior))
    judged = [_judge(name, scored, masks[cut:], margins[cut:], inputs.seed) for name, scored in tried.items()]
    best = max((j for j in judged if j.method in {"weighted", "plain"}), key=lambda j: j.lds).method
    whole = _fitted(inputs, masks, margins, prior if best == "weighted" else None, 0.6)
    fits = _r_squared(tried[best], masks[cut:], margins[cut:])
    summary = DatamodelsSummary(
        models=len(masks),
        share=params.share,
        train_rows=masks.shape[1],
        targets=len(found.targets),
        held_out=len(masks) - cut,
        best=best,
        no_gradients=reason,
        methods=sorted(judged, key=lambda j: -j.lds),
    )
    table = _targets(inputs, found, whole, fits)
    return Result(summary=summary.model_dump(mode="json"), details=_details(found, whole, params), tables=table)


def _methods(inputs: Inputs, masks: Tensor, margins: Tensor, prior: Tensor | None) -> list[tuple[Fitted, Scored]]:
    plain = _fitted(inputs, masks, margins, None, 0.0)
    found: list[tuple[Fitted, Scored]] = [("plain", Scored(plain.weights, plain.intercepts))]
    if prior is not None:
        weighted = _fitted(inputs, masks, margins, prior, 0.3)
        found += [("weighted", Scored(weighted.weights, weighted.intercepts)), ("trak", Scored(prior, None))]
    return [*found, ("subset", Scored(subset_influence(masks, margins).nan_to_num(), None))]


def _fitted(inputs: Inputs, masks: Tensor, margins: Tensor, prior: Tensor | None, done: float) -> Datamodels:
    parts = []
    for start in range(0, margins.shape[1], BLOCK):
        some = slice(start, start + BLOCK)
        inputs.progress(done + 0.3 * start / margins.shape[1], f"Fitting {masks.shape[0]:,} networks' outputs")
        parts.append(fit_datamodels(masks, margins[:, some], None if prior is None else prior[:, some]))
    weights = torch.cat([part.weights for part in parts], dim=1)
    return Datamodels(weights, *(torch.cat([part[i] for part in parts]) for i in (1, 2, 3)))


def _prior(inputs: Inputs, targets: NDArray[np.int64]) -> tuple[Tensor | None, str]:
    assert inputs.train is not None
    try:
        points, ridge = checkpoints_of(inputs, inputs.train)
    except CannotAttribute as error:
        return None, str(error)
    own = [rows(inputs.audited, c) for c in range(len(points))]
    asked = [QuantisedRows(some.codes[targets], some.scales[targets]).rows() for some in own]
    return trak_scores([p._replace(targets=a) for p, a in zip(points, asked, strict=True)], ridge), ""


def _judge(name: Fitted, scored: Scored, masks: Tensor, margins: Tensor, seed: int) -> FitSummary:
    generator = torch.Generator().manual_seed(seed)
    found = linear_datamodelling_score(scored.scores, masks, margins[None], generator)
    r2 = None if scored.intercepts is None else float(_r_squared(scored, masks, margins).median())
    return FitSummary(method=name, lds=found.value, low=found.low, high=found.high, r2=r2)


def _r_squared(scored: Scored, masks: Tensor, margins: Tensor) -> Tensor:
    """Share of the held-out variance that is explained, [m]; negative where the mean predicts better."""
    assert scored.intercepts is not None
    error = (margins - masks.float() @ scored.scores - scored.intercepts).square().mean(dim=0)
    return 1 - error / margins.var(dim=0, unbiased=False).clamp(min=1e-12)


def _details(found: Retrained, whole: Datamodels, params: Params) -> dict[str, NDArray[np.generic]]:
    top = min(params.top, whole.weights.shape[0] // 2)
    high, low = whole.weights.topk(top, dim=0), whole.weights.topk(top, dim=0, largest=False)
    places = torch.cat([high.indices, low.indices.flip(0)]).T.int().contiguous()
    scores = torch.cat([high.values, low.values.flip(0)]).T.contiguous()
    return {
        "targets": found.targets,
        "rows": places.numpy(),
        "scores": scores.numpy(),
        "weights": whole.weights.T.contiguous().numpy(),
        "intercepts": whole.intercepts.numpy(),
    }


def _targets(inputs: Inputs, found: Retrained, whole: Datamodels, fits: Tensor) -> dict[str, pa.Table]:
    manifest = inputs.audited.manifest.take(found.targets)
    everything = whole.weights.sum(dim=0) + whole.intercepts
    columns = {
        "row": manifest["row"],
        "label": manifest["label"],
        "r2": fits.float().numpy(),
        "weights": (whole.weights != 0).sum(dim=0).int().numpy(),
        "margin": everything.numpy(),
        "support": pa.array(support(whole.weights, everything), pa.int32()),
    }
    return {"targets": pa.table(columns)}


def support(weights: Tensor, everything: Tensor) -> list[int | None]:
    """Fewest rows whose removal brings the predicted margin below zero, for each target; None where none do.

    Args:
        weights: float [N, m].
        everything: float [m], the predicted margin with all rows.

    Source: Ilyas et al. 2022, section 4.1 (data support).
    """
    falls = weights.clamp(min=0).sort(dim=0, descending=True).values.double().cumsum(dim=0)
    enough = everything.double() - falls < 0
    first = torch.where(enough.any(dim=0), enough.int().argmax(dim=0) + 1, -1)
    return [
        0 if start < 0 else None if k < 0 else k for start, k in zip(everything.tolist(), first.tolist(), strict=True)
    ]


def _why(inputs: Inputs) -> str:
    if inputs.train is None:
        return "The run names no training split; start it with the split that the model was trained on."
    if not inputs.params.retrain:
        return "No network was retrained: set how many, for a model version with a training recipe."
    return "Every retrained network crashed."
