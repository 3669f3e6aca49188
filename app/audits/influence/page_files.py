"""The kind's numbers as files: the top of every list, and all that its linear datamodelling scores follow from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits.base import RunArrays, RunReader
from app.audits.influence.schema import RANDOM, InfluenceSummary, Proof
from app.audits.retraining import margins_by_subset, whole_subsets
from app.errors import NotFound

Arrays = dict[str, NDArray[Any]]
TOP, PROOF = "influence-top.npz", "influence-proof.npz"

TOP_TEXT = """Training images behind each audited image, by method.

<method>.rows    int32 [m, 2 * top]: places in train_rows, the most helpful first, the most harmful last
<method>.scores  float32, the same shape
train_rows, target_rows: rows of the data set, from 0; train_ids.json, target_ids.json: their ids
"""

PROOF_TEXT = """What networks gave that were retrained on random halves, and what each method had said before.

masks            uint8 [S, N / 8 rounded up]: the training images that the networks of each half saw, bits packed
margins          float32 [R, S, m]: log-odds of the true class of each target, R networks a half
judged           bool [S]: the halves that the methods are judged on; the others chose the ridge of TRAK
scores.<method>  float32 [N, k]: scores of the training images for the first k targets
lds.<method>     float32 [m]: rank correlation of each target
train_rows [N], target_rows [m]: rows of the data set, from 0; train_ids.json, target_ids.json: their ids

The linear datamodelling score of a method, computed anew:

    import numpy as np
    from scipy.stats import spearmanr
    file = np.load("influence-proof.npz")
    seen = np.unpackbits(file["masks"], axis=1, count=len(file["train_rows"]))[file["judged"]]
    truth = file["margins"].mean(axis=0)[file["judged"]]
    said = seen @ file["scores.similarity"]
    print(np.mean([spearmanr(said[:, j], truth[:, j]).statistic for j in range(said.shape[1])]))
"""

REMOVAL_TEXT = """
Counterfactuals: networks retrained R times without the images that a method calls most helpful for a prediction.

removal.masks      uint8, bits packed: what the networks saw; the first row is the whole split, then for each prediction
                   one row for each of: {names}
removal.<name>     float32 [predictions, R]: log-odds of the prediction's true class without them
removal.whole      float32 [predictions, R]: the same of networks that saw everything
removal_rows       rows of the data set that the predictions are of
"""


def run_files(reader: RunReader) -> list[RunArrays]:
    """Return what can be taken away of a run."""
    summary = InfluenceSummary.model_validate(reader.summary("influence") or {})
    if summary.unavailable or not summary.train_rows:
        return []
    names = [m.method for m in summary.methods if not m.reason]
    train = reader.table("influence", "attribute", "train")["row"].to_numpy()
    return [_top(reader, names, train), *_proof(reader, names, train, summary.proof)]


def _top(reader: RunReader, names: list[Any], train: NDArray[np.int64]) -> RunArrays:
    arrays = {f"{m}.{part}": reader.array("influence", "attribute", f"{m}.{part}") for m in names for part in _PARTS}
    count = len(next(iter(arrays.values()))) if arrays else 0
    rows = {"train": train, "target": reader.split_start + np.arange(count)}
    return RunArrays(TOP, "The most helpful and the most harmful training images of every audited image", TOP_TEXT,
                     arrays, rows)  # fmt: skip


_PARTS = ("rows", "scores")


def _proof(reader: RunReader, names: list[Any], train: NDArray[np.int64], proof: Proof | None) -> list[RunArrays]:
    if proof is None:
        return []
    try:
        judged = reader.array("influence", "prove", "judged")
    except NotFound:
        return []
    models = np.array(reader.array("influence", "retrain", "models"))
    halves, first = whole_subsets(models, proof.repeats)
    arrays: Arrays = {
        "masks": reader.array("influence", "plan", "masks")[halves * proof.repeats],
        "margins": margins_by_subset(reader.array("influence", "retrain", "margins"), first, proof.repeats),
        "judged": np.isin(halves, judged),
    }
    for part in ("scores", "lds"):
        arrays |= {f"{part}.{m}": reader.array("influence", "prove", f"{part}.{m}") for m in names}
    rows = {"train": train, "target": _targets(reader, "prove")}
    title = "Scores, halves and what networks gave: all that the linear datamodelling scores follow from"
    removed, text = _removal(reader, names)
    return [RunArrays(PROOF, title, PROOF_TEXT + text, arrays | removed, rows)]


def _removal(reader: RunReader, names: list[Any]) -> tuple[Arrays, str]:
    try:
        whole = reader.array("influence", "flip", "whole.margins")
    except NotFound:
        return {}, ""
    arrays = {f"removal.{name}": reader.array("influence", "flip", f"{name}.margins") for name in (*names, RANDOM)}
    masks = reader.array("influence", "choose", "masks")[:: whole.shape[1]]
    rows = _targets(reader, "flip")
    text = REMOVAL_TEXT.format(names=", ".join((*names, RANDOM)))
    return {"removal.masks": masks, "removal.whole": whole, "removal_rows": rows, **arrays}, text


def _targets(reader: RunReader, stage: str) -> NDArray[np.int64]:
    found: NDArray[np.int64] = reader.split_start + np.array(reader.array("influence", stage, "targets"))
    return found
