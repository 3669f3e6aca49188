"""Stage `choose`: the images that are left out to put predicted counterfactuals to the proof."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.audits.base import Inputs, Result, Split
from app.audits.datamodels.kept import KeptDatamodel
from app.audits.datamodels.schema import DatamodelsSummary, Params, Removed
from app.audits.retraining import RetrainPlan
from app.errors import UserError

_MODEL_SEEDS = 2**31
NAMES: tuple[Removed, ...] = ("datamodel", "similarity", "random")

Rows = NDArray[np.int64]


def choose(inputs: Inputs) -> Result:
    """Choose predictions that are right, and for each the images to leave out.

    Networks, in this order, each `removal_repeats` times: on all images; then for each prediction without the images
    that the datamodel calls most helpful (at most `removed`, only such with a positive weight), without as many of the
    most similar where similarity could be computed, and without as many random ones of its class.

    Details as `app.audits.retraining` says, and `predicted` float32 [predictions, removals], the fall of the margin by
    the datamodel, and `images` int64, the same shape.

    Raises:
        UserError: more images to remove than are kept.
    """
    params: Params = inputs.params
    if not params.counterfactuals or inputs.train is None:
        return Result(summary={})
    if params.removed > params.top:
        raise UserError(
            f"{params.removed} images are to be removed, but only {params.top} are kept at each end of the lists: "
            "lower `removed`, or raise `top`."
        )
    found, labels = read_datamodel(inputs), inputs.train.manifest["label"].to_numpy()
    generator = np.random.default_rng([inputs.seed, 0xC0F])
    usable = generator.permutation(_right(inputs.audited, found.targets)) if found else np.zeros(0, np.int64)
    chosen = np.sort(usable[: params.counterfactuals])
    if found is None or not len(chosen):
        return RetrainPlan(np.zeros((0, len(labels)), bool), usable[:0], usable[:0]).result()
    removals = _removals(inputs, found, chosen, labels, generator)
    masks = np.stack([labels >= 0] + [_without(labels >= 0, rows) for some in removals for rows in some])
    repeated = np.repeat(masks, params.removal_repeats, axis=0)
    planned = RetrainPlan(repeated, generator.integers(_MODEL_SEEDS, size=len(repeated)), found.targets[chosen])
    more: dict[str, np.ndarray] = {
        "predicted": np.array([_falls(found, j, some) for j, some in zip(chosen, removals, strict=True)], np.float32),
        "images": np.array([[len(rows) for rows in some] for some in removals], np.int64),
    }
    return replace(planned.result(), details={**planned.result().details, **more})


def _removals(
    inputs: Inputs, found: KeptDatamodel, chosen: Rows, labels: NDArray[np.int32], generator: np.random.Generator
) -> list[list[Rows]]:
    """For each chosen target the training rows to leave out, in the order of `NAMES`."""
    own = inputs.audited.manifest["label"].to_numpy()[found.targets]
    similar, removals = _similar(inputs.earlier["fit"]), []
    for column in chosen.tolist():
        top = found.mean(np.array([column])).top(inputs.params.removed)
        alike = [] if similar is None else [similar[column][: len(top)].astype(np.int64)]
        at_random = generator.permutation(np.flatnonzero(labels == own[column]))[: len(top)]
        removals.append([top, *alike, at_random])
    return removals


def _falls(found: KeptDatamodel, column: int, removals: list[Rows]) -> list[float]:
    weights = found.mean(np.array([column])).weights
    return [float(weights[rows].sum()) for rows in removals]


def read_datamodel(inputs: Inputs) -> KeptDatamodel | None:
    """The datamodel that counterfactuals are predicted by; none where none was fitted."""
    folder = inputs.earlier.get("fit")
    summary = DatamodelsSummary.model_validate_json((folder / "summary.json").read_text()) if folder else None
    if folder is None or summary is None or summary.best is None:
        return None
    return KeptDatamodel(summary.best, summary.train_rows, lambda name: np.load(folder / f"{name}.npy", mmap_mode="r"))


def _right(audited: Split, targets: Rows) -> Rows:
    """Columns of the targets that the model gets right."""
    labels = audited.manifest["label"].to_numpy()[targets]
    if audited.logits is None:
        return np.arange(len(targets))
    return np.flatnonzero(np.array(audited.logits[targets]).argmax(axis=1) == labels)


def _similar(folder: Path) -> NDArray[np.int32] | None:
    path = folder / "similarity.rows.npy"
    return np.load(path, mmap_mode="r") if path.is_file() else None


def _without(whole: NDArray[np.bool_], rows: Rows) -> NDArray[np.bool_]:
    mask = whole.copy()
    mask[rows] = False
    return mask
