"""The kind's numbers as files: the top of every list, and all that its linear datamodelling scores follow from."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits.base import RunArrays, RunFile, RunReader
from app.audits.influence.schema import RANDOM, InfluenceSummary, Method, Proof
from app.audits.retraining import margins_by_subset, whole_subsets
from app.errors import NotFound

Arrays = dict[str, NDArray[Any]]
TOP, PROOF = "influence-top.npz", "influence-proof.npz"
TOP_TITLE = "The most helpful and the most harmful training images of every audited image"
PROOF_TITLE = "Scores, halves and what networks gave: all that the linear datamodelling scores follow from"
_PARTS = ("rows", "scores")

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


def run_files(reader: RunReader) -> list[RunFile]:
    """Return what can be taken away of a run."""
    summary = InfluenceSummary.model_validate(reader.summary("influence") or {})
    names = [m.method for m in summary.methods if not m.reason]
    if summary.unavailable or not names:
        return []
    found = [RunFile(TOP, TOP_TITLE, partial(_top, reader, names))]
    if summary.proof is not None and _judged(reader) is not None:
        found.append(RunFile(PROOF, PROOF_TITLE, partial(_proof, reader, names, summary.proof)))
    return found


def _top(reader: RunReader, names: list[Method]) -> RunArrays:
    arrays = {f"{m}.{part}": reader.array("influence", "attribute", f"{m}.{part}") for m in names for part in _PARTS}
    count = len(arrays[f"{names[0]}.rows"])
    rows = {"train": _train(reader), "target": reader.split_start + np.arange(count)}
    return RunArrays(TOP_TEXT, arrays, rows)


def _proof(reader: RunReader, names: list[Method], proof: Proof) -> RunArrays:
    models, judged = np.array(reader.array("influence", "retrain", "models")), _judged(reader)
    assert judged is not None
    halves, first = whole_subsets(models, proof.repeats)
    arrays: Arrays = {
        "masks": reader.array("influence", "plan", "masks")[halves * proof.repeats],
        "margins": margins_by_subset(reader.array("influence", "retrain", "margins"), first, proof.repeats),
        "judged": np.isin(halves, judged),
    }
    for part in ("scores", "lds"):
        arrays |= {f"{part}.{m}": reader.array("influence", "prove", f"{part}.{m}") for m in names}
    removed, text = _removal(reader, names)
    rows = {"train": _train(reader), "target": _targets(reader, "prove")}
    return RunArrays(PROOF_TEXT + text, arrays | removed, rows)


def _judged(reader: RunReader) -> NDArray[np.int64] | None:
    """The halves that judged; none where nothing was retrained, or before their scores were kept."""
    try:
        found: NDArray[np.int64] = reader.array("influence", "prove", "judged")
    except NotFound:
        return None
    return found


def _train(reader: RunReader) -> NDArray[np.int64]:
    found: NDArray[np.int64] = reader.table("influence", "attribute", "train")["row"].to_numpy()
    return found


def _removal(reader: RunReader, names: list[Method]) -> tuple[Arrays, str]:
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
