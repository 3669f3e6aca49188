"""Stage `fit`: outputs of the retrained networks as a sparse linear function of the training images they saw."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from app.audits.base import Inputs, Result, Split
from app.audits.datamodels.gathered import Gathered
from app.audits.datamodels.judge import finite, judge, r_squared
from app.audits.datamodels.methods import Block, Methods
from app.audits.datamodels.schema import LINEAR, DatamodelsSummary, FitSummary, Fitted, Linear
from app.audits.datamodels.subsets import REPEATS, Networks, networks_of
from app.audits.retraining import Retrained, read_retrained
from app.numerics.attribution.datamodel import block_size

Kept = Mapping[Fitted, Gathered]


def fit(inputs: Inputs) -> Result:
    """Fit datamodels, plain and weighted by TRAK, without the networks that judge them; and judge them by these.

    Details: `targets` int64 [m] (places in the audited split), `actual` float32 [S, m], the mean output of the networks
    on each subset that judges. For `plain` and `weighted`: the weights of target j are `<method>.weights` float32 on
    the rows `<method>.places` int32 (of the training split) from `<method>.starts`[j] int64 to [j + 1];
    `<method>.rest` float32 [m, classes] are sums of those that are not kept (only small ones, of many training images),
    `<method>.intercepts` [m], and `<method>.predicted` float32 [S, m]. For every method with lists: `<method>.rows`
    int32 [m, 2·top], most helpful first, most harmful last, and `<method>.scores` float32, the same shape.

    Table `targets`: for each its row, label, and by datamodel `r2` (held out), `error` (root mean square of what it
    misses by, held out), `margin` (predicted with all images), `weights` (images with one) and `support`, the fewest
    images whose removal is predicted to turn the prediction, null where none are. Table `train`: for each training
    image and datamodel its mean weight over targets and over the model's mistakes, with standard errors over targets.
    """
    found = read_retrained(inputs, "plan", "retrain")
    networks = networks_of(found) if found is not None else None
    if found is None or networks is None or inputs.train is None:
        return Result(summary=DatamodelsSummary(unavailable=_why(inputs, found)).model_dump(mode="json"))
    methods, wrong = Methods(inputs, inputs.train, networks), _wrong(inputs.audited)[found.targets]
    kept = _gathered(inputs, methods, networks, found.targets, wrong)
    summary = _summary(inputs, found, networks, kept, methods.reasons)
    details = {"targets": found.targets, "actual": networks.truth.mean(dim=0).numpy()}
    for one in kept.values():
        details |= one.arrays()
    tables = {
        "targets": _targets(inputs, found, networks, kept),
        "train": _train(inputs.train, kept, len(wrong), int(wrong.sum())),
    }
    return Result(summary=summary.model_dump(mode="json"), details=details, tables=tables)


def _gathered(
    inputs: Inputs, methods: Methods, networks: Networks, targets: NDArray[np.int64], wrong: NDArray[np.bool_]
) -> Kept:
    rows = networks.masks.shape[1]
    assert inputs.train is not None
    labels = torch.from_numpy(inputs.train.manifest["label"].to_numpy().astype(np.int64))
    size, kept = block_size(rows), {name: Gathered(name, labels, inputs.params.top) for name in methods.names}
    for start in range(0, len(targets), size):
        inputs.progress(0.9 * start / len(targets), f"Fitting {len(networks.masks):,} networks' outputs")
        columns = slice(start, start + size)
        scored = methods.scores(Block(columns, targets[columns]))
        for name, found in scored.items():
            kept[name].add(found, networks.held, torch.from_numpy(wrong[columns]))
    return kept


def _summary(
    inputs: Inputs, found: Retrained, networks: Networks, kept: Kept, reasons: Mapping[Fitted, str]
) -> DatamodelsSummary:
    inputs.progress(0.9, "Comparing with the networks that judge")
    judged = [judge(one, networks.truth, inputs.seed) for one in kept.values()]
    score = judged[0][1]
    return DatamodelsSummary(
        models=len(found.masks),
        share=inputs.params.share,
        train_rows=found.masks.shape[1],
        targets=len(found.targets),
        of_targets=int((inputs.audited.manifest["label"].to_numpy() >= 0).sum()),
        held_out=len(networks.held),
        repeats=REPEATS,
        repeatability=finite(score.repeatability),
        ceiling=finite(score.ceiling),
        best=_best(kept),
        no_gradients=reasons.get("weighted", ""),
        methods=[one for one, _ in judged] + [FitSummary(method=m, reason=why) for m, why in reasons.items()],
    )


def _best(kept: Kept) -> Linear:
    """The datamodel that predicts best inside the fit, so that the networks that judge choose nothing."""
    return max((name for name in LINEAR if name in kept), key=lambda name: float(kept[name].joined("fit").median()))


def _targets(inputs: Inputs, found: Retrained, networks: Networks, kept: Kept) -> pa.Table:
    manifest, actual = inputs.audited.manifest.take(found.targets), networks.truth.mean(dim=0)
    columns = {"row": manifest["row"], "label": manifest["label"]}
    for name in LINEAR:
        if name in kept:
            predicted, fewest = kept[name].joined("predicted"), kept[name].joined("support").numpy()
            columns[f"{name}.r2"] = r_squared(predicted, actual).numpy()
            columns[f"{name}.error"] = (actual - predicted).square().mean(dim=0).sqrt().numpy()
            columns[f"{name}.margin"] = kept[name].joined("margin").numpy()
            columns[f"{name}.weights"] = kept[name].joined("weights").int().numpy()
            columns[f"{name}.support"] = pa.array(fewest, pa.int32(), mask=fewest < 0)
    return pa.table(columns)


def _train(train: Split, kept: Kept, targets: int, wrong: int) -> pa.Table:
    columns = {"row": train.manifest["row"], "label": train.manifest["label"]}
    for name in LINEAR:
        if name in kept:
            columns |= kept[name].means(targets, wrong)
    return pa.table(columns)


def _wrong(split: Split) -> NDArray[np.bool_]:
    labels = split.manifest["label"].to_numpy()
    if split.logits is None:
        return np.zeros(len(labels), bool)
    found: NDArray[np.bool_] = np.array(split.logits).argmax(axis=1) != labels
    return found


def _why(inputs: Inputs, found: Retrained | None) -> str:
    if inputs.train is None:
        return "The run names no training split; start it with the split that the model was trained on."
    if not inputs.params.retrain:
        return (
            "No network was retrained: set how many, for a model version with a training recipe. Without one the kind "
            "“influence” still compares images by similarity and KNN-Shapley."
        )
    if found is None:
        return "Every retrained network crashed."
    return f"Only {len(found.masks):,} of {inputs.params.retrain:,} networks could be trained; the others crashed."
